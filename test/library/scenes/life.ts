import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import {
  atomfsFuse,
  daemonPid,
  makeTempDir,
  mksquashfs,
  mountsBelow,
  type RunResult,
  run,
  unmount,
  withTempDir,
} from '../index.ts'

/** What the tests of a mount's life share: a small image, a target of its own, and a look at what is left. */

export interface LifeImage {
  /** Remove it with `removeTempDir`. */
  readonly folder: string
  readonly image: string
}

/** An image with `etc/motd` ("hello") and `big`, 3 MB that do not compress. Plain users can read it. */
export async function makeLifeImage(): Promise<LifeImage> {
  const folder = makeTempDir()
  chmodSync(folder, 0o755)
  const tree = join(folder, 'tree')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/motd'), 'hello\n')
  const big = Buffer.alloc(3 << 20)
  let state = 1
  for (let at = 0; at < big.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    big[at] = state >>> 16
  }
  writeFileSync(join(tree, 'big'), big)
  return { folder, image: await mksquashfs(tree, join(folder, 'image.sqfs')) }
}

export interface Scene {
  readonly folder: string
  readonly target: string
  readonly runDir: string
  /** `atomfs-fuse ARGS`, which may fail. */
  readonly atomfs: (...args: string[]) => Promise<RunResult>
}

/** A target and a runtime folder of their own; in the end nothing is mounted there. */
export async function inScene(play: (scene: Scene) => Promise<void>): Promise<void> {
  await withTempDir(async (folder) => {
    const target = join(folder, 'mnt')
    const runDir = join(folder, 'run')
    mkdirSync(target)
    try {
      await play({
        folder,
        target,
        runDir,
        atomfs: (...args) => atomfsFuse(args, { runDir, allowFailure: true }),
      })
    } finally {
      for (const point of mountsBelow(folder).toReversed()) await unmount(point)
    }
  })
}

export const SILENT = { status: 0, stdout: '', stderr: '' }

/** The folders of targets below RUNDIR/meta/NAMESPACE. */
export function entries(runDir: string): string[] {
  const meta = join(runDir, 'meta')
  if (!existsSync(meta)) return []
  return readdirSync(meta).flatMap((namespace) =>
    readdirSync(join(meta, namespace)).map((name) => join(meta, namespace, name)),
  )
}

/** The log in the runtime entry of the one mount of a scene. */
export function readLog(runDir: string): string {
  const [entry] = entries(runDir)
  return readFileSync(join(entry!, 'log'), 'utf8')
}

/** An image that lies on a mount of ours, whose daemon stands for the disk: it can be stopped and killed. */
export async function imageOnMount(image: string, { folder, runDir, atomfs }: Scene) {
  const tree = join(folder, 'tree')
  mkdirSync(tree)
  copyFileSync(image, join(tree, 'inner'))
  const outer = join(folder, 'outer')
  mkdirSync(outer)
  const store = join(folder, 'store.sqfs')
  await run('mksquashfs', [tree, store, '-quiet', '-no-progress'])
  const { status, stderr } = await atomfs('mount', store, outer)
  if (status !== 0) throw new Error(stderr)
  const innerRun = join(folder, 'inner-run')
  const env = { ATOMFS_TEST_RUN_DIR: innerRun }
  return { image: join(outer, 'inner'), disk: daemonPid(runDir), outer, innerRun, env }
}
