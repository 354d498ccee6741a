import { readFileSync } from 'node:fs'
import { codeOf, type ErrnoCode, errnoCodeOf, FsError, messageOf, UsageError } from '../../base/index.ts'
import { procPath } from '../../sys/plain/proc.ts'

/** What to do about a limit or a place that is full, by the errno that tells of it. */
const REMEDIES: Readonly<Record<string, string>> = {
  EMFILE: "too many open files for one process: raise the limit ('ulimit -n')",
  ENFILE: 'too many open files on this machine: raise fs.file-max',
  ENOMEM: "no memory: free some, or raise the limits of this process ('ulimit -v', its cgroup)",
  EAGAIN: "no more threads or processes: raise the limit ('ulimit -u', pids.max of its cgroup)",
  ENOSPC: 'no room: free some',
  EDQUOT: 'no room in the quota: free some',
}

/** Node's errors of threads that could not start. */
const NO_THREAD = ['ERR_WORKER_INIT_FAILED', 'ERR_WORKER_OUT_OF_MEMORY']

/**
 * One line for the caller of a mount. An errno comes from the machine's state or the user's choice; any other exception
 * is a fault of this program, and the line names its place in the code.
 */
export function failureText(error: unknown): string {
  const isExpected =
    error instanceof FsError || error instanceof UsageError || errnoOfCause(error) !== undefined
  if (isExpected) return explain(error)
  return `internal error: ${error instanceof Error ? placeOf(error) : String(error)}`
}

/** The errno for the caller of a mount: EINVAL for what makes no sense, EIO for a fault of this program. */
export function failureCode(error: unknown): ErrnoCode {
  return error instanceof UsageError ? 'EINVAL' : errnoCodeOf(error)
}

/** What an error says, and what to do where that is known. */
export function explain(error: unknown): string {
  const text = messageOf(error)
  const remedy = REMEDIES[errnoOfCause(error) ?? '']
  return remedy === undefined || REMEDY_GIVEN.test(text) ? text : `${text}: ${remedy}`
}

/** An error that says it itself knows better. */
const REMEDY_GIVEN = /ulimit|--metadir|--kdf-memory|sysctl/

/** The errno behind an `FsError`, an error of Node, or a thread that could not start. */
function errnoOfCause(error: unknown): string | undefined {
  if (error instanceof FsError) return error.code
  const code = codeOf(error)
  if (!(error instanceof Error) || code === undefined) return undefined
  if (NO_THREAD.includes(code)) {
    return /\b(EMFILE|ENFILE|EAGAIN)\b/.exec(error.message)?.[1] ?? 'ENOMEM'
  }
  // Errors of the system have the call that failed; others of Node are about its arguments.
  return 'syscall' in error ? code : undefined
}

function placeOf(error: Error): string {
  return (error.stack ?? error.message).split('\n').slice(0, 2).join(' ').replace(/\s+/g, ' ')
}

/**
 * Why a process that should serve may have died without a word: limits of memory end it inside of its engine, which
 * has no way to tell.
 */
export function limitHint(): string | undefined {
  try {
    const limits = readFileSync(procPath('self/limits'), 'latin1')
    const bytes = Number(/^Max address space +(\d+) /m.exec(limits)?.[1])
    if (Number.isNaN(bytes)) return undefined
    return `the address space is limited to ${Math.round(bytes / 1024)} KiB ('ulimit -v'): raise the limit or lift it`
  } catch {
    return undefined
  }
}
