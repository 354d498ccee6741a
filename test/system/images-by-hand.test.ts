import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  ATOMFS_FUSE,
  bundleProgram,
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  type TreeEntry,
  titled,
  walkTree,
  withAtomfs,
} from '../library/index.ts'
import { asCaller } from '../library/scenes/containers.ts'
import { ID_RANGE, inNamespace } from '../library/scenes/namespaces.ts'

/**
 * Images that somebody has made with other programs: `ATOMFS_IMAGES=LAYOUT:TAG,docker-archive:FILE=LAYOUT:TAG,…` compares
 * the mount of each with what umoci unpacks of it, or of the layout behind the `=`.
 */
const IMAGES = (process.env['ATOMFS_IMAGES'] ?? '').split(',').filter(Boolean)
const need = needs('root', 'fuse', 'umoci', 'setpriv', 'unshare', 'fusermount3')
const TIMEOUT = 600_000

const AS_UNPACKED = { ...AS_SOURCE, ignore: ['blocks', 'nlink'] } as const
/** Nobody but root of the machine sees the first kind, and a namespace has its own form of the second. */
const HIDDEN = (name: string): boolean => name.startsWith('trusted.') || name === 'security.capability'

/** umoci gives the root the time of its own work. */
function withoutRootTime(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries.map((entry) => (entry.path === '.' ? { ...entry, mtime: 0 } : entry))
}

/** What others may read of a tree that root has read. */
function forOthers(entries: readonly TreeEntry[]): TreeEntry[] {
  const isClosed = ({ mode }: TreeEntry, bits: number): boolean => (Number.parseInt(mode, 8) & bits) !== bits
  const closed = entries.filter((entry) => entry.type === 'directory' && isClosed(entry, 5))
  return entries
    .filter(({ path }) => !closed.some((one) => path.startsWith(`${one.path}/`)))
    .map((entry): TreeEntry => {
      const isHidden = entry.type === 'file' ? isClosed(entry, 4) : closed.includes(entry)
      if (!isHidden) return entry
      const { xattrs: _, sha256: __, ...rest } = entry
      return rest
    })
}

const temp = makeTempDir()
const store = join(temp, 'store')
beforeAll(() => {
  chmodSync(temp, 0o755)
  process.env['ATOMFS_STORE'] = store
})
afterAll(() => removeTempDir(temp))

const program = (): Promise<string> =>
  bundleProgram(join(import.meta.dirname, '../library/trees/walk-main.ts'))

test.skipIf(IMAGES.length === 0)(
  'ATOMFS_IMAGES names images to compare (a long form: none are bundled)',
  () => {
    expect(IMAGES.every((image) => image.includes(':'))).toBe(true)
  },
)

describe.runIf(need.ok && IMAGES.length > 0).each(IMAGES)(
  titled('the image %s (ATOMFS_IMAGES)', need),
  (image) => {
    const [source = '', layout = source] = image.split('=')
    let expected: TreeEntry[]
    beforeAll(async () => {
      const bundle = join(temp, 'bundle')
      await run('umoci', ['unpack', '--image', layout, bundle], { timeout: TIMEOUT })
      expected = withoutRootTime(walkTree(join(bundle, 'rootfs')))
      rmSync(bundle, { recursive: true })
      console.log(`${image}: ${expected.length} names`)
    }, TIMEOUT)

    const compare = (
      found: readonly TreeEntry[],
      options: Parameters<typeof compareTrees>[2],
      wanted = expected,
    ): void => {
      expect(compareTrees(withoutRootTime(found), wanted, options)).toEqual([])
    }

    test('is shown to root as umoci unpacks it', { timeout: TIMEOUT }, async () => {
      compare(await withAtomfs(temp, source, ({ target }) => walkTree(target)), AS_UNPACKED)
    })

    test('is shown so to root of a user namespace', { timeout: TIMEOUT }, () =>
      inNamespace(ID_RANGE, async ({ folder, target, inside }) => {
        const script = '"$0" mount --store "$1/store" "$2" "$3"; "$4" "$5" "$3"; "$0" umount "$3"'
        const { stdout } = await inside(script, folder, source, target, process.execPath, await program())
        compare(JSON.parse(stdout) as TreeEntry[], { ...AS_UNPACKED, ignoreXattr: HIDDEN })
      }),
    )

    test('is shown so to a plain user without subordinate ids', { timeout: TIMEOUT }, async () => {
      const script = 'set -e; mkdir -p m; "$0" mount "$1" m; "$2" "$3" m "$4"; "$0" umount m'
      const words = ['sh', '-c', script, ATOMFS_FUSE, source, process.execPath, await program()]
      words.push(JSON.stringify({ onlyReadable: true }))
      const place = join(temp, 'user')
      mkdirSync(place, { recursive: true })
      const { stdout } = await asCaller({ folder: place, source: '' }, 'user-one', words, {
        timeout: TIMEOUT,
        env: { ATOMFS_STORE: '' },
      })
      compare(JSON.parse(stdout) as TreeEntry[], { ...AS_UNPACKED, ignoreXattr: HIDDEN }, forOthers(expected))
    })
  },
)
