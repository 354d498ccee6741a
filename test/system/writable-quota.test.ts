import { chmodSync, chownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  bundleProgram,
  compareTrees,
  dropCaches,
  mksquashfs,
  needs,
  Random,
  runProgram,
  titled,
  UNVERIFIED,
  walkInChild,
  withAtomfs,
  withTempDir,
} from '../library/index.ts'
import { ID_RANGE, inNamespace } from '../library/scenes/namespaces.ts'
import {
  QUOTA_UID,
  type QuotaKind,
  type QuotaPlace,
  withQuota,
  workingKinds,
} from '../library/scenes/quota.ts'

/**
 * An upper directory on a file system with quotas: EDQUOT where the change is refused, nothing of what was there lost,
 * and all goes on when there is room.
 */

const need = needs('root', 'fuse', 'loop', 'mksquashfs')
const kinds = need.ok ? await workingKinds() : []
const LIMIT = 4 << 20
const MUCH = 1 << 30

async function makeImage(temp: string): Promise<string> {
  const tree = join(temp, 'tree')
  mkdirSync(join(tree, 'many'), { recursive: true })
  writeFileSync(join(tree, 'below'), new Random(3).bytes(2 << 20))
  writeFileSync(join(tree, 'other'), new Random(4).bytes(2 << 20))
  writeFileSync(join(tree, 'many/below'), '')
  for (const name of ['.', 'many', 'below', 'other', 'many/below']) {
    chownSync(join(tree, name), QUOTA_UID, QUOTA_UID)
  }
  return await mksquashfs(tree, join(temp, 'image.squashfs'))
}

interface Scene extends QuotaPlace {
  readonly upper: string
  /** With a mount on the upper. */
  readonly mounted: <T>(use: (target: string) => Promise<T>, ...options: readonly string[]) => Promise<T>
}

function withScene(kind: QuotaKind, use: (scene: Scene) => Promise<void>): Promise<void> {
  return withTempDir(async (temp) => {
    const image = await makeImage(temp)
    await withQuota(kind, QUOTA_UID, async (place) => {
      // Root follows no path through a folder that another user can change.
      chownSync(place.directory, 0, 0)
      const upper = join(place.directory, 'upper')
      await use({
        ...place,
        upper,
        mounted: (run, ...options) =>
          withAtomfs(temp, image, ({ target }) => run(target), [...UNVERIFIED, '--upper', upper, ...options]),
      })
    })
  })
}

async function step(name: string, target: string): Promise<unknown> {
  return JSON.parse(await runProgram('scenes/quota-main', [name, target, `${QUOTA_UID}`, `${LIMIT}`]))
}

/** No half-made copy. */
function leftOvers(upper: string): string[] {
  return readdirSync(join(`${upper}.atomfs-work`, 'work'))
}

const REFUSED = { append: 'EDQUOT', chmod: 'EDQUOT', rename: 'EDQUOT', truncate: 'EDQUOT', same: true }
const ROOM = { refused: [], left: [] }
const AGAIN = { append: 'ok', size: (2 << 20) + 1, create: 'ok', mkdir: 'ok', truncate: 'ok' }

const VARIANTS = [
  {
    name: 'written at once',
    options: ['-o', 'writeback=0'],
    synced: { write: 'EDQUOT', fsync: 'ok' },
    closed: { write: 'EDQUOT', close: 'ok' },
  },
  {
    // The pages are taken without asking, so who waits for them is told; by close the kernel has forgotten why.
    name: 'collected in the write-back cache',
    options: [],
    synced: { write: 'ok', fsync: 'EDQUOT' },
    closed: { write: 'ok', close: 'EIO' },
  },
] as const

/** $1 image, $2 target, $3 upper directory, $4 program, $5 user, $6 limit. What was freed is off the account by sync. */
const IN_NAMESPACE = `
"$0" mount ${UNVERIFIED.join(' ')} -o writeback=0 --upper "$3" "$1" "$2"
for step in space room again; do node "$4" $step "$2" $5 $6; echo; sync; done
[ -n "$(ls -A "$3.atomfs-work/work")" ] || echo nothing left
"$0" umount "$2"`

