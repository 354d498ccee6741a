import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  mksquashfs,
  needs,
  Random,
  runProgram,
  titled,
  UNVERIFIED,
  withAtomfs,
  withTempDir,
} from '../library/index.ts'

/**
 * One file is changed at random by write, append, store into its pages, truncate, fallocate and copy_file_range, and
 * read by read and by its pages, through descriptors opened before and after the first change. `ATOMFS_SEEDS` is a
 * number of seeds or a range.
 */

const need = needs('root', 'fuse', 'mksquashfs')
const STEPS = 1500
const [first = 1, last] = (process.env['ATOMFS_SEEDS'] ?? '2').split('-').map(Number)
const seeds = last === undefined ? { from: 1, to: first } : { from: first, to: last }

const VARIANTS = [
  { name: 'as it is', options: [] },
  { name: 'without the write-back cache', options: ['-o', 'writeback=0'] },
] as const

describe.skipIf(!need.ok)(titled('all ways to the data of one file', need), () => {
  test.each(VARIANTS)(
    'all ways to the data of one file agree: $name',
    { timeout: 60_000 + (seeds.to - seeds.from + 1) * 60_000 },
    async ({ options }) => {
      await withTempDir(async (temp) => {
        const tree = join(temp, 'tree')
        for (const folder of [tree, join(temp, 'upper')]) mkdirSync(folder)
        for (let seed = seeds.from; seed <= seeds.to; seed += 1) {
          writeFileSync(join(tree, `below-${seed}`), new Random(seed).bytes(500_000 + seed))
        }
        const image = await mksquashfs(tree, join(temp, 'image.squashfs'))
        const args = [...UNVERIFIED, '--upper', join(temp, 'upper'), ...options]
        const use = async (target: string): Promise<void> => {
          for (let seed = seeds.from; seed <= seeds.to; seed += 1) {
            for (const name of [`below-${seed}`, `new-${seed}`]) {
              const made = await runProgram('changes/exerciser', [join(target, name), `${seed}`, `${STEPS}`])
              expect(Object.keys(JSON.parse(made) as object).length, `seed ${seed}`).toBeGreaterThan(8)
            }
          }
        }
        await withAtomfs(temp, image, ({ target }) => use(target), args)
      })
    },
  )
})
