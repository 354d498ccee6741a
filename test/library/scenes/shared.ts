import { mkdirSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { atomfsFuse, makeTempDir, mountsBelow, type RunResult, removeTempDir, unmount } from '../index.ts'
import { isGone, until } from '../programs/wait.ts'

/** Mounts by a shared server that is their own: its runtime folder is the scene's. */
export interface SharedScene {
  readonly folder: string
  readonly runDir: string
  readonly env: Readonly<Record<string, string>>
  /** An empty folder to mount on. */
  target(name: string): string
  /** `atomfs-fuse mount -o server=shared ARGS`, which must succeed without a word. @returns the target */
  mount(source: string, name: string, ...args: string[]): Promise<string>
  atomfs(...args: string[]): Promise<RunResult>
  /** Process that serves a mount. */
  pidOf(target: string): Promise<number>
  /** Processes that are shared servers of this scene. */
  servers(): number[]
}

/** Runs `play`; then nothing is mounted, and no server is left. */
export async function withShared(play: (scene: SharedScene) => Promise<void>): Promise<void> {
  const folder = makeTempDir()
  const runDir = join(folder, 'run')
  const env = {
    ATOMFS_SERVER: 'shared',
    ATOMFS_TEST_RUN_DIR: runDir,
    ATOMFS_STORE: join(folder, 'store'),
  }
  const atomfs = (...args: string[]): Promise<RunResult> =>
    atomfsFuse(args, { runDir, env, allowFailure: true })
  const target = (name: string): string => {
    const path = join(folder, name)
    mkdirSync(path, { recursive: true })
    return path
  }
  const servers = (): number[] => serversWith(`ATOMFS_TEST_RUN_DIR=${runDir}`)
  try {
    await play({
      folder,
      runDir,
      env,
      target,
      atomfs,
      servers,
      async mount(source, name, ...args) {
        const place = target(name)
        const { status, stderr } = await atomfs('mount', ...args, source, place)
        if (status !== 0 || stderr !== '') throw new Error(`mount: ${status} ${stderr}`)
        return place
      },
      async pidOf(place) {
        const { stdout } = await atomfs('status', '--json', place)
        return Number(/"pid":\s*(\d+)/.exec(stdout)?.[1])
      },
    })
  } finally {
    for (const point of mountsBelow(folder).toReversed()) await unmount(point)
    const left = servers()
    for (const pid of left) process.kill(pid, 'SIGTERM')
    await until(() => left.every(isGone), 'the end of the servers')
    removeTempDir(folder)
  }
}

/** Servers whose runtime folder is this one: they have it in their environment. */
/** Shared servers with this variable in their environment. @param uid of whom; absent: of anybody */
export function serversWith(variable: string, uid?: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        if (uid !== undefined && statSync(`/proc/${pid}`).uid !== uid) return false
        const words = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
        const isServer = readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('atomfs-fuse ser')
        return isServer && words.includes(variable) && !isGone(pid)
      } catch {
        return false
      }
    })
}

/** What a process holds: descriptors by what they are, and threads. */
export function holdings(pid: number): { readonly descriptors: number; readonly threads: number } {
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
  }
}

/** What the descriptors of a process lead to. */
export function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)]
    } catch {
      return []
    }
  })
}
