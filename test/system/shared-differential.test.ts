import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compareChanged, compareChanges, runChanges } from '../library/changes/run.ts'
import { mksquashfs, needs, Random, run, titled, walkInChild } from '../library/index.ts'
import { SILENT } from '../library/scenes/life.ts'
import { withShared } from '../library/scenes/shared.ts'
import { makeLower } from '../overlay/upper/support/lowers.ts'

/**
 * The same random changes through a writable mount of a shared server and through one of its own: results, errno, the whole
 * tree, and what is in the upper directory after the end must agree. `ATOMFS_SEEDS` is a number of seeds.
 */

const need = needs('root', 'fuse', 'mksquashfs')
const SEEDS = Array.from({ length: Number(process.env['ATOMFS_SEEDS'] ?? 1) }, (_, i) => i + 1)
const STEPS = 80

/** What is mounted, and how: an image, or a directory as a lower directory of an overlay. */
const FORMS = ['image', 'overlay'] as const

describe.skipIf(!need.ok)(titled('changes by a shared server and by an own one', need), () => {
  test.each(SEEDS.flatMap((seed) => FORMS.map((form) => [form, seed] as const)))(
    'are the same, of an %s, seed %i',
    async (form, seed) => {
      await withShared(async ({ folder, mount, atomfs, target, servers, pidOf }) => {
        const layer = join(folder, 'layer')
        mkdirSync(layer)
        makeLower(new Random(seed), layer, { namespace: 'trusted', hardLinks: seed % 2 === 0, bottom: true })
        const image = await mksquashfs(layer, `${layer}.sqfs`)
        const reader = await mount(image, 'reader')
        const before = await walkInChild(reader)
        const make = async (name: 'shared' | 'own', upper: string): Promise<string> => {
          const options = `dev,suid,server=${name}`
          if (form === 'image') return await mount(image, name, '--upper', upper, '-o', options)
          const work = join(folder, `work-${name}`)
          for (const path of [upper, work]) mkdirSync(path)
          const words = `lowerdir=${layer},upperdir=${upper},workdir=${work},${options}`
          expect(await atomfs('overlay', '-o', words, target(name))).toMatchObject(SILENT)
          return target(name)
        }
        const changed = async (name: 'shared' | 'own') => {
          const upper = join(folder, `upper-${name}`)
          const place = await make(name, upper)
          expect(servers().includes(await pidOf(place))).toBe(name === 'shared')
          const log = await runChanges(place, {
            ...{ seed, steps: STEPS, every: 10, skipGhosts: false },
            ...{ namespace: 'trusted', actors: true, capabilities: seed % 2 === 0, acls: false },
          })
          await run('umount', [place])
          return { log, upper: await walkInChild(upper) }
        }
        const shared = await changed('shared')
        const own = await changed('own')
        expect(compareChanges(shared.log, own.log)).toEqual([])
        expect(compareChanged(shared.upper, own.upper)).toEqual([])
        expect(shared.upper.length).toBeGreaterThan(1)
        expect(await walkInChild(reader)).toEqual(before)
      })
    },
  )
})
