import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { openContents } from '../../../src/contents/index.ts'
import { listContents } from '../../../src/contents/list.ts'
import { convert, openSourceImage, unpack } from '../../../src/make/index.ts'
import { prepareSource } from '../../../src/molecule/index.ts'
import { tarEnd, tarEntry, walkTree, withTempDir, writeTarImage } from '../../library/index.ts'

type Member = Partial<Parameters<typeof tarEntry>[0]> & { readonly path: string }

const DIRECTORY = { type: 'directory', mode: 0o755 } as const
const FAST = { name: 'gzip', level: 1, blockSize: 4096, threads: 1, verity: {} } as const

function archive(...members: readonly Member[]): Buffer {
  const common = { type: 'file', mode: 0o644, uid: 0, mtime: 7 } as const
  return Buffer.concat([...members.map((one) => tarEntry({ ...common, ...one })), tarEnd()])
}

const BELOW = archive(
  { ...DIRECTORY, path: 'real' },
  { path: 'real/f' },
  { path: 'out', type: 'symlink', target: 'real' },
)
const BOTH = ['out', 'out/x', 'real', 'real/f']

async function namesIn(source: string): Promise<string[]> {
  await prepareSource(source)
  const contents = openContents({ source })
  try {
    const items = [...listContents(contents, { path: '/', recursive: true })]
    return items.map((item) => ('path' in item ? item.path.slice(1) : '?')).filter((path) => path !== '')
  } finally {
    contents.close()
  }
}

/** What a layer over `out -> real` is to mean, in whatever order its archive has its entries. */
const CASES: readonly (readonly [string, readonly string[], readonly Member[]])[] = [
  ['a file, then an opaque mark', BOTH, [{ path: 'out/x' }, { path: 'out/.wh..wh..opq' }]],
  ['an opaque mark, then a file', BOTH, [{ path: 'out/.wh..wh..opq' }, { path: 'out/x' }]],
  ['a file, then a whiteout', BOTH, [{ path: 'out/x' }, { path: '.wh.out' }]],
  ['a whiteout, then a file', BOTH, [{ path: '.wh.out' }, { path: 'out/x' }]],
  ['a file, then its directory', BOTH, [{ path: 'out/x' }, { ...DIRECTORY, path: 'out' }]],
  [
    'a hard link to it, and files of the target, then an opaque mark',
    [...BOTH, 'real/y', 'z'],
    [
      { path: 'real/y' },
      { path: 'out/x' },
      { path: 'z', type: 'link', target: 'out/x' },
      { path: 'out/.wh..wh..opq' },
    ],
  ],
  ['a file', ['out', 'real', 'real/f', 'real/x'], [{ path: 'out/x' }]],
  [
    'a file, then an opaque mark further down',
    ['out', 'real', 'real/d', 'real/d/x', 'real/f'],
    [{ path: 'out/d/x' }, { path: 'out/d/.wh..wh..opq' }],
  ],
]

test.each(CASES)('mount, convert and unpack agree below a link of a lower layer: %s', (_, wanted, members) =>
  withTempDir(async (temp) => {
    vi.stubEnv('ATOMFS_STORE', join(temp, 'store'))
    try {
      const [source, out] = [join(temp, 'source'), join(temp, 'out')]
      writeTarImage(source, { tag: 't', layers: [BELOW, archive(...members)] })
      expect(await namesIn(`${source}:t`)).toEqual(wanted)

      mkdirSync(out)
      const image = await openSourceImage(`${source}:t`)
      await convert(image, { ociDir: out, tag: 't' }, { image: FAST })
      image.close()
      expect(await namesIn(`${out}:t`)).toEqual(wanted)

      const [top = ''] = (await unpack(`${source}:t`, join(temp, 'unpacked'))).directories
      const own = walkTree(top).map(({ path }) => path)
      expect(own.filter((path) => path !== '.')).toEqual(
        wanted.filter((path) => own.includes(path) && path !== '.'),
      )
      expect(own).toContain(wanted.find((path) => path.endsWith('x')))
    } finally {
      vi.unstubAllEnvs()
    }
  }),
)
