import { FsError, isErrno, type Name } from '../../../src/base/index.ts'
import { RENAME_EXCHANGE, RENAME_NOREPLACE, renameAt } from '../../../src/sys/files/at.ts'
import { statAt } from '../../../src/sys/files/statx.ts'
import type { WorkDirectory } from './work-directory.ts'

/**
 * Renames that some file systems lack: those of libfuse 2, such as fuse2fs, and NFS refuse every flag of renameat2(2) with
 * EINVAL. Nobody else changes the upper, so steps one after the other come to the same; only a crash in between shows.
 */

/** Gives a file a name that nothing has. @throws FsError EEXIST; EINVAL for a directory that would lie in itself */
export function moveToNew(fromDir: number, from: Name, toDir: number, to: Name): void {
  try {
    renameAt(fromDir, from, toDir, to, RENAME_NOREPLACE)
  } catch (error) {
    if (!isErrno(error, 'EINVAL')) throw error
    if (statAt(toDir, to) !== undefined) {
      throw new FsError('EEXIST', `rename: ${JSON.stringify(to)} exists`, { cause: error })
    }
    renameAt(fromDir, from, toDir, to, 0)
  }
}

/** Makes each of two names that of the other file. @throws FsError; then both are as they were, unless the disk fails */
export function exchangeNames(
  fromDir: number,
  from: Name,
  toDir: number,
  to: Name,
  work: WorkDirectory,
): void {
  try {
    renameAt(fromDir, from, toDir, to, RENAME_EXCHANGE)
  } catch (error) {
    if (!isErrno(error, 'EINVAL')) throw error
    const aside = work.temporaryName()
    renameAt(toDir, to, work.fd, aside, 0)
    try {
      renameAt(fromDir, from, toDir, to, 0)
    } catch (failure) {
      renameAt(work.fd, aside, toDir, to, 0)
      throw failure
    }
    renameAt(work.fd, aside, fromDir, from, 0)
  }
}
