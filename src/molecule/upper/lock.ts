import { type ErrnoCode, FsError, isErrno } from '../../base/index.ts'
import { lockHolder, tryLock } from '../../sys/files/lock.ts'

/** Errors of file systems that have no such locks, or not for directories (NFS). */
const NO_LOCKS: readonly ErrnoCode[] = ['EBADF', 'ENOLCK', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS']

/**
 * Locks a directory for this mount, where its file system can.
 * @param what names it in messages
 * @throws HeldError
 */
export function lockDirectory(fd: number, what: string, kind: 'shared' | 'exclusive'): void {
  try {
    if (!tryLock(fd, kind)) throw new HeldError(what, lockHolder(fd))
  } catch (error) {
    if (!isErrno(error, ...NO_LOCKS)) throw error
  }
}

/** A directory that another mount uses. */
export class HeldError extends FsError {
  readonly what: string
  /** Of the process that has it, where this pid namespace knows it. */
  readonly pid: number | undefined

  constructor(what: string, pid: number | undefined) {
    const holder = pid === undefined ? 'another program' : `process ${pid}`
    super('EBUSY', `${what} is in use by ${holder}`)
    this.what = what
    this.pid = pid
  }
}
