import { reopenDirectory } from '../../sys/files/at.ts'
import { Folder } from '../../sys/files/folder.ts'
import { lockSoon, tryLock } from '../../sys/files/lock.ts'

/**
 * A daemon has flock(2) on the folder of its entry until it ends, however it ends. That is seen from every mount and pid
 * namespace, where the number of a process means nothing.
 */

/**
 * Opens the folder of a new entry again, with the lock; closes the given one. A process that asks for the lock of this
 * entry has it for a moment.
 * @throws FsError as `lockSoon`
 */
export function lockEntry(entry: Folder): Folder {
  const locked = new Folder(reopenDirectory(entry.fd), entry.path)
  try {
    lockSoon(locked.fd, entry.path)
    return locked
  } catch (error) {
    locked.close()
    throw error
  } finally {
    entry.close()
  }
}

/** Whether the daemon of an entry has not ended. @throws FsError EACCES, EOPNOTSUPP, … */
export function isEntryLocked(entry: Folder): boolean {
  const again = new Folder(reopenDirectory(entry.fd), entry.path)
  try {
    return !tryLock(again.fd, 'exclusive')
  } finally {
    again.close()
  }
}