if (kinds.length === 0) {
  test.skip(
    need.ok ? 'quotas (skipped: needs one in the kernel, and its programs)' : titled('quotas', need),
    () => {},
  )
}

describe.each(kinds)('a quota of $name', (kind) => {
  test.each(VARIANTS)('data beyond a quota fails with EDQUOT, $name', async ({ options, synced, closed }) => {
    await withScene(kind, async ({ upper, mounted, limit, settle }) => {
      const full = await mounted(
        async (target) => {
          await limit(LIMIT, 0)
          const before = await step('state', target)
          expect(await step('space', target)).toMatchObject({ synced, closed, ...REFUSED })
          expect(leftOvers(upper)).toEqual([])
          // Pages that could not be written stay until they are dropped.
          await dropCaches()
          expect(await step('state', target)).toEqual(before)
          expect(await step('room', target)).toEqual(ROOM)
          await settle()
          await limit(LIMIT * 2, 0)
          expect(await step('again', target)).toEqual(AGAIN)
          expect(leftOvers(upper)).toEqual([])
          return await walkInChild(target)
        },
        ...options,
      )
      expect(compareTrees(await mounted(walkInChild), full), 'after a remount').toEqual([])
    })
  })

  test('names beyond a quota fail with EDQUOT', async () => {
    await withScene(kind, async ({ upper, mounted, limit, settle }) => {
      const full = await mounted(async (target) => {
        await limit(kind.countsInodes ? MUCH : LIMIT / 16, 50)
        const names = (await step('names', target)) as {
          readonly remove: string
          readonly isThere: boolean
        }
        expect(names).toMatchObject({
          mkdir: 'EDQUOT',
          create: 'EDQUOT',
          symlink: 'EDQUOT',
          chmod: 'EDQUOT',
          mode: '644',
        })
        // Where users are counted the whiteout is the mount's; a volume may have room for one.
        if (kind.byUser) expect(names.remove).toBe('ok')
        else if (kind.countsInodes) expect(names.remove).toBe('EDQUOT')
        expect(names.isThere).toBe(names.remove !== 'ok')
        expect(leftOvers(upper)).toEqual([])
        expect(await step('room', target)).toEqual(ROOM)
        await settle()
        await limit(MUCH, 0)
        expect(await step('again', target)).toMatchObject({ append: 'ok', mkdir: 'ok' })
        return await walkInChild(target)
      })
      expect(compareTrees(await mounted(walkInChild), full), 'after a remount').toEqual([])
    })
  })

  const mapped = needs('userns', 'unshare', 'nsenter')
  test.skipIf(!mapped.ok)(titled('a quota works in a user namespace', mapped), async () => {
    await withTempDir(async (temp) => {
      chmodSync(temp, 0o755)
      const image = await makeImage(temp)
      await inNamespace(ID_RANGE, async ({ target, inside }) => {
        await withQuota(kind, ID_RANGE.first + QUOTA_UID, async ({ directory, limit }) => {
          await limit(LIMIT, 0)
          const program = await bundleProgram(
            fileURLToPath(new URL('../library/scenes/quota-main.ts', import.meta.url)),
          )
          const args = [image, target, join(directory, 'upper'), program, `${QUOTA_UID}`, `${LIMIT}`]
          const lines = (await inside(IN_NAMESPACE, ...args)).stdout.trim().split('\n')
          const [space, room, again, left] = lines
          const [{ synced, closed }] = VARIANTS
          expect(JSON.parse(space ?? '')).toMatchObject({ synced, closed, ...REFUSED })
          expect(JSON.parse(room ?? '')).toEqual(ROOM)
          expect(JSON.parse(again ?? '')).toEqual(AGAIN)
          expect([left, lines.length]).toEqual(['nothing left', 4])
        })
      })
    })
  })
})
