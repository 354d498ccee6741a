import { closeSync, constants } from 'node:fs'
import { DT_DIR, DT_UNKNOWN, FsError, ignoring, isDirectory, type Name } from '../../../src/base/index.ts'
import { mkdirAt, O_PATH, openAt, renameAt, rmdirAt, unlinkAt } from '../../../src/sys/files/at.ts'
import { listEntries, listNames } from '../../../src/sys/files/directory-entries.ts'
import { chmodFd } from '../../../src/sys/files/fd-attributes.ts'
import { statAt, statFd } from '../../../src/sys/files/statx.ts'
import { isTrustedOwner } from '../../../src/sys/plain/owner.ts'
import { passOnLike, removeAccessLists } from './passed-on.ts'

const { O_DIRECTORY } = constants

/** Folder of objects that are not renamed into place yet. overlayfs uses the same name, and empties it as well. */
const TEMPORARY = 'work'
/** Below `work`: its content forbids a mount (fs/overlayfs/readdir.c:ovl_workdir_cleanup_recurse). */
const INCOMPATIBLE = 'incompat'
const VOLATILE = 'volatile'

/** For the owner only: objects in here do not have their final rights yet. */
const PRIVATE = 0o700

/** No descriptor: each call with it is EBADF. */
const NONE = -1

/**
 * The work directory of an upper, on the same file system. Unfinished objects lie here, so that they get their name in
 * one step or not at all. The caller holds a lock on it: no other process makes or removes anything here.
 */
export class WorkDirectory {
  /** O_PATH descriptor of the directory of temporary names. */
  readonly fd: number
  readonly #label: string
  #temporaries = 0

  /**
   * Makes the directory where it is missing.
   * @param workFd descriptor of the work directory; stays the caller's. Undefined for a tree that is only read.
   * @param label its path, for messages
   * @throws FsError EROFS, EACCES, ENOSPC; ENOTDIR where another object has its name
   */
  constructor(workFd: number | undefined, label: string) {
    this.#label = label
    this.fd = workFd === undefined ? NONE : openPrivate(workFd, TEMPORARY, label)
  }

  /** Closes the descriptor; the content of the directory stays. */
  close(): void {
    if (this.isOpen) closeSync(this.fd)
  }

  /** Not that of a tree that is only read. */
  get isOpen(): boolean {
    return this.fd !== NONE
  }

  /** Makes objects here inherit what they would inherit in the upper directory. @param upperFd may be O_PATH */
  passOnLike(upperFd: number): void {
    passOnLike(this.fd, upperFd)
  }

  /** A name that no entry of `fd` has. */
  temporaryName(): Name {
    return `#${(this.#temporaries++).toString(16)}`
  }

  /**
   * Removes everything that a crash left behind.
   * @throws FsError EINVAL where the last mount was volatile, so that data may be missing, as overlayfs does
   */
  clean(): void {
    this.#assertCompatible()
    for (const name of listNames(this.fd)) {
      // Left-overs may have the next names that would be given out, and `discard` needs free names.
      if (name.startsWith('#')) this.#temporaries = Math.max(this.#temporaries, numberOf(name) + 1)
    }
    for (const name of listNames(this.fd)) this.discard(name)
    this.#temporaries = 0
  }

  /**
   * Removes a name and everything below it, at any depth, without following links. It moves subdirectories up one by
   * one, so that there is only one level at a time.
   * @throws FsError
   */
  discard(name: Name): void {
    const pending = [name]
    for (let one = pending.pop(); one !== undefined; one = pending.pop()) {
      const stat = statAt(this.fd, one)
      if (stat === undefined) continue
      if (isDirectory(stat.mode)) this.#empty(one, pending)
      else unlinkAt(this.fd, one)
    }
  }

  /** Notes that data may be missing after a crash: `clean` refuses until a user removes the note. */
  markVolatile(): void {
    makeDirectory(this.fd, INCOMPATIBLE)
    const fd = openAt(this.fd, INCOMPATIBLE, O_PATH | O_DIRECTORY)
    try {
      makeDirectory(fd, VOLATILE)
    } finally {
      closeSync(fd)
    }
  }

  /** Empties and removes a directory. Subdirectories are first moved out of it; their new names go to `pending`. */
  #empty(name: Name, pending: Name[]): void {
    const fd = openReadable(this.fd, name)
    try {
      for (const entry of listEntries(fd)) {
        if (!isDirectoryEntry(fd, entry.name, entry.type)) {
          unlinkAt(fd, entry.name)
          continue
        }
        const moved = this.temporaryName()
        // Moving a directory to another parent changes its `..`, which takes the right to write to it.
        closeSync(openReadable(fd, entry.name))
        renameAt(fd, entry.name, this.fd, moved, 0)
        pending.push(moved)
      }
    } finally {
      closeSync(fd)
    }
    rmdirAt(this.fd, name)
  }

  #assertCompatible(): void {
    if (statAt(this.fd, INCOMPATIBLE) === undefined) return
    const fd = openReadable(this.fd, INCOMPATIBLE)
    try {
      const [feature] = listNames(fd)
      if (feature === undefined) return
      const where = `${this.#label}/${TEMPORARY}/${INCOMPATIBLE}/${feature}`
      const reason =
        feature === VOLATILE
          ? 'its last mount was volatile, so data may be missing; remove that directory to use it all the same'
          : 'an overlay with a feature that is not known here used it'
      throw new FsError('EINVAL', `work directory ${this.#label}: ${where} exists: ${reason}`)
    } finally {
      closeSync(fd)
    }
  }
}

/** @returns false where the name exists */
function makeDirectory(dir: number, name: Name): boolean {
  return ignoring(['EEXIST'], () => mkdirAt(dir, name, PRIVATE))
}

function openPrivate(workFd: number, name: Name, label: string): number {
  try {
    makeDirectory(workFd, name)
    const fd = openAt(workFd, name, O_PATH | O_DIRECTORY)
    try {
      assertOurs(fd, name)
      removeAccessLists(fd)
      // overlayfs leaves it with mode 0. A setgid bit would pass its group on.
      chmodFd(fd, PRIVATE)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    return fd
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    throw new FsError(error.code, `work directory ${label}: ${error.message}`, { cause: error })
  }
}

/** The daemon removes or trusts what it finds in there. @throws FsError EPERM where another user has made it */
function assertOurs(fd: number, name: Name): void {
  const { uid } = statFd(fd)
  if (isTrustedOwner(uid)) return
  throw new FsError('EPERM', `${JSON.stringify(name)} in it belongs to user ${uid}: remove it`)
}

/** An O_PATH descriptor of a directory, after giving its owner all rights on it. */
function openReadable(dir: number, name: Name): number {
  const fd = openAt(dir, name, O_PATH | O_DIRECTORY)
  try {
    chmodFd(fd, PRIVATE)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function isDirectoryEntry(dir: number, name: Name, type: number): boolean {
  if (type !== DT_UNKNOWN) return type === DT_DIR
  const stat = statAt(dir, name)
  return stat !== undefined && isDirectory(stat.mode)
}

function numberOf(name: Name): number {
  const number = Number.parseInt(name.slice(1), 16)
  return Number.isSafeInteger(number) ? number : 0
}
