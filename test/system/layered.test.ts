import { mkdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  buildLayers,
  compareTrees,
  mergedByKernel,
  mksquashfs,
  needs,
  ociSource,
  Random,
  seenByUs,
  titled,
  UNVERIFIED,
  withTempDir,
} from '../library/index.ts'

/**
 * Random layers as an OCI image in our mount, against kernel overlayfs over the kernel's mounts of the same images.
 * `ATOMFS_SEEDS` is a number of seeds or a range (`200`, `50-99`); a failing seed can be run by itself.
 */

const need = needs('root', 'fuse', 'mksquashfs', 'kernel-squashfs', 'kernel-overlayfs', 'loop')
const COMPRESSORS = ['gzip', 'lz4', 'zstd', 'xz', 'lzo'] as const
const DEFAULT_SEEDS = '6'

function seedsOf(text: string): readonly number[] {
  const match = /^(?:(\d+)-)?(\d+)$/.exec(text)
  if (match === null) throw new Error(`ATOMFS_SEEDS=${text}: expected a number or a range`)
  const first = Number(match[1] ?? 1)
  const length = Number(match[2]) - first + 1
  if (length < 1) throw new Error(`ATOMFS_SEEDS=${text}: holds no seed`)
  return Array.from({ length }, (_, i) => first + i)
}

describe.skipIf(!need.ok)(titled('random layers in our merge and in that of the kernel', need), () => {
  test.each(seedsOf(process.env['ATOMFS_SEEDS'] ?? DEFAULT_SEEDS))(
    'our merge of random layers equals the merge of the kernel, seed %i',
    async (seed) => {
      await withTempDir(async (temp) => {
        const random = new Random(seed)
        const form = seed % 2 === 0 ? 'user' : 'trusted'
        mkdirSync(`${temp}/layers`)
        // Few changes give layers that seldom meet, many give layers in which little of the lowest is left.
        const changes = random.pick([15, 40, 90])
        const directories = buildLayers(`${temp}/layers`, { seed, form, changes })
        const images: string[] = []
        for (const directory of directories) {
          const compressor = random.pick(COMPRESSORS)
          const blockSize = random.pick([4096, 131_072])
          images.push(await mksquashfs(directory, `${directory}.squashfs`, { compressor, blockSize }))
        }
        const kernel = await mergedByKernel(temp, images, form)
        const ours = await seenByUs(temp, await ociSource(temp, 'oci', images), UNVERIFIED)
        expect(images.length).toBeGreaterThanOrEqual(2)
        expect(kernel.length).toBeGreaterThan(3)
        expect(compareTrees(ours, kernel)).toEqual([])
      })
    },
  )
})
