import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compareChanged, compareChanges, runChanges } from '../library/changes/run.ts'
import { mksquashfs, needs, Random, run, titled, walkInChild } from '../library/index.ts'
import { withShared } from '../library/scenes/shared.ts'
import { makeLower } from '../overlay/upper/support/lowers.ts'

/**
 * The same random changes through a writable mount of a shared server and through one of its own: results, errno, the whole
 * tree, and what is in the upper directory after the end must agree. `ATOMFS_SEEDS` is a number of seeds.
 */

const need = needs('root', 'fuse', 'mksquashfs')
const SEEDS = Array.from({ length: Number(process.env['ATOMFS_SEEDS'] ?? 2) }, (_, i) => i + 1)
const STEPS = 80

describe.skipIf(!need.ok)(titled('changes by a shared server and by an own one', need), () => {
  test.each(SEEDS)('are the same, seed %i', async (seed) => {
    await withShared(async ({ folder, mount, servers, pidOf }) => {
      const layer = join(folder, 'layer')
      mkdirSync(layer)
      makeLower(new Random(seed), layer, { namespace: 'trusted', hardLinks: seed % 2 === 0, bottom: true })
      const image = await mksquashfs(layer, `${layer}.sqfs`)
      const reader = await mount(image, 'reader')
      const before = await walkInChild(reader)
      const changed = async (name: 'shared' | 'own') => {
        const upper = join(folder, `upper-${name}`)
        const target = await mount(image, name, '--upper', upper, '-o', `dev,suid,server=${name}`)
        expect(servers().includes(await pidOf(target))).toBe(name === 'shared')
        const log = await runChanges(target, {
          ...{ seed, steps: STEPS, every: 10, skipGhosts: false },
          ...{ namespace: 'trusted', actors: true, capabilities: seed % 2 === 0, acls: false },
        })
        await run('umount', [target])
        return { log, upper: await walkInChild(upper) }
      }
      const shared = await changed('shared')
      const own = await changed('own')
      expect(compareChanges(shared.log, own.log)).toEqual([])
      expect(compareChanged(shared.upper, own.upper)).toEqual([])
      expect(shared.upper.length).toBeGreaterThan(1)
      expect(await walkInChild(reader)).toEqual(before)
    })
  })
})
