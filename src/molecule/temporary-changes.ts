import { closeSync } from 'node:fs'
import { basename } from 'node:path'
import { WorkDirectory } from '../../overlay/index.ts'
import type { PathText } from '../base/index.ts'
import { renameAt, reopenDirectory } from '../sys/files/at.ts'
import type { Folder } from '../sys/files/folder.ts'
import { tryLock } from '../sys/files/lock.ts'
import { nameOf } from '../sys/files/walk.ts'
import { upperPaths } from './upper.ts'

/** Names of the two in a folder of changes. */
const { upper: UPPER, work: WORK } = upperPaths({ kind: 'temporary' }, '/')

/**
 * Removes a folder of changes that go away with their mount: its upper directory, which may be deeper than a path can
 * say, with names of any bytes, and its work directory.
 * @param name of that folder in `parent`; no symbolic link is followed in it
 * @returns false where a mount still uses it
 * @throws FsError EACCES, EIO
 */
export function removeChanges(parent: Folder, name: PathText): boolean {
  const folder = parent.folder(name)
  // The upper comes first when they are made, and last when they are removed.
  const work = folder.find(basename(WORK))
  try {
    if (work !== undefined && !withLock(work, (fd) => emptyBoth(fd, work, folder))) return false
  } finally {
    work?.close()
    folder.close()
  }
  parent.remove(name)
  return true
}

/** @returns false where a mount has the lock of its work directory; nothing is done then */
function withLock(work: Folder, use: (fd: number) => void): boolean {
  const fd = reopenDirectory(work.fd)
  try {
    if (!tryLock(fd, 'exclusive')) return false
    use(fd)
    return true
  } finally {
    closeSync(fd)
  }
}

function emptyBoth(workFd: number, work: Folder, folder: Folder): void {
  const directory = new WorkDirectory(workFd, work.path)
  try {
    directory.clean()
    const upper = basename(UPPER)
    if (folder.statOf(upper) === undefined) return
    const name = directory.temporaryName()
    renameAt(folder.fd, nameOf(upper), directory.fd, name, 0)
    directory.discard(name)
  } finally {
    directory.close()
  }
}
