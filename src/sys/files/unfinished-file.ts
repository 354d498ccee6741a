import { randomBytes } from 'node:crypto'
import { closeSync, constants } from 'node:fs'
import { isErrno, type Name, unlessFailed } from '../../base/index.ts'
import { linkAt, linkFd, openAt, openUnnamed, renameAt, unlinkAt } from './at.ts'

/**
 * A file that gets its name when it is whole: until then it has none, or one that nobody looks for. So whoever is killed
 * meanwhile leaves no half file under the name.
 */
export class UnfinishedFile {
  /** Open for reading and writing. */
  readonly fd: number
  readonly #folder: number
  /** Absent where the file system can hold a file without a name: then not even SIGKILL leaves anything. */
  #other: Name | undefined

  private constructor(folder: number, fd: number, other?: Name) {
    this.#folder = folder
    this.fd = fd
    this.#other = other
  }

  /** @param name the one that it will get. @throws FsError ENOSPC, EACCES, EROFS, … */
  static begin(folder: number, name: Name, mode: number): UnfinishedFile {
    try {
      return new UnfinishedFile(folder, openUnnamed(folder, mode))
    } catch (error) {
      // Some network file systems, and FUSE before 6.0.
      if (!isErrno(error, 'EOPNOTSUPP', 'EISDIR', 'ENOENT')) throw error
    }
    const other = otherName(name)
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL
    return new UnfinishedFile(folder, openAt(folder, other, flags, mode), other)
  }

  /**
   * Gives the file its name. The descriptor stays open.
   * @param replaces whether another file may lose the name
   * @param into folder of the same file system; the one in which it was begun if absent
   * @throws FsError EEXIST where something has the name; EISDIR, ENOSPC, …
   */
  giveName(name: Name, replaces: boolean, into = this.#folder): void {
    const folder = this.#folder
    if (!replaces) {
      // Fails where somebody else has taken the name meanwhile, which a rename would not.
      if (this.#other === undefined) linkFd(this.fd, into, name)
      else linkAt(folder, this.#other, into, name)
      return
    }
    if (this.#other === undefined) {
      const other = otherName(name)
      linkFd(this.fd, folder, other)
      this.#other = other
    }
    renameAt(folder, this.#other, into, name, 0)
    this.#other = undefined
  }

  /** Ends the use. What has got no name is gone. */
  close(): void {
    const other = this.#other
    if (other !== undefined) unlessFailed(() => unlinkAt(this.#folder, other))
    closeSync(this.fd)
  }
}

/** Of the same folder, short enough for every file system. */
export function otherName(name: Name): Name {
  return `.${name.slice(0, 200)}.${randomBytes(6).toString('hex')}.part`
}
