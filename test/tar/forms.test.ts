import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isDirectory, isRegular, type Layer, type Ref } from '../../src/base/index.ts'
import { NotEnterable, readTar } from '../../tar/index.ts'
import { makeTempDir, needs, Random, removeTempDir, tarEnd, tarEntry, titled } from '../library/index.ts'
import { BLOB_FORMS, filtered, presentForms, zerosInOneBlock } from './blob-forms.ts'
import { type IndexedLayer, sha256, withIndexed } from './index-scene.ts'

const FILE = { type: 'file', mode: 0o644, uid: 7, mtime: 5 } as const
const STRESS = process.env['ATOMFS_STRESS'] === '1'
/** Ranges of each form; `ATOMFS_STRESS=1`: 2 000, in archives of all dialects of tar(1). */
const RANGES = STRESS ? 2000 : 25
const ZEROS = STRESS ? 300 << 20 : 4 << 20

const TIMEOUT = STRESS ? 1_800_000 : 60_000

type Contents = ReadonlyMap<string, Buffer>

async function* whole(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

async function contentsOf(archive: Buffer): Promise<Contents> {
  const contents = new Map<string, Buffer>()
  for await (const { path, content, mode, link } of readTar(whole(archive))) {
    const parts: Uint8Array[] = []
    for await (const part of content) parts.push(Uint8Array.from(part))
    if (link !== undefined) contents.set(path, contents.get(link)!)
    else if (isRegular(mode)) contents.set(path, Buffer.concat(parts))
  }
  return contents
}

function filesOf(layer: Layer, directory: Ref = layer.root, path = ''): Map<string, Ref> {
  const found = new Map<string, Ref>()
  const cursor = layer.openDirectory(directory, 0)
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
    const at = path === '' ? entry.name : `${path}/${entry.name}`
    const { mode } = layer.stat(entry.ref)
    if (isRegular(mode)) found.set(at, entry.ref)
    if (isDirectory(mode)) for (const one of filesOf(layer, entry.ref, at)) found.set(...one)
  }
  return found
}

function expectSame({ layer, read }: IndexedLayer, wanted: Contents, ranges: number, seed: number): void {
  const files = filesOf(layer)
  expect([...files.keys()].sort()).toEqual([...wanted.keys()].sort())
  for (const [path, bytes] of wanted) {
    expect(sha256(read(files.get(path)!, 0, bytes.length)), path).toEqual(sha256(bytes))
  }
  const random = new Random(seed)
  const paths = [...wanted.keys()].filter((path) => wanted.get(path)!.length > 0)
  for (let i = 0; i < ranges; i++) {
    const path = random.pick(paths)
    const bytes = wanted.get(path)!
    const offset = random.int(0, bytes.length - 1)
    const length = random.int(1, random.chance(0.25) ? 300_000 : 9000)
    const got = read(files.get(path)!, offset, length)
    expect(got.equals(bytes.subarray(offset, offset + length)), `${path} at ${offset}+${length}`).toBe(true)
  }
}

function sampleArchive(): Buffer {
  const random = new Random(11)
  const parts = [tarEntry({ path: 'dir/', type: 'directory', mode: 0o755, uid: 0, mtime: 3 })]
  for (let i = 0; i < 16; i++) {
    const size = i * i * 2500
    const content = i % 4 === 0 ? random.bytes(size) : i % 4 === 1 ? Buffer.alloc(size, i) : random.text(size)
    parts.push(tarEntry({ path: `dir/file-${i}`, ...FILE, content: content.toString('latin1') }))
  }
  return Buffer.concat([...parts, tarEnd()])
}

/** As on a machine without libraries. */
async function withPortableDecoders(work: () => Promise<void>): Promise<void> {
  process.env['ATOMFS_CODECS'] = 'portable'
  try {
    await work()
  } finally {
    delete process.env['ATOMFS_CODECS']
  }
}

const zstd = needs('zstd')
const SAMPLE = sampleArchive()

