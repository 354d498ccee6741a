import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  atomfsFuse,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  seenByKernel,
  seenBySquashfuse,
  seenByUs,
  type TreeEntry,
  titled,
  walkTree,
} from '../library/index.ts'

/**
 * Images that we made, read by all readers there are. Each option with another compressor and block size;
 * `ATOMFS_MATRIX=all`: each with each, and all levels: half an hour.
 */

const need = needs(
  'root',
  'kernel-squashfs',
  'loop',
  'fuse',
  'mksquashfs',
  'unsquashfs',
  'squashfuse',
  'getfattr',
)
const IS_WHOLE = process.env['ATOMFS_MATRIX'] === 'all'
const COMPRESSORS = ['gzip', 'zstd', 'xz', 'lz4'] as const
const SIZES = [4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576]

/** An option, and what mksquashfs calls it. */
const OPTIONS: readonly (readonly [ours: string, theirs: string])[] = [
  ['', ''],
  ['--no-fragments', '-no-fragments'],
  ['--tail-ends', '-tailends'],
  ['--no-duplicates', '-no-duplicates'],
  ['--no-export', '-no-exports'],
  ['--uncompressed inodes,ids', '-noI -noId'],
  ['--uncompressed data', '-noD'],
  ['--uncompressed fragments,xattrs', '-noF -noX'],
  ['--uncompressed inodes,data,fragments,xattrs,ids', '-noI -noId -noD -noF -noX'],
]
const LEVELS: Readonly<Record<(typeof COMPRESSORS)[number], readonly [least: number, most: number]>> = {
  gzip: [1, 9],
  zstd: [1, 22],
  xz: [0, 9],
  lz4: [1, 12],
}

/** Each option with another block size, and each compressor with large and small ones. */
const spread = OPTIONS.map(([ours, theirs], i) => ({
  ours,
  theirs,
  compressor: COMPRESSORS[i % COMPRESSORS.length]!,
  blockSize: SIZES[(i * 5 + 5) % SIZES.length]!,
}))
const all = COMPRESSORS.flatMap((compressor) =>
  SIZES.flatMap((blockSize) => OPTIONS.map(([ours, theirs]) => ({ ours, theirs, compressor, blockSize }))),
)
const levels = COMPRESSORS.flatMap((compressor) => {
  const [least, most] = LEVELS[compressor]
  return Array.from({ length: most - least + 1 }, (_, i) => `${compressor}:${least + i}`)
})

const temp = makeTempDir()
const tree = join(temp, 'tree')
let source: TreeEntry[] = []
let count = 0

beforeAll(() => {
  if (!need.ok) return
  mkdirSync(tree)
  buildSourceTree(tree, { size: 'small' })
  source = walkTree(tree)
})
afterAll(() => removeTempDir(temp))

async function packed(args: readonly string[]): Promise<string> {
  const image = join(temp, `${count++}.squashfs`)
  await atomfsFuse(['pack', tree, image, '--no-verity', ...args])
  return image
}

async function unpacked(image: string): Promise<TreeEntry[]> {
  const folder = `${image}.tree`
  await run('unsquashfs', ['-no-progress', '-quiet', '-d', folder, image])
  const seen = walkTree(folder)
  rmSync(folder, { recursive: true })
  return seen
}

/** What `unsquashfs -s` says of an image, without what differs from one writer to the other. */
async function aboutTables(image: string): Promise<{ readonly text: string; readonly fragments: number }> {
  const { stdout } = await run('unsquashfs', ['-stat', image])
  const lines = stdout.split('\n').filter((line) => !/^(Found|Creation|Filesystem size)/.test(line))
  const fragments = lines.findIndex((line) => line.startsWith('Number of fragments'))
  const [line = ''] = lines.splice(fragments, 1)
  return { text: lines.join('\n'), fragments: Number(line.split(' ').at(-1)) }
}

/**
 * Names, types, owners, modes, sizes and times of all entries, as `unsquashfs` reads them from the tables. The size of a
 * directory depends on how well the inodes before its own are compressed.
 */
async function listing(image: string): Promise<string> {
  const { stdout } = await run('unsquashfs', ['-lln', image])
  return stdout.replace(/^(d\S+ \S+ +)\d+/gm, '$1')
}

describe.skipIf(!need.ok)(titled('an image that we made is its source to every reader', need), () => {
  test.each(IS_WHOLE ? all : spread)(
    'with $compressor, blocks of $blockSize bytes and options "$ours"',
    async ({ compressor, blockSize, ours, theirs }) => {
      const words = ours === '' ? [] : ours.split(' ')
      const image = await packed(['--compression', compressor, '--block-size', `${blockSize}`, ...words])
      const extra = theirs === '' ? [] : theirs.split(' ')
      const other = await mksquashfs(tree, `${image}.theirs`, { compressor, blockSize, extra })
      const kernel = await seenByKernel(temp, image)
      expect(compareTrees(kernel, source, AS_SOURCE)).toEqual([])
      const [mounted, fused, extracted, tables, theirTables] = await Promise.all([
        seenByUs(temp, image),
        // It finds no attributes without a value, and mixes up others, of mksquashfs' images too.
        seenBySquashfuse(temp, image, { noXattrs: true }),
        unpacked(image),
        aboutTables(image),
        aboutTables(other),
      ])
      expect(compareTrees(mounted, kernel)).toEqual([])
      const ignore = ['blocks', 'linkGroup', 'xattrs'] as const
      expect(compareTrees(fused, source, { ...AS_SOURCE, ignore })).toEqual([])
      expect(compareTrees(extracted, source, AS_SOURCE)).toEqual([])
      expect(tables.text).toBe(theirTables.text)
      // Tail ends come in another order, of which other ones fit into a block.
      expect(Math.abs(tables.fragments - theirTables.fragments)).toBeLessThanOrEqual(2)
      expect(await listing(image)).toBe(await listing(other))
      for (const file of [image, other]) rmSync(file)
    },
    120_000,
  )

  test.runIf(IS_WHOLE).each(levels)(
    'with the compression %s (ATOMFS_MATRIX=all)',
    async (compression) => {
      const image = await packed(['--compression', compression])
      const kernel = await seenByKernel(temp, image)
      expect(compareTrees(kernel, source, AS_SOURCE)).toEqual([])
      expect(compareTrees(await seenByUs(temp, image), kernel)).toEqual([])
      rmSync(image)
    },
    120_000,
  )
})
