import { closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { FsError, isErrno, type Name, type PathText, systemPath, withFsError } from '../../base/index.ts'
import { mkdirAt, O_PATH, openAt, unlinkAt } from '../../sys/files/at.ts'
import { listNames } from '../../sys/files/directory-entries.ts'
import { chmodFd } from '../../sys/files/fd-attributes.ts'
import { statFd } from '../../sys/files/statx.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { type FileAttributes, giveAttributes } from './attributes.ts'
import type { Owners } from './owners.ts'

const DIRECTORY = O_PATH | constants.O_DIRECTORY
/** Rights of a directory while it is filled: nobody else sees or changes what is in it. */
const CLOSED = 0o700

/**
 * A directory that is being filled. It gets its attributes when nothing in it is made any more: each new name changes its
 * time, and it may end up without the right to write in it.
 */
export class Folder {
  /** O_PATH. */
  readonly fd: number
  /** From DIR, for messages and for finding files again. */
  readonly path: Name
  /** What it gets in the end; absent where that could not be read. */
  attributes: FileAttributes | undefined
  #users = 1

  constructor(fd: number, path: Name) {
    this.fd = fd
    this.path = path
  }

  /** Somebody will make something in it. */
  hold(): void {
    this.#users += 1
  }

  /** Gives a hold back, the first time that of whoever made it. @returns whether nobody is left */
  release(): boolean {
    this.#users -= 1
    return this.#users === 0
  }

  /** Gives it its attributes. @returns how many extended attributes it cannot have. @throws FsError */
  finish(owners: Owners): number {
    return this.attributes === undefined ? 0 : giveAttributes(this.fd, this.attributes, owners)
  }

  close(): void {
    closeSync(this.fd)
  }
}

/**
 * Opens DIR, and makes it where it is missing.
 * @param force it may have something in it
 * @throws FsError ENOTEMPTY, ENOTDIR, EACCES, …
 */
export function openRoot(path: PathText, force: boolean): Folder {
  withFsError(path, () => {
    try {
      mkdirSync(systemPath(path), CLOSED)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  })
  const fd = withFsError(path, () => openSync(systemPath(path), DIRECTORY))
  try {
    if (!force && listNames(fd).length > 0) {
      throw new FsError('ENOTEMPTY', `${path} is not empty: --force extracts into it, and replaces files`)
    }
    return new Folder(fd, '')
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/**
 * Makes a directory in another one. With `replaces`, one that is there is taken, and anything else of the name gives way,
 * a symbolic link to a directory, too.
 * @throws FsError EEXIST where somebody else has the name; ENOSPC, EACCES, …
 */
export function makeFolder(parent: Folder, name: Name, path: Name, replaces: boolean): Folder {
  const isNew = makeName(parent.fd, name, replaces)
  const fd = openMade(parent.fd, name)
  try {
    const { uid, mode } = statFd(fd)
    // Somebody may have put another directory in place of ours.
    if (isNew && uid !== effectiveUid()) throw new FsError('EEXIST', 'was replaced by somebody else')
    if (!isNew && (mode & CLOSED) !== CLOSED) chmodFd(fd, (mode & 0o7777) | CLOSED)
    return new Folder(fd, path)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function openMade(parent: number, name: Name): number {
  try {
    return openAt(parent, name, DIRECTORY)
  } catch (error) {
    if (isErrno(error, 'ENOTDIR', 'ELOOP')) throw new FsError('EEXIST', 'was replaced by somebody else')
    throw error
  }
}

/** @returns false where a directory of the name is there already */
function makeName(parent: number, name: Name, replaces: boolean): boolean {
  try {
    mkdirAt(parent, name, CLOSED)
    return true
  } catch (error) {
    if (!replaces || !isErrno(error, 'EEXIST')) throw error
  }
  try {
    closeSync(openAt(parent, name, DIRECTORY))
    return false
  } catch (error) {
    if (!isErrno(error, 'ENOTDIR', 'ELOOP')) throw error
  }
  unlinkAt(parent, name)
  mkdirAt(parent, name, CLOSED)
  return true
}
