import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMounted } from '../../test/library/programs/mount-table.ts'
import { run } from '../../test/library/programs/process.ts'

const END_TIMEOUT = 10_000

/** Unmounts one target, lazily where it is busy. @throws Error where it is still mounted after that */
export async function unmountTarget(target: string): Promise<void> {
  if (!isMounted(target)) return
  for (const args of [[target], [target], ['-l', target]]) {
    await run('umount', args, { timeout: 20_000, allowFailure: true }).catch(() => undefined)
    if (!isMounted(target)) return
    await sleep(200)
  }
  throw new Error(`${target}: cannot be unmounted`)
}

/** Waits until processes have ended, and kills those that do not. */
export async function endProcesses(pids: readonly number[]): Promise<void> {
  const limit = performance.now() + END_TIMEOUT
  for (const pid of pids) {
    while (isRunning(pid) && performance.now() < limit) await sleep(5)
    if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  }
}

/** A zombie counts as ended: its parent may be slow to notice. */
function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}`)) return false
  try {
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

/** Processes that have this exact argument: a mount point of ours is named by its own daemon alone. */
export function processesWithArgument(argument: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').includes(argument)
      } catch {
        return false
      }
    })
    .map(Number)
}
