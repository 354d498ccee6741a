import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { atomfsFuse, daemonPid, isMounted, type RunResult, run, unmount } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries } from '../library/scenes/life.ts'

/** A target with a runtime folder of its own, used for one mount after the other. */
export class Scene {
  readonly folder: string
  readonly target: string
  readonly runDir: string

  constructor(parent: string) {
    this.folder = mkdtempSync(join(parent, 'scene-'))
    this.target = join(this.folder, 'mnt')
    this.runDir = join(this.folder, 'run')
    mkdirSync(this.target)
  }

  /** `atomfs-fuse ARGS`, which may fail. A failure to end within a minute is an error. */
  atomfs(...args: readonly string[]): Promise<RunResult> {
    return atomfsFuse(args, { runDir: this.runDir, allowFailure: true })
  }

  mount(source: string, ...args: readonly string[]): Promise<RunResult> {
    return this.atomfs('mount', ...args, source, this.target)
  }

  /** The runtime folders of targets: `RUNDIR/meta/NAMESPACE/TARGET`. */
  entries(): readonly string[] {
    return entries(this.runDir)
  }

  daemonPid(): number {
    return daemonPid(this.runDir)
  }

  /** The daemon's log so far. */
  log(): string {
    return this.entries()
      .flatMap((entry) => ['log.1', 'log'].map((name) => join(entry, name)))
      .filter((path) => existsSync(path))
      .map((path) => readFileSync(path, 'utf8'))
      .join('')
  }

  /**
   * Daemons and commands of this scene that still run: all of them inherit the name of its runtime folder. A shared server
   * that waits for another mount is none of them.
   */
  processes(): readonly number[] {
    return allProcesses().filter(
      (pid) =>
        readProc(pid, 'environ').includes(`=${this.runDir}\0`) &&
        !readProc(pid, 'comm').startsWith('atomfs-fuse ser') &&
        !isGone(pid),
    )
  }

  /** Plain umount(8), and the end of the daemon. @returns milliseconds from one to the other */
  async unmount(): Promise<number> {
    const pid = this.daemonPid()
    await run('umount', [this.target], { timeout: 20_000 })
    const start = performance.now()
    await until(() => isGone(pid), 'the end of the daemon').catch((error: Error) => {
      // A mount namespace that was copied from ours meanwhile keeps the mount: its processes are named.
      const holders = allProcesses().filter((one) => readProc(one, 'mountinfo').includes(` ${this.target} `))
      throw new Error(`${error.message}; still mounted for processes: ${holders.join(', ') || 'none'}`)
    })
    return performance.now() - start
  }

  /** Nothing of a mount is left: no mount, no runtime entry, no process. */
  expectNothingLeft(): void {
    expect(isMounted(this.target)).toBe(false)
    expect(this.entries()).toEqual([])
    expect(this.processes()).toEqual([])
  }

  /** A failure in one line that says why, and nothing left. */
  expectRefused(result: RunResult, reason: RegExp): void {
    expect(result.stderr).toMatch(/^Error: [^\n]+\n$/)
    expect(result.stderr).toMatch(reason)
    expect({ status: result.status, stdout: result.stdout }).toEqual({ status: 1, stdout: '' })
    this.expectNothingLeft()
  }

  /** Ends what a failed test left behind. */
  async close(): Promise<void> {
    const running = this.processes()
    while (isMounted(this.target)) await unmount(this.target)
    await until(() => running.every(isGone), 'the end of the daemons').catch(() => undefined)
    for (const pid of running.filter((one) => !isGone(one))) process.kill(pid, 'SIGKILL')
    rmdirSync(this.target)
  }
}

/** Runs `play` in a scene below `parent`. */
export async function inScene<T>(parent: string, play: (scene: Scene) => Promise<T>): Promise<T> {
  const scene = new Scene(parent)
  try {
    return await play(scene)
  } finally {
    await scene.close()
  }
}

/** Largest resident size of a process since its start, bytes. */
export function peakMemory(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readProc(pid, 'status'))?.[1] ?? 0) * 1024
}

function allProcesses(): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

function readProc(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1')
  } catch {
    return ''
  }
}
