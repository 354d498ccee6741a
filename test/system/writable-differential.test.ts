import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  type ChangesLog,
  compareChanged,
  compareChanges,
  lastTree,
  runChanges,
} from '../library/changes/run.ts'
import {
  compareTrees,
  daemonPid,
  dropCaches,
  mksquashfs,
  needs,
  ociSource,
  Random,
  readInodes,
  run,
  type TreeEntry,
  titled,
  UNVERIFIED,
  walkInChild,
  withAtomfs,
  withKernelMerge,
  withKernelOverlay,
  withTarget,
  withTempDir,
} from '../library/index.ts'
import { makeLower } from '../overlay/upper/support/lowers.ts'

/**
 * The same random changes through our mount and through kernel overlayfs over the same layers: results, errno and the
 * whole tree must agree, also after a remount or a killed daemon; and what one has written the other must show.
 * `ATOMFS_SEEDS` is a number of seeds or a range (`300`, `50-99`).
 */

const need = needs('root', 'fuse', 'mksquashfs', 'kernel-squashfs', 'kernel-overlayfs', 'loop')
const DEFAULT_SEEDS = '3'
const SEGMENTS = 3
const STEPS = 80

/** A copied directory has one link; the kernel, which keeps its count, is not told when it was copied for its child. */
const LATE = { ignoreDirectoryNlink: true }

function seedsOf(text: string): readonly number[] {
  const match = /^(?:(\d+)-)?(\d+)$/.exec(text)
  if (match === null) throw new Error(`ATOMFS_SEEDS=${text}: expected a number or a range`)
  const first = Number(match[1] ?? 1)
  return Array.from({ length: Number(match[2]) - first + 1 }, (_, i) => first + i)
}

const SEEDS = seedsOf(process.env['ATOMFS_SEEDS'] ?? DEFAULT_SEEDS)

/** A folder of an upper, by a name, with the work directory that its user wants beside it. */
interface Upper {
  readonly upper: string
  readonly work: string
}

interface RunOptions {
  readonly segment: number
  /** Ours never lists what it does not find. */
  readonly skipGhosts?: boolean
  readonly namespace?: 'user' | 'trusted'
  readonly every?: number
  readonly amongOthers?: boolean
}

interface Form {
  /** For fuse-overlayfs: without links to themselves, over which it cannot list a directory of the upper (ENOMEM). */
  readonly peer?: boolean
  /** Whose attributes overlayfs uses. With those of users the kernel refuses to move directories of a layer. */
  readonly namespace: 'user' | 'trusted'
  /** Files of the layers have several names; then link counts depend on when overlayfs copies up. */
  readonly hardLinks: boolean
}

/** Layers, and the three who can put an upper on them. */
class Scene {
  readonly seed: number
  readonly namespace: 'user' | 'trusted'
  readonly hardLinks: boolean
  readonly #temp: string
  readonly #source: string
  /** Bottom first. */
  readonly #images: readonly string[]
  readonly #folders: readonly string[]

  private constructor(seed: number, temp: string, source: string, folders: readonly string[], form: Form) {
    this.seed = seed
    this.namespace = form.namespace
    this.hardLinks = form.hardLinks
    this.#temp = temp
    this.#source = source
    this.#folders = folders
    this.#images = folders.map(imageOf)
  }

  static async make(seed: number, temp: string, wished: Partial<Form> = {}): Promise<Scene> {
    const namespace = seed % 2 === 0 ? 'user' : 'trusted'
    const form: Form = { namespace, hardLinks: seed % 3 !== 1, ...wished }
    const random = new Random(seed)
    const folders = Array.from({ length: random.int(1, 3) }, (_, i) => join(temp, `layer${i}`))
    for (const [i, folder] of folders.entries()) {
      mkdirSync(folder)
      makeLower(random, folder, { ...form, bottom: i === 0 })
      if (form.peer) await run('find', [folder, '-type', 'l', '-lname', 'a', '-delete'])
      await mksquashfs(folder, imageOf(folder), { compressor: random.pick(['gzip', 'zstd', 'lz4'] as const) })
    }
    return new Scene(seed, temp, await ociSource(temp, 'oci', folders.map(imageOf)), folders, form)
  }

