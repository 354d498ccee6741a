import { mkdirSync, statSync } from 'node:fs'
import { codeOfErrno, FsError, type PathText, printable, systemPath } from '../../base/index.ts'
import { assertPaths } from './arguments.ts'

/**
 * Makes a directory, with mode 0755, and those above it that are missing. One that is there is left alone.
 * @throws FsError EEXIST or ENOTDIR where something else is in the way; otherwise what the system said. UsageError for
 *   what is no path
 */
export function ensureDir(directory: PathText): void {
  assertPaths({ directory })
  try {
    mkdirSync(systemPath(directory), { recursive: true, mode: 0o755 })
  } catch (error) {
    throw asFsError(error, directory)
  }
}

/**
 * Whether there is something at a path; where a symbolic link leads nowhere there is nothing. As in atomfs only ENOENT
 * says no: what cannot be looked at (EACCES, ENOTDIR) counts as there.
 * @throws UsageError for what is no path
 */
export function pathExists(path: PathText): boolean {
  assertPaths({ path })
  try {
    statSync(systemPath(path))
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}

/** An error of node:fs in the words of this library. */
export function asFsError(error: unknown, path: PathText): unknown {
  const { errno, code } = error as NodeJS.ErrnoException
  if (errno === undefined) return error
  return new FsError(codeOfErrno(-errno), `${printable(path)}: ${code}`, { cause: error })
}
