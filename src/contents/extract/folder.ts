import { closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { FsError, isErrno, type Name, type PathText, systemPath, withFsError } from '../../base/index.ts'
import { mkdirAt, O_PATH, openAt, unlinkAt } from '../../sys/files/at.ts'
import { listNames } from '../../sys/files/directory-entries.ts'
import { chmodFd } from '../../sys/files/fd-attributes.ts'
import { OpenDirectories, openDirectoryAt, type Place, replaced } from '../../sys/files/open-directories.ts'
import { statFd } from '../../sys/files/statx.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { openFilesLimit } from '../../sys/process/limits.ts'
import { type FileAttributes, giveAttributes } from './attributes.ts'
import type { Owners } from './owners.ts'

/** Directories kept open, and as many more for each thread that writes. */
const OPEN_FOLDERS = 64
const FOLDERS_A_THREAD = 16
const DIRECTORY = O_PATH | constants.O_DIRECTORY
/** Rights of a directory while it is filled: nobody else sees or changes what is in it. */
const CLOSED = 0o700

/**
 * A directory that is being filled. It gets its attributes when nothing in it is made any more: each new name changes its
 * time, and it may end up without the right to write in it. A directory in it counts as something that is made until it
 * has got its own, so that the way to it stays open.
 */
export class Folder {
  /** From DIR, for messages and for finding files again. */
  readonly path: Name
  readonly parent: Folder | undefined
  /** What it gets in the end; absent where that could not be read. */
  attributes: FileAttributes | undefined
  readonly #open: OpenDirectories
  readonly #place: Place
  #users = 1

  /** @param fd O_PATH, its own from now on */
  constructor(fd: number, path: Name, { open, parent, name, stat }: FolderPlace) {
    this.path = path
    this.parent = parent
    this.#open = open
    this.#place = { name, stat, ...(parent && { parent: parent.#place }) }
    open.add(this.#place, fd)
    parent?.hold()
  }

  /** Those that are open, of the same extraction. */
  get open(): OpenDirectories {
    return this.#open
  }

  /** O_PATH; valid until that of another folder is asked for, or while it is pinned. @throws FsError EEXIST */
  get fd(): number {
    return this.#open.fd(this.#place)
  }

  /** Keeps its descriptor for another thread. */
  pin(): void {
    this.#open.pin(this.#place)
  }

  unpin(): void {
    this.#open.unpin(this.#place)
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
    this.#open.close(this.#place)
  }
}

interface FolderPlace extends Omit<Place, 'parent'> {
  readonly open: OpenDirectories
  readonly parent?: Folder
}

/**
 * Opens DIR, and makes it where it is missing.
 * @param force it may have something in it
 * @param threads that will write into it
 * @throws FsError ENOTEMPTY, ENOTDIR, EACCES, …
 */
export function openRoot(path: PathText, force: boolean, threads: number): Folder {
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
    const most = Math.min(OPEN_FOLDERS + FOLDERS_A_THREAD * threads, openFilesLimit() >>> 2)
    return new Folder(fd, '', { open: new OpenDirectories(most), name: '', stat: statFd(fd) })
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
  const { fd: above, open } = parent
  const isNew = makeName(above, name, replaces)
  const fd = openDirectoryAt(above, name)
  try {
    const stat = statFd(fd)
    // Somebody may have put another directory in place of ours.
    if (isNew && stat.uid !== effectiveUid()) throw replaced()
    if (!isNew && (stat.mode & CLOSED) !== CLOSED) chmodFd(fd, (stat.mode & 0o7777) | CLOSED)
    return new Folder(fd, path, { open, parent, name, stat })
  } catch (error) {
    closeSync(fd)
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