describe('an archive gives the same files, and the same bytes of any range,', { timeout: TIMEOUT }, () => {
  for (const form of BLOB_FORMS) {
    const need = needs(...(form.program === undefined ? [] : [form.program]))
    test.skipIf(!need.ok)(titled(`as ${form.name}`, need), async () => {
      const wanted = await contentsOf(SAMPLE)
      await withIndexed(form.compress(SAMPLE), SAMPLE, (layer) => expectSame(layer, wanted, RANGES, 3))
    })
  }

  for (const name of ['gzip -1', 'the form of bgzip', 'seekable zstd', 'zstd of one small frame']) {
    test.skipIf(!zstd.ok)(titled(`by decoders in JavaScript, as ${name}`, zstd), async () => {
      const wanted = await contentsOf(SAMPLE)
      const blob = BLOB_FORMS.find((one) => one.name === name)!.compress(SAMPLE)
      await withPortableDecoders(
        async () => await withIndexed(blob, SAMPLE, (layer) => expectSame(layer, wanted, 8, 4)),
      )
    })
  }

  test('where one block of deflate holds megabytes of zeros', async () => {
    const before = tarEntry({ path: 'before', ...FILE, content: 'x'.repeat(5000) })
    const zeros = tarEntry({ path: 'zeros', ...FILE })
    zeros.write(`${ZEROS.toString(8).padStart(11, '0')}\0`, 124, 'latin1')
    withSum(zeros)
    const after = tarEntry({ path: 'after', ...FILE, content: 'y'.repeat(5000) })
    const archive = Buffer.concat([before, zeros, Buffer.alloc(ZEROS), after, tarEnd()])
    const start = before.length + zeros.length
    const blob = zerosInOneBlock(archive, start, start + ZEROS)
    const wanted = await contentsOf(archive)
    await withIndexed(blob, archive, (layer) => expectSame(layer, wanted, RANGES >> 1, 5))
  })
})

/** The sum of a header, after a field was changed. */
function withSum(header: Buffer): void {
  header.fill(0x20, 148, 156)
  const sum = header.subarray(0, 512).reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
}

describe('a blob that can be read from its beginning only is not indexed:', () => {
  const LARGE = Buffer.concat([tarEntry({ path: 'f', ...FILE, content: '\0'.repeat(33 << 20) }), tarEnd()])
  for (const [program, ...args] of [
    ['xz', '-0', '-c'],
    ['bzip2', '-1', '-c'],
    ['zstd', '-q', '-c'],
  ] as const) {
    const need = needs(program)
    test.skipIf(!need.ok)(titled(program, need), async () => {
      const blob = filtered(program, args, LARGE)
      await expect(withIndexed(blob, LARGE, () => undefined)).rejects.toThrow(NotEnterable)
    })
  }

  test.skipIf(!zstd.ok)(titled('one frame of zstd, for decoders in JavaScript', zstd), async () => {
    await withPortableDecoders(async () => {
      const blob = filtered('zstd', ['-q', '-c'], LARGE)
      await expect(withIndexed(blob, LARGE, () => undefined)).rejects.toThrow(NotEnterable)
    })
  })
})

test.skipIf(!zstd.ok)(
  titled('zstd that ends early, or goes on with something else, is EIO', zstd),
  async () => {
    const archive = Buffer.concat([tarEntry({ path: 'f', ...FILE, content: 'abc'.repeat(9000) }), tarEnd()])
    const blob = filtered('zstd', ['-q', '-c'], archive)
    for (const damaged of [blob.subarray(0, -9), Buffer.concat([blob, Buffer.from('junk')])]) {
      await expect(withIndexed(damaged, archive, () => undefined)).rejects.toMatchObject({ code: 'EIO' })
    }
  },
)

/** `ATOMFS_STRESS=1`: what GNU tar writes in each of its forms, in each form of compression. */
const DIALECTS = [
  ['--format=v7'],
  ['--format=ustar'],
  ['--format=gnu', '--sparse'],
  ['--format=oldgnu', '--sparse'],
  ['--format=posix', '--sparse', '--sparse-version=0.0'],
  ['--format=posix', '--sparse', '--sparse-version=0.1'],
  ['--format=posix', '--sparse', '--sparse-version=1.0'],
]

describe.runIf(STRESS)('dialects of tar (ATOMFS_STRESS=1)', () => {
  test.each(DIALECTS)('%s %s %s', { timeout: TIMEOUT }, async (...dialect) => {
    const temp = makeTempDir()
    try {
      const random = new Random(17)
      mkdirSync(join(temp, 'd'))
      for (let i = 0; i < 30; i++) writeFileSync(join(temp, 'd', `f${i}`), random.text(i * i * 1500))
      const sparse = Buffer.alloc(3 << 20)
      for (const at of [0, 70_000, 1 << 20, (3 << 20) - 5000]) random.bytes(5000).copy(sparse, at)
      writeFileSync(join(temp, 'd/full'), sparse)
      execFileSync('cp', ['--sparse=always', join(temp, 'd/full'), join(temp, 'd/sparse')])
      const args = dialect.filter((one) => one !== undefined)
      const archive = execFileSync('tar', [...args, '-C', temp, '-cf', '-', 'd'], { maxBuffer: 1 << 28 })
      const wanted = await contentsOf(archive)
      expect(wanted.get('d/sparse')!.equals(sparse)).toBe(true)
      for (const form of presentForms()) {
        await withIndexed(form.compress(archive), archive, (layer) => expectSame(layer, wanted, RANGES, 9))
      }
    } finally {
      removeTempDir(temp)
    }
  })
})
