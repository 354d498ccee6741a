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

/** Added to the name of a file that is being written. */
const UNFINISHED = '.new'

/**
 * A folder that is held by a descriptor. Everything is done by one name below it, and no symbolic link is followed, so
 * that a user who renames things cannot lead the walk elsewhere, and a root directory that changes (pivot_root) does not
 * matter.
 */
export class Folder {
  /** O_PATH. */
  readonly fd: number
  /** Where it was when it was opened: for messages, nothing is opened by it. */
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

  /** Path of a name in it, for messages. */
  pathOf(name: PathText): PathText {
    return join(this.path, name)
  }

  /** @returns undefined where there is no folder of that name. @throws FsError EACCES, EMFILE, … */
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

  /** The folder of that name, made where it is missing. @throws FsError EROFS, ENOSPC, EACCES, ENOTDIR, … */
  make(name: PathText, mode: number): Folder {
    ignoring(['EEXIST'], () => mkdirAt(this.fd, nameOf(name), mode))
    return this.folder(name)
  }

  /** Text of a file; undefined where there is none that can be read. */
  read(name: PathText): string | undefined {
    let fd: number
    try {
      // A FIFO in its place must not block.
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

  /** A reader sees the old file or the new one, never half of it. @throws FsError ENOSPC, …; the old one stays then */
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
      // A process was killed while it wrote the file.
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

  /** Opens a file in it. @param flags O_NOFOLLOW is added. @returns a descriptor; the caller closes it */
  openFile(name: PathText, flags: number, mode = 0): number {
    return openAt(this.fd, nameOf(name), flags, mode)
  }

  names(): readonly PathText[] {
    return listEntries(this.fd).map((entry) => decodePath(Buffer.from(entry.name, 'latin1')))
  }

  rename(from: PathText, folder: Folder, to: PathText): void {
    renameAt(this.fd, nameOf(from), folder.fd, nameOf(to), 0)
  }

  /** Removes a name with all below it. One that is missing is fine. @throws FsError EACCES, EBUSY, … */
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
