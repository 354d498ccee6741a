import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  buildSourceTree,
  makeTempDir,
  mksquashfs,
  needs,
  ociSource,
  Random,
  type ReadRange,
  randomRange,
  readRange,
  removeTempDir,
  run,
  runProgram,
  sha256,
  titled,
  UNVERIFIED,
  withAtomfs,
  withKernelMerge,
  withKernelSquashfs,
} from '../library/index.ts'

/** The ways of reading that a plain walk of the tree does not use. */

const need = needs('root', 'fuse', 'mksquashfs', 'kernel-squashfs', 'kernel-overlayfs', 'loop')
const BLOCK = 65_536

interface Seen {
  readonly hashes: readonly string[]
  readonly segments: readonly (readonly [number, number])[]
}

let temp = ''
let tree = ''

beforeAll(() => {
  temp = makeTempDir()
  if (!need.ok) return
  tree = join(temp, 'tree')
  mkdirSync(tree)
  buildSourceTree(tree, { size: 'small', blockSize: BLOCK })
})
afterAll(() => removeTempDir(temp))

async function readsOf(file: string, ranges: readonly ReadRange[]): Promise<Seen> {
  return JSON.parse(await runProgram('trees/reads-main', [file, JSON.stringify(ranges)])) as Seen
}

/** Runs of blocks that are not all zeros: what a packer that looks for holes stores as data. */
function blocksWithData(content: Buffer): [number, number][] {
  const segments: [number, number][] = []
  const zeros = Buffer.alloc(BLOCK)
  for (let at = 0; at < content.length; at += BLOCK) {
    const end = Math.min(at + BLOCK, content.length)
    if (content.compare(zeros, 0, end - at, at, end) === 0) continue
    const last = segments.at(-1)
    if (last?.[1] === at) last[1] = end
    else segments.push([at, end])
  }
  return segments
}

describe.skipIf(!need.ok)(titled('reading', need), () => {
  test.each([
    ['with few slots in the cache', ['-o', 'cache_size=1M,threads=2']],
    ['without data workers', ['-o', 'threads=0']],
    ['with short requests', ['-o', 'max_read=4096']],
  ])('reads of any range by read, O_DIRECT and mmap give the bytes of the source %s', async (_, args) => {
    const image = await mksquashfs(tree, join(temp, 'ranges.squashfs'), {
      compressor: 'zstd',
      blockSize: BLOCK,
      extra: ['-tailends'],
    })
    const random = new Random(11)
    await withAtomfs(
      temp,
      image,
      async ({ target }) => {
        const names = [`text-${3 * BLOCK + 777}`, `random-${BLOCK + 1}`, `random-${BLOCK - 1}`, 'duplicate']
        for (const name of ['sparse', 'all-hole', 'sizes/text-1', ...names.map((one) => `sizes/${one}`)]) {
          const { size } = statSync(join(tree, name))
          const ranges = Array.from({ length: 60 }, () => randomRange(random, size, BLOCK))
          const expected = ranges.map((range) =>
            sha256(readRange(join(tree, name), { ...range, way: 'buffered' })),
          )
          const { hashes } = await readsOf(join(target, name), ranges)
          const wrong = ranges.filter((_range, i) => hashes[i] !== expected[i])
          expect(wrong, name).toEqual([])
        }
      },
      args,
    )
  })

  test.each([
    ['gzip', ['-no-fragments']],
    ['zstd', ['-tailends']],
  ] as const)('SEEK_DATA and SEEK_HOLE give the stored blocks (%s %j)', async (compressor, extra) => {
    const options = { compressor, extra, blockSize: BLOCK }
    const image = await mksquashfs(tree, join(temp, `seek-${compressor}.squashfs`), options)
    await withAtomfs(temp, image, async ({ target }) => {
      for (const name of [
        'sparse',
        'sizes/zeros',
        'sizes/zero-block-inside',
        'sizes/text-0',
        'sizes/text-1',
      ]) {
        const { segments } = await readsOf(join(target, name), [])
        const expected = blocksWithData(readFileSync(join(tree, name)))
        // A tail end of zeros is a hole too, with or without fragments.
        expect(segments, name).toEqual(expected)
      }
    })
  })

  test('a file of zeros without stored holes is one piece of data', async () => {
    const image = await mksquashfs(tree, join(temp, 'no-sparse.squashfs'), { extra: ['-no-sparse'] })
    await withAtomfs(temp, image, async ({ target }) => {
      const { segments } = await readsOf(join(target, 'all-hole'), [])
      expect(segments).toEqual([[0, 1_000_001]])
    })
  })

  test('statfs gives what the kernel gives', async () => {
    const image = await mksquashfs(tree, join(temp, 'statfs.squashfs'), {
      compressor: 'lz4',
      blockSize: BLOCK,
    })
    // Block size, blocks, free, available, inodes, free inodes.
    const statfs = async (target: string) =>
      (await run('stat', ['-f', '-c', '%S %b %f %a %c %d', target], { timeout: 20_000 })).stdout
    const kernel = await withKernelSquashfs(temp, image, statfs)
    expect(await withAtomfs(temp, image, ({ target }) => statfs(target))).toBe(kernel)
  })

  test('a listing is the same for all buffer sizes, from every cookie, and for two readers at once', async () => {
    const lower = join(temp, 'lower')
    mkdirSync(lower)
    buildSourceTree(lower, { size: 'small', seed: 2, noDevices: true })
    await run('bash', ['-c', 'cd "$1/wide" && seq -f x%05g 3000 | xargs touch && rm entry-1*', 'bash', lower])
    const images = [
      await mksquashfs(lower, join(temp, 'lower.squashfs')),
      await mksquashfs(tree, join(temp, 'upper.squashfs')),
    ]
    interface Listed {
      readonly name: string
      readonly ino: number
      readonly type: number
    }
    const list = async (directory: string) =>
      JSON.parse(await runProgram('trees/listing-main', [directory, '200'])) as Listed[]
    const shown = (entries: readonly Listed[]) =>
      entries.map(({ name, type }) => `${type} ${JSON.stringify(name)}`).sort()
    const merged = await withKernelMerge(temp, images, async (target) => shown(await list(`${target}/wide`)))
    const single = await withKernelSquashfs(temp, images[1]!, async (target) =>
      shown(await list(`${target}/names`)),
    )
    expect(merged.length).toBeGreaterThan(3200)
    const source = await ociSource(temp, 'listing', images)
    await withAtomfs(
      temp,
      source,
      async ({ target }) => {
        expect(shown(await list(`${target}/wide`))).toEqual(merged)
        expect(shown(await list(`${target}/names`))).toEqual(single)
        const root = await list(target)
        expect(root.length).toBe(readdirSync(tree).length + 2)
      },
      UNVERIFIED,
    )
  })

  test('programs that copy and compare files find them equal', async () => {
    const image = await mksquashfs(tree, join(temp, 'copy.squashfs'), { compressor: 'lzo' })
    await withAtomfs(temp, image, async ({ target }) => {
      const copy = join(temp, 'copy')
      await run('cp', ['-a', '--reflink=never', '--sparse=auto', `${target}/sizes`, copy])
      await run('diff', ['-r', copy, `${tree}/sizes`])
      await run('cmp', [`${target}/sparse`, `${tree}/sparse`])
    })
  })
})