  upper(name: string): Upper {
    const place = join(this.#temp, name)
    const pair = { upper: join(place, 'upper'), work: join(place, 'work') }
    for (const folder of Object.values(pair)) mkdirSync(folder, { recursive: true })
    return pair
  }

  /** What need not be the same for overlayfs: see `Form.hardLinks`. */
  get aside(): readonly ('nlink' | 'linkGroup')[] {
    return this.hardLinks ? ['nlink', 'linkGroup'] : []
  }

  ours<T>({ upper }: Upper, use: (target: string, runDir: string) => Promise<T>): Promise<T> {
    const redirect = this.namespace === 'trusted' ? 'on' : 'off'
    // Both in the few seeds of a usual run, and in each namespace.
    const writeback = this.seed % 4 < 2 ? 0 : 1
    const options = `dev,suid,xattr=${this.namespace},redirect_dir=${redirect},writeback=${writeback}`
    const args = [...UNVERIFIED, '--upper', upper, '-o', options]
    return withAtomfs(this.#place('ours'), this.#source, ({ target, runDir }) => use(target, runDir), args)
  }

  kernel<T>(upper: Upper, use: (target: string) => Promise<T>): Promise<T> {
    const user = this.namespace === 'user'
    const options = {
      upper,
      userxattr: user,
      extra: ['index=off', ...(user ? [] : ['redirect_dir=on'])],
    }
    return this.#images.length === 1
      ? withKernelMerge(this.#place('kernel'), this.#images, use, options)
      : withKernelOverlay(this.#place('kernel'), [...this.#folders].reverse(), use, options)
  }

  fuseOverlayfs<T>({ upper, work }: Upper, use: (target: string) => Promise<T>): Promise<T> {
    return withTarget(this.#place('peer'), async (target) => {
      const lowers = [...this.#folders].reverse().join(':')
      await run('fuse-overlayfs', ['-o', `lowerdir=${lowers},upperdir=${upper},workdir=${work}`, target])
      return await use(target)
    })
  }

  /** For mounts: links that lead up out of them must not meet. */
  #place(name: string): string {
    const place = join(this.#temp, `mounts-${name}`)
    mkdirSync(place, { recursive: true })
    return place
  }

  /** One run of changes; the same for whoever makes it, and another for each segment. */
  changes(target: string, options: RunOptions): Promise<ChangesLog> {
    const { segment, ...rest } = options
    const { seed } = this
    return runChanges(target, {
      seed: seed * 1000 + segment,
      steps: STEPS,
      every: 10,
      skipGhosts: true,
      actors: seed % 4 !== 0,
      capabilities: seed % 5 === 0,
      // Overlayfs passes on that squashfs has no access lists, until the file is copied.
      acls: this.#images.length > 1,
      ...rest,
    })
  }
}

function imageOf(folder: string): string {
  return `${folder}.squashfs`
}

function see(target: string): Promise<TreeEntry[]> {
  return walkInChild(target, { skipGhosts: true })
}

/**
 * A record of ours that overlayfs with the attributes of users does not hide: what is neither a regular file nor a
 * directory can have none of these.
 */
function isForeign(name: string): boolean {
  return name === 'trusted.overlay.atomfs.ino'
}

/** The daemon is killed when all is on the disk: what was shown is there all the same. */
async function killAfterSync(target: string, runDir: string): Promise<void> {
  await run('sync', ['-f', target])
  process.kill(daemonPid(runDir), 'SIGKILL')
}

describe.skipIf(!need.ok)(
  titled('random changes in our mount and in the overlay of the kernel', need),
  () => {
    test.each(SEEDS)('random changes in our mount match the overlay of the kernel, seed %i', async (seed) => {
      await withTempDir(async (temp) => {
        const scene = await Scene.make(seed, temp)
        const { namespace, aside } = scene
        const [ourUpper, kernelUpper] = [scene.upper('ours'), scene.upper('kernel')]
        let inodes: ReadonlyMap<string, string> | undefined
        let seen: readonly TreeEntry[] | undefined
        for (let segment = 0; segment < SEGMENTS; segment += 1) {
          const ours = await scene.ours(ourUpper, async (target, runDir) => {
            if (seen !== undefined) {
              // What is written late is copied late.
              const differences = compareTrees(await see(target), seen, { ...LATE, ignore: aside })
              expect(differences, `before segment ${segment}`).toEqual([])
              // Numbers of files outlast the mount.
              expect(await readInodes(target, 'stat')).toEqual(inodes)
            }
            const log = await scene.changes(target, { segment, namespace, skipGhosts: false })
            seen = await see(target)
            // A file with several names has another number once it is copied, and that may be as late as it is written.
            await run('sync', ['-f', target])
            inodes = await readInodes(target, 'stat')
            if ((seed + segment) % 2 === 0) await killAfterSync(target, runDir)
            return log
          })
          const kernel = await scene.kernel(kernelUpper, (target) =>
            scene.changes(target, { segment, namespace }),
          )
          expect(compareChanges(ours, kernel, { ignore: aside }), `segment ${segment}`).toEqual([])
        }
        expect(seen?.length).toBeGreaterThan(1)
        const options = { ignore: aside, ignoreXattr: isForeign }
        const byKernel = await scene.kernel(ourUpper, see)
        expect(compareChanged(byKernel, seen ?? [], options), 'the kernel on our upper').toEqual([])
        const byKernelBefore = await scene.kernel(kernelUpper, see)
        const byUs = await scene.ours(kernelUpper, see)
        expect(compareChanged(byUs, byKernelBefore, options), 'ours on the upper of the kernel').toEqual([])
      })
    })
  },
)

const peerNeed = needs('root', 'fuse', 'mksquashfs', 'fuse-overlayfs')
describe.skipIf(!peerNeed.ok)(
  titled('random changes in our uppers and in those of fuse-overlayfs', peerNeed),
  () => {
    test.each(SEEDS)('random changes in our upper match those of fuse-overlayfs, seed %i', async (seed) => {
      await withTempDir(async (temp) => {
        // It follows no redirects, breaks hard links of the layers, and counts no links of symbolic links. A file that has its
        // name below as well has the number of that one there, which its other names do not have.
        const ignore = ['nlink', 'linkGroup'] as const
        const scene = await Scene.make(seed, temp, { namespace: 'user', hardLinks: false, peer: true })
        const [ourUpper, peerUpper] = [scene.upper('ours'), scene.upper('peer')]
        const ours = await scene.ours(ourUpper, (target) => scene.changes(target, { segment: 0 }))
        const byPeer = await scene.fuseOverlayfs(ourUpper, see)
        expect(compareChanged(byPeer, lastTree(ours), { ignore }), 'fuse-overlayfs on our upper').toEqual([])
        // While it is mounted it shows old times of directories, and names that it does not find.
        const unseen = { segment: 0, every: STEPS + 1 }
        await scene.fuseOverlayfs(peerUpper, (target) => scene.changes(target, unseen))
        const peer = await scene.fuseOverlayfs(peerUpper, see)
        const byUs = await scene.ours(peerUpper, see)
        expect(compareChanged(byUs, peer, { ignore }), 'ours on the upper of fuse-overlayfs').toEqual([])
      })
    })
  },
)

describe.skipIf(!need.ok)(titled('random changes by several programs at once', need), () => {
  test.each(SEEDS)(
    'random changes by several programs at once are shown and stored alike, seed %i',
    async (seed) => {
      await withTempDir(async (temp) => {
        const scene = await Scene.make(seed, temp, { namespace: 'trusted', hardLinks: false })
        const upper = scene.upper('ours')
        const shown = await scene.ours(upper, async (target) => {
          // They cannot look meanwhile: names go while somebody walks.
          const runs = [1, 2, 3].map((segment) =>
            scene.changes(target, { segment, every: STEPS + 1, amongOthers: true }),
          )
          await Promise.all(runs)
          const cached = await see(target)
          await dropCaches()
          expect(compareTrees(await see(target), cached, LATE), 'without caches').toEqual([])
          return cached
        })
        expect(shown.length).toBeGreaterThan(1)
        expect(compareTrees(await scene.ours(upper, see), shown, LATE), 'after a remount').toEqual([])
        const byKernel = await scene.kernel(upper, see)
        expect(
          compareChanged(byKernel, shown, { ignoreXattr: isForeign }),
          'the kernel on our upper',
        ).toEqual([])
      })
    },
  )
})
