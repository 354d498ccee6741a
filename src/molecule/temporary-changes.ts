import { closeSync, constants, existsSync, openSync, rmSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { WorkDirectory } from '../../overlay/index.ts'
import { renameAt, unlinkAt } from '../sys/at.ts'
import { listNames } from '../sys/directory-entries.ts'
import { tryLock } from '../sys/lock.ts'
import { upperPaths } from './upper.ts'

/**
 * Removes a folder of changes that go away with their mount: its upper directory, which may be deeper than a path can
 * say, with names of any bytes, and its work directory.
 * @returns false where a mount still uses it
 * @throws FsError EACCES, EIO; an error of `node:fs`
 */
export function removeChanges(folder: string): boolean {
  const { upper, work } = upperPaths({ kind: 'temporary' }, folder)
  // The upper comes first when they are made, and last when they are removed.
  if (existsSync(work)) {
    const fd = openSync(work, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      if (!tryLock(fd, 'exclusive')) return false
      emptyBoth(fd, work, upper)
    } finally {
      closeSync(fd)
    }
  }
  rmSync(folder, { recursive: true, force: true })
  return true
}

function emptyBoth(workFd: number, work: string, upper: string): void {
  const directory = new WorkDirectory(workFd, work)
  try {
    directory.clean()
    for (const name of listNames(directory.indexFd)) unlinkAt(directory.indexFd, name)
    if (!existsSync(upper)) return
    const parent = openSync(dirname(upper), constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      const name = directory.temporaryName()
      renameAt(parent, basename(upper), directory.fd, name, 0)
      directory.discard(name)
    } finally {
      closeSync(parent)
    }
  } finally {
    directory.close()
  }
}
