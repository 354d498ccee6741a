import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { withTarget } from './mounts.ts'
import { type RunOptions, type RunResult, run } from './process.ts'
import { withTempDir } from './temp.ts'

const repository = fileURLToPath(new URL('../../..', import.meta.url))

/** The launcher under test; `ATOMFS_FUSE_BIN` names another one, for instance an installed package's. */
export const ATOMFS_FUSE = process.env['ATOMFS_FUSE_BIN'] ?? join(repository, 'bin', 'atomfs-fuse')

export interface AtomfsOptions extends RunOptions {
  /** Runtime data goes there, away from the machine's and from other tests'. */
  readonly runDir?: string
}

/** Runs `atomfs-fuse ARGS…` as a child process. */
export function atomfsFuse(args: readonly string[], options: AtomfsOptions = {}): Promise<RunResult> {
  const { runDir, env, ...rest } = options
  const extra = runDir === undefined ? {} : { ATOMFS_TEST_RUN_DIR: runDir }
  return run(ATOMFS_FUSE, args, { timeout: 60_000, ...rest, env: { ...extra, ...env } })
}

/** Process id of the one daemon whose runtime data lies in `runDir` (`meta/NAMESPACE/TARGET/daemon.json`). */
export function daemonPid(runDir: string): number {
  const records = readdirSync(runDir, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('/daemon.json'),
  )
  if (records.length !== 1) throw new Error(`${runDir}: ${records.length} daemons, expected 1`)
  const record: unknown = JSON.parse(readFileSync(join(runDir, records[0] ?? ''), 'utf8'))
  const { pid } = (record as { process: { pid: number } }).process
  if (!Number.isSafeInteger(pid)) throw new Error(`${runDir}: daemon has process id ${pid}`)
  return pid
}

export interface AtomfsMount {
  readonly target: string
  readonly runDir: string
  /** Unmounts before the end of the block; the rest of the block sees an empty target. */
  readonly umount: () => Promise<RunResult>
}

/**
 * An atomfs-fuse mount for the time of `use`, with a runtime directory of its own. In the end it is unmounted by
 * the program itself, whose failure is a failure of the block, and after that by umount(8) where it is left.
 * @param args of `mount`, before SOURCE
 */
export function withAtomfs<T>(
  parent: string,
  source: string,
  use: (mount: AtomfsMount) => Promise<T> | T,
  args: readonly string[] = [],
  options: AtomfsOptions = {},
): Promise<T> {
  const { runDir } = options
  if (runDir === undefined) {
    return withTempDir((own) => withAtomfs(parent, source, use, args, { ...options, runDir: own }))
  }
  return withTarget(parent, async (target) => {
    let mounted = true
    const umount = async (): Promise<RunResult> => {
      mounted = false
      return await atomfsFuse(['umount', target], options)
    }
    await atomfsFuse(['mount', ...args, source, target], options)
    try {
      const result = await use({ target, runDir, umount })
      if (mounted) await umount()
      return result
    } catch (error) {
      // The first error is the one to see; withTarget unmounts in any case.
      if (mounted) await umount().catch(() => undefined)
      throw error
    }
  })
}
