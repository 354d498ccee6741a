import { closeSync, constants, fstatSync, readFileSync, type Stats, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  DT_DIR,
  DT_UNKNOWN,
  decodePath,
  FsError,
  ignoring,
  isDirectory,
  isErrno,
  type Name,
  type PathText,
} from '../../base/index.ts'
import { isTrustedOwner } from '../plain/owner.ts'
import { mkdirAt, O_PATH, openAt, openParent, renameAt, rmdirAt, unlinkAt } from './at.ts'
import { type HostEntry, listEntries } from './directory-entries.ts'
import { type HostStat, statAt } from './statx.ts'
import { forgetMade, nameOf, type WalkOptions, walkTo } from './walk.ts'

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants

const DIRECTORY = O_PATH | O_DIRECTORY

/** Suffix of a file while it is written. */
const UNFINISHED = '.new'

/**
 * A folder held by a descriptor. All operations take one name below it and follow no symbolic link, so a user who
 * renames things cannot lead them elsewhere. A change of the root directory (pivot_root) does not matter.
 */
export class Folder {
  /** O_PATH. */
  readonly fd: number
  /** Its path at the time of opening, for messages only. */
  readonly path: PathText

  constructor(fd: number, path: PathText) {
    this.fd = fd
    this.path = path
  }

  /** @param path absolute. @throws FsError as `walkTo` */
  static open(path: PathText, options: WalkOptions): Folder {
    const walked = walkTo(path, options)
    forgetMade(walked.made)
    return new Folder(walked.fd, walked.path)
  }

  stat(): Stats {
    return fstatSync(this.fd)
  }

  statOf(name: PathText): HostStat | undefined {
    return statAt(this.fd, nameOf(name))
  }

  /** Path of a name in the folder, for messages. */
  pathOf(name: PathText): PathText {
    return join(this.path, name)
  }

  /** @returns undefined where no folder has that name. @throws FsError EACCES, EMFILE, … */
  find(name: PathText): Folder | undefined {
    try {
      return this.folder(name)
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
      throw error
    }
  }

  /** @throws FsError ENOENT, ENOTDIR (also for a symbolic link), EACCES, … */
  folder(name: PathText): Folder {
    return new Folder(openAt(this.fd, nameOf(name), DIRECTORY), this.pathOf(name))
  }

  /** The folder of that name; makes it where it is missing. @throws FsError EROFS, ENOSPC, EACCES, ENOTDIR, … */
  make(name: PathText, mode: number): Folder {
    ignoring(['EEXIST'], () => mkdirAt(this.fd, nameOf(name), mode))
    return this.folder(name)
  }

  /** Text of a file; undefined where no file of that name can be read. */
  read(name: PathText): string | undefined {
    let fd: number
    try {
      // Opening a FIFO of that name must not block.
      fd = openAt(this.fd, nameOf(name), O_RDONLY | O_NONBLOCK)
    } catch {
      return undefined
    }
    try {
      return fstatSync(fd).isFile() ? readFileSync(fd, 'utf8') : undefined
    } finally {
      closeSync(fd)
    }
  }

  /**
   * Replaces a file in one step: a reader sees the old or the new one.
   * @throws FsError ENOSPC, …; the old one stays then
   */
  write(name: PathText, text: string, mode = 0o644): void {
    const unfinished = nameOf(name + UNFINISHED)
    try {
      this.#fill(unfinished, text, mode)
      renameAt(this.fd, unfinished, this.fd, nameOf(name), 0)
    } catch (error) {
      this.remove(name + UNFINISHED)
      throw error
    }
  }

