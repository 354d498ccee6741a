import { writeFileSync } from 'node:fs'
import { run } from '../../test/library/programs/process.ts'
import type { Subject } from '../inputs/index.ts'

/** `us` is microseconds for one operation. */
export type Unit = 'ms' | 'us' | 's' | 'MiB'

export type Record = (row: string, value: number, unit: Unit) => void

/** One mount that is being measured. */
export interface Session {
  readonly target: string
  readonly subject: Subject
  /** The processes that serve the mount. */
  readonly pids: readonly number[]
  readonly record: Record
}

export const ACTION_TIMEOUT = 180_000

/** Programs that the actions use, so that loading them from the disk is not part of any result. */
const WARM_UP =
  'find /etc/passwd -ls; tar cf - /etc/passwd | wc -c; stat -c %s /etc/passwd; echo x | xargs cat </dev/null; dd if=/dev/null of=/dev/null; ls -la /etc/passwd; getfattr /etc/passwd; getcap /etc/passwd; fio --version'

/** Drops page cache, dentries and inodes of the whole machine, then loads the measuring programs again. */
export async function dropCaches(): Promise<void> {
  writeFileSync('/proc/sys/vm/drop_caches', '3')
  await run('bash', ['-c', WARM_UP], { timeout: 30_000, allowFailure: true })
}

/**
 * Runs a bash script with the mount as working directory; a failing part of a pipe is a failure. Only children enter
 * the mount: a mount that hangs then costs a time-out, not this process.
 * @returns what it printed, and the milliseconds from start to end
 */
export async function timedScript(
  target: string,
  script: string,
  args: readonly string[] = [],
  timeout: number = ACTION_TIMEOUT,
): Promise<{ readonly ms: number; readonly output: string }> {
  const start = performance.now()
  const { stdout } = await run(
    'bash',
    ['-o', 'pipefail', '-c', `cd "$1" || exit; shift; ${script}`, 'bench', target, ...args],
    { timeout },
  )
  return { ms: performance.now() - start, output: stdout.trim() }
}

/** A fast wrong answer is no result. @throws Error */
export function expectAnswer(what: string, actual: string, expected: number | string): void {
  if (actual !== `${expected}`) throw new Error(`wrong answer: ${what} is ${actual}, expected ${expected}`)
}
