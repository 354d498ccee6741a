import { codeOfErrno, type ErrnoCode, FsError } from './errno.ts'

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** As `messageOf`, with the call stack: for what is a fault of this program. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

/** The errno name of an `FsError` or an error of Node, which may also be one of Node's own codes; else undefined. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** Whether an `FsError` with one of these codes was thrown. */
export function isErrno(error: unknown, ...codes: readonly ErrnoCode[]): error is FsError {
  return error instanceof FsError && codes.includes(error.code)
}

/** Does something that may fail with one of these codes. @returns whether it succeeded. @throws any other error */
export function ignoring(codes: readonly ErrnoCode[], action: () => unknown): boolean {
  try {
    action()
    return true
  } catch (error) {
    if (isErrno(error, ...codes)) return false
    throw error
  }
}

/** @returns undefined where the action fails with any `FsError`, such as damage. @throws any other error */
export function unlessFailed<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    return passedOver(error)
  }
}

/** What `unlessFailed` makes of an error, for hot paths that cannot afford a closure. @throws any other error */
export function passedOver(error: unknown): undefined {
  if (!(error instanceof FsError)) throw error
}

/** The errno of an error of `node:fs`; EIO where it has none. */
export function errnoCodeOf(error: unknown): ErrnoCode {
  if (error instanceof FsError) return error.code
  const errno = error instanceof Error && 'errno' in error ? Number(error.errno) : 0
  return codeOfErrno(Math.abs(errno))
}

/**
 * The `FsError` for an error of `node:fs`: its errno, and its message after `what`. An `FsError` stays as it is, and so
 * does what has no errno: it is no error of the system.
 */
export function fromNodeError(what: string, error: unknown): unknown {
  if (error instanceof FsError || !(error instanceof Error)) return error
  if (!('errno' in error) || typeof error.errno !== 'number') return error
  return new FsError(errnoCodeOf(error), `${what}: ${error.message}`, { cause: error })
}

/** Calls `node:fs`. @throws FsError instead of its errors, see `fromNodeError` */
export function withFsError<T>(what: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw fromNodeError(what, error)
  }
}

/** What an error says; a bug of ours comes with its place in the code. */
export function textOf(error: unknown): string {
  if (error instanceof FsError) return error.message
  return `bug: ${stackOf(error)}`
}

export interface ErrorOutcome {
  readonly code: ErrnoCode
  /** A line for the log, where one is due. */
  readonly complaint: string | undefined
}

/**
 * The one rule that turns an exception of an operation into an answer: an FsError is answered with its code; anything
 * else is a bug, and EIO. Damage and bugs get a line in the log. Other codes are everyday answers.
 * @param what the operation and its file, for that line
 */
export function outcomeOf(error: unknown, what: string): ErrorOutcome {
  const code = error instanceof FsError ? error.code : 'EIO'
  return { code, complaint: code === 'EIO' ? `${what}: ${textOf(error)}` : undefined }
}