  #fill(name: string, text: string, mode: number): void {
    const open = (): number => openAt(this.fd, name, O_WRONLY | O_CREAT | O_EXCL, mode)
    let fd: number
    try {
      fd = open()
    } catch (error) {
      // Left by a process that was killed while it wrote the file.
      if (!isErrno(error, 'EEXIST')) throw error
      unlinkAt(this.fd, name)
      fd = open()
    }
    try {
      writeFileSync(fd, text)
    } finally {
      closeSync(fd)
    }
  }

  /** Opens a file in the folder. @param flags O_NOFOLLOW is added. @returns a descriptor; the caller closes it */
  openFile(name: PathText, flags: number, mode = 0): number {
    return openAt(this.fd, nameOf(name), flags, mode)
  }

  names(): readonly PathText[] {
    return listEntries(this.fd).map((entry) => decodePath(Buffer.from(entry.name, 'latin1')))
  }

  rename(from: PathText, folder: Folder, to: PathText): void {
    renameAt(this.fd, nameOf(from), folder.fd, nameOf(to), 0)
  }

  /** Removes a name with all below it; a missing name is no error. @throws FsError EACCES, EBUSY, … */
  remove(name: PathText): void {
    removeTree(this.fd, nameOf(name))
  }

  /** Removes a file that `write` makes, and what a process left of it that was killed meanwhile. @throws FsError as `remove` */
  removeWritten(name: PathText): void {
    for (const one of [name, name + UNFINISHED]) this.remove(one)
  }

  close(): void {
    closeSync(this.fd)
  }
}

/**
 * Removes a name with all below it, which may be deeper than a path can say or a process may have descriptors: one is
 * open at a time, and `..` leads back. No link is followed. What is gone already is no error.
 * @param onRemoved gets the path of each name below the one that is removed, from there
 * @throws FsError EACCES, EBUSY, ENOTEMPTY where somebody makes something meanwhile, …
 */
export function removeTree(dir: number, name: Name, onRemoved?: (path: Name) => void): void {
  if (!isDirectoryAt(dir, { name, type: DT_UNKNOWN })) unlessGone(() => unlinkAt(dir, name))
  else if (!removesEmpty(dir, name)) {
    unlessGone(() => emptyDirectory(dir, name, onRemoved))
    unlessGone(() => rmdirAt(dir, name))
  }
}

/** What is empty goes also where a process may have no further descriptor. @returns whether it is gone */
function removesEmpty(dir: number, name: Name): boolean {
  try {
    unlessGone(() => rmdirAt(dir, name))
    return true
  } catch {
    return false
  }
}

function emptyDirectory(dir: number, name: Name, onRemoved: ((path: Name) => void) | undefined): void {
  const levels: { readonly name: Name; readonly left: HostEntry[] }[] = []
  // Of the open directory, with a slash behind it.
  let path: Name = ''
  let folder = openAt(dir, name, DIRECTORY)
  try {
    for (let left = listEntries(folder); ; ) {
      const entry = left.pop()
      if (entry === undefined) {
        const above = levels.pop()
        if (above === undefined) return
        folder = inPlaceOf(folder, openParent(folder))
        unlessGone(() => rmdirAt(folder, above.name))
        left = above.left
        path = path.slice(0, path.length - above.name.length - 1)
        onRemoved?.(path + above.name)
      } else if (isDirectoryAt(folder, entry)) {
        const next = unlessGone(() => openAt(folder, entry.name, DIRECTORY))
        if (next === undefined) continue
        folder = inPlaceOf(folder, next)
        levels.push({ name: entry.name, left })
        left = listEntries(folder)
        path = `${path}${entry.name}/`
      } else {
        unlessGone(() => unlinkAt(folder, entry.name))
        onRemoved?.(path + entry.name)
      }
    }
  } finally {
    closeSync(folder)
  }
}

function isDirectoryAt(dir: number, { name, type }: Pick<HostEntry, 'name' | 'type'>): boolean {
  return type === DT_UNKNOWN ? isDirectory(statAt(dir, name)?.mode ?? 0) : type === DT_DIR
}

function inPlaceOf(before: number, next: number): number {
  closeSync(before)
  return next
}

function unlessGone<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Bits of a mode. */
const WRITABLE_BY_OTHERS = 0o022

/** For folders whose files are believed: nobody else may have put them there. @throws FsError EPERM */
export function assertClosed(folder: Folder): void {
  const { uid, mode } = folder.stat()
  if (isTrustedOwner(uid) && (mode & WRITABLE_BY_OTHERS) === 0) return
  throw new FsError(
    'EPERM',
    `${folder.path}: others can write to it, or own it: chmod 700, or another folder`,
  )
}
