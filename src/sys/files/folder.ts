import { closeSync, constants, fstatSync, readFileSync, type Stats, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  DT_DIR,
  DT_UNKNOWN,
  decodePath,
  ignoring,
  isDirectory,
  isErrno,
  type PathText,
} from '../../base/index.ts'
import { mkdirAt, O_PATH, openAt, renameAt, rmdirAt, unlinkAt } from './at.ts'
import { listEntries } from './directory-entries.ts'
import { type HostStat, statAt } from './statx.ts'
import { forgetMade, nameOf, type WalkOptions, walkTo } from './walk.ts'

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants

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
    return new Folder(openAt(this.fd, nameOf(name), O_PATH | O_DIRECTORY), this.pathOf(name))
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
    removeBelow(this.fd, nameOf(name))
  }

  close(): void {
    closeSync(this.fd)
  }
}

function removeBelow(dir: number, name: string, type = DT_UNKNOWN): void {
  try {
    const isFolder = type === DT_UNKNOWN ? isDirectory(statAt(dir, name)?.mode ?? 0) : type === DT_DIR
    if (!isFolder) {
      unlinkAt(dir, name)
      return
    }
    const fd = openAt(dir, name, O_PATH | O_DIRECTORY)
    try {
      for (const entry of listEntries(fd)) removeBelow(fd, entry.name, entry.type)
    } finally {
      closeSync(fd)
    }
    rmdirAt(dir, name)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
}
