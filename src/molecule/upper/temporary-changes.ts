import { closeSync } from 'node:fs'
import { basename } from 'node:path'
import { WorkDirectory } from '../../../overlay/index.ts'
import type { PathText } from '../../base/index.ts'
import { renameAt, reopenDirectory } from '../../sys/files/at.ts'
import { Folder } from '../../sys/files/folder.ts'
import { tryLock } from '../../sys/files/lock.ts'
import { nameOf } from '../../sys/files/walk.ts'
import type { UpperSpec } from '../spec.ts'
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

/**
 * Removes what is in an upper directory that goes away with its mount, and in its work directory: a server of several mounts
 * has no time for that elsewhere. Nothing may use them any more. @throws FsError
 */
export function emptyUpper({ upperFd, work, temporary }: UpperSpec): void {
  if (!temporary || work === undefined) return
  const directory = new WorkDirectory(work.fd, work.label)
  try {
    directory.clean()
    for (const name of new Folder(upperFd, '').names()) {
      const moved = directory.temporaryName()
      renameAt(upperFd, nameOf(name), directory.fd, moved, 0)
      directory.discard(moved)
    }
  } finally {
    directory.close()
  }
}

/** As `removeChanges`, of a mount that has emptied them (`emptyUpper`); what has something in it stays. */
export function removeEmptied(parent: Folder, name: PathText): boolean {
  const folder = parent.folder(name)
  const upper = folder.find(basename(UPPER))
  try {
    if (upper !== undefined && upper.names().length > 0) return false
  } finally {
    upper?.close()
    folder.close()
  }
  return removeChanges(parent, name)
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
