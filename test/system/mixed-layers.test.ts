import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  appendVerity,
  archiveLayer,
  atomfsFuse,
  buildLayers,
  compareTrees,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  TAR_GZIP_MEDIA_TYPE,
  type TreeEntry,
  titled,
  walkInChild,
  walkTree,
  withAtomfs,
  writeOciLayout,
  writeTarImage,
} from '../library/index.ts'

/** Images whose layers are of different kinds: squashfs layers on layers of tar, and the reverse. */

const need = needs('root', 'fuse', 'tar', 'umoci', 'mksquashfs', 'veritysetup')
const AS_UNPACKED = { ...AS_SOURCE, ignore: ['blocks', 'nlink', 'linkGroup'] } as const
type Kind = 'tar' | 'squashfs'
interface Report {
  readonly layers: readonly { readonly how: string; readonly digest: string }[]
}
type Form = { readonly file: string; readonly diffId: string; readonly rootHash?: string }

const temp = makeTempDir()
const layers: Readonly<Record<Kind, Form>>[] = []
let unpacked: TreeEntry[] = []

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

beforeAll(async () => {
  process.env['ATOMFS_STORE'] = join(temp, 'store')
  if (!need.ok) return
  const archives: Buffer[] = []
  const directories = buildLayers(temp, { seed: 11, form: 'user', count: 3 })
  for (const directory of directories) {
    const image = await mksquashfs(directory, `${directory}.squashfs`, { compressor: 'zstd' })
    const { rootHash } = await appendVerity(image)
    // This changes the directory.
    const archive = await archiveLayer(directory)
    writeFileSync(`${directory}.tar.gz`, gzipSync(archive))
    archives.push(archive)
    layers.push({
      tar: { file: `${directory}.tar.gz`, diffId: digestOf(archive) },
      squashfs: { file: image, diffId: digestOf(readFileSync(image)), rootHash },
    })
  }
  writeTarImage(join(temp, 'all-tar'), { tag: 't', layers: archives })
  await run('umoci', ['unpack', '--image', `${join(temp, 'all-tar')}:t`, join(temp, 'bundle')])
  unpacked = withoutEmpty(walkTree(join(temp, 'bundle/rootfs')))
})
afterAll(() => removeTempDir(temp))

/** umoci loses attributes whose value is empty. */
function withoutEmpty(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries.map(({ xattrs, ...entry }): TreeEntry => {
    const full = Object.entries(xattrs ?? {}).filter(([, value]) => value !== '')
    return full.length === 0 ? entry : { ...entry, xattrs: Object.fromEntries(full) }
  })
}

const belowRoot = (entries: readonly TreeEntry[]): TreeEntry[] => entries.filter(({ path }) => path !== '.')

/** An image with layers of these kinds, bottom first. */
async function imageOf(name: string, kinds: readonly Kind[]): Promise<string> {
  const ociDir = join(temp, name)
  const forms = kinds.map((kind, i) => ({ kind, ...layers[i]![kind] }))
  const config = {
    ...{ os: 'linux', architecture: 'amd64' },
    rootfs: { type: 'layers', diff_ids: forms.map(({ diffId }) => diffId) },
  }
  const stored = forms.map(({ kind, file, rootHash }) =>
    kind === 'tar' ? { file, mediaType: TAR_GZIP_MEDIA_TYPE } : { file, rootHash: rootHash ?? '' },
  )
  await writeOciLayout(ociDir, [{ tag: 't', layers: stored, config }])
  return `${ociDir}:t`
}

describe.skipIf(!need.ok)(titled('layers of different kinds in one image', need), () => {
  test.each([
    ['tar below squashfs below tar', ['tar', 'squashfs', 'tar']],
    ['squashfs below tar below squashfs', ['squashfs', 'tar', 'squashfs']],
  ] as const)('%s: mounted, converted and committed they are as umoci unpacks them', async (name, kinds) => {
    const image = await imageOf(name.replaceAll(' ', '-'), kinds)
    const out = join(temp, `out-${name.replaceAll(' ', '-')}`)
    const upper = `${out}.upper`
    mkdirSync(upper)
    let changed: TreeEntry[] = []
    await withAtomfs(
      temp,
      image,
      async ({ target, runDir }) => {
        // The root is that of the upper directory.
        const shown = withoutEmpty(await walkInChild(target))
        expect(compareTrees(belowRoot(shown), belowRoot(unpacked), AS_UNPACKED)).toEqual([])
        const first = unpacked.find(({ type }) => type === 'file')!
        rmSync(join(target, first.path))
        writeFileSync(join(target, 'new'), 'new')
        changed = withoutEmpty(await walkInChild(target))
        await atomfsFuse(['commit', target, `${out}:committed`, '--compression', 'gzip:1'], { runDir })
      },
      ['--upper', upper],
    )
    const { stdout } = await atomfsFuse([
      'convert',
      image,
      `${out}:converted`,
      '--json',
      '--compression',
      'gzip:1',
    ])
    const report = JSON.parse(stdout) as Report
    // What the commit has made is there.
    expect(report.layers.map(({ how }) => how)).toEqual(kinds.map(() => 'reused'))
    for (const [i, kind] of kinds.entries()) {
      const isCopy = report.layers[i]!.digest === layers[i]!.squashfs.diffId
      expect(isCopy).toBe(kind === 'squashfs')
    }
    const seen = async (tag: string): Promise<TreeEntry[]> =>
      withoutEmpty(await withAtomfs(temp, `${out}:${tag}`, ({ target }) => walkTree(target)))
    expect(compareTrees(await seen('converted'), unpacked, AS_UNPACKED)).toEqual([])
    expect(compareTrees(await seen('committed'), changed, AS_UNPACKED)).toEqual([])
  })

  test('are all made anew with --recompress, and show the same', async () => {
    const out = join(temp, 'anew')
    const image = await imageOf('first', ['squashfs', 'tar', 'squashfs'])
    const words = ['convert', image, `${out}:x`, '--recompress', '--json', '--compression', 'gzip:1']
    const { layers: made } = JSON.parse((await atomfsFuse(words)).stdout) as Pick<Report, 'layers'>
    expect(made.map(({ how }) => how)).toEqual(['converted', 'converted', 'converted'])
    const seen = withoutEmpty(await withAtomfs(temp, `${out}:x`, ({ target }) => walkTree(target)))
    expect(compareTrees(seen, unpacked, AS_UNPACKED)).toEqual([])
  })
})
