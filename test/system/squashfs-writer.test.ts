import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  atomfsFuse,
  buildSourceTree,
  bytesUsed,
  compareTrees,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  seenByKernel,
  seenByUs,
  type TreeEntry,
  titled,
  walkTree,
} from '../library/index.ts'

const need = needs('root', 'kernel-squashfs', 'loop', 'fuse', 'mksquashfs', 'unsquashfs')
/** `ATOMFS_STRESS=1` packs a tree of 5 GiB, too: minutes. */
const STRESS = process.env['ATOMFS_STRESS'] === '1'
const temp = makeTempDir()
const small = join(temp, 'small')
let source: TreeEntry[] = []
let count = 0

beforeAll(() => {
  if (!need.ok) return
  mkdirSync(small)
  buildSourceTree(small, { size: 'small' })
  source = walkTree(small)
})
afterAll(() => removeTempDir(temp))

function newImage(): string {
  return join(temp, `${count++}.squashfs`)
}

async function packed(tree: string, args: readonly string[]): Promise<string> {
  const image = newImage()
  await atomfsFuse(['pack', tree, image, '--no-verity', ...args], { timeout: 1_200_000 })
  return image
}

describe.skipIf(!need.ok)(titled('an image that we made', need), () => {
  test('without padding ends where its file system ends, and is whole', async () => {
    const bare = await packed(small, ['--no-padding'])
    expect(statSync(bare).size).toBe(bytesUsed(bare))
    expect(statSync(bare).size % 4096).not.toBe(0)
    // The kernel's loop device would cut off the end of the file.
    const unpacked = join(temp, 'unpacked')
    await run('unsquashfs', ['-no-progress', '-quiet', '-d', unpacked, bare])
    expect(compareTrees(walkTree(unpacked), source, AS_SOURCE)).toEqual([])
    expect(compareTrees(await seenByUs(temp, bare), source, AS_SOURCE)).toEqual([])
  })

  test('is at most a hundredth larger than that of mksquashfs', async () => {
    const sizes = await Promise.all(
      (['gzip', 'zstd', 'xz', 'lz4'] as const).map(async (compressor) => {
        const theirs = statSync(await mksquashfs(small, newImage(), { compressor })).size
        return [
          compressor,
          statSync(await packed(small, ['--compression', compressor])).size / theirs,
        ] as const
      }),
    )
    // An image of this size ends up to 4 KiB later than it must.
    expect(sizes.filter(([, ratio]) => ratio > 1.02)).toEqual([])
  })

  test.runIf(STRESS)(
    'of 30 000 names in a directory, 120 levels and 5 GiB with holes equals them (ATOMFS_STRESS)',
    async () => {
      const full = join(temp, 'full')
      mkdirSync(full)
      buildSourceTree(full, { size: 'full' })
      const image = await packed(full, ['--compression', 'gzip:6'])
      const kernel = await seenByKernel(temp, image)
      expect(compareTrees(kernel, walkTree(full), AS_SOURCE)).toEqual([])
    },
    1_800_000,
  )
})
