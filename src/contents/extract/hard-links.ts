import { closeSync, constants } from 'node:fs'
import { FsError, isErrno, type Name, type NodeId } from '../../base/index.ts'
import { linkFd, O_PATH, openAt, unlinkAt } from '../../sys/files/at.ts'
import { duplicateDescriptor } from '../../sys/files/descriptor.ts'
import { statFd } from '../../sys/files/statx.ts'
import { childPath } from '../texts.ts'
import type { Folder } from './folder.ts'
import type { Identity } from './jobs.ts'

/** A further name of a file. */
export interface FurtherName {
  readonly folder: Folder
  readonly name: Name
}

/** What became of a file: it was made, could not be, or is left out. */
export type Outcome = Identity | 'failed' | 'left out'

interface LinkedFile {
  /** Path of its first name, from DIR. */
  readonly path: Name
  /** Undefined while it is made. */
  outcome: Outcome | undefined
  /** Names that wait for it. */
  readonly waiting: FurtherName[]
  /** Names that may still come. */
  left: number
}

/** Told of each further name. */
type Linked = (further: FurtherName, outcome: 'made' | 'left out' | FsError) => void

/** Files with several names. Each is made under its first one, and gets the others when it is whole. */
export class HardLinks {
  readonly #files = new Map<NodeId, LinkedFile>()
  readonly #root: number
  readonly #replaces: boolean
  readonly #onLinked: Linked

  /** @param onLinked called for each further name that was made, or was not */
  constructor(root: Folder, replaces: boolean, onLinked: Linked) {
    // The folder is closed as soon as nothing more is made in it, and names are made elsewhere then.
    this.#root = duplicateDescriptor(root.fd)
    this.#replaces = replaces
    this.#onLinked = onLinked
  }

  close(): void {
    closeSync(this.#root)
  }

  /**
   * Says that a file of several names was met.
   * @returns whether this is its first name, under which the caller makes it
   */
  meet(node: NodeId, nlink: number, further: FurtherName): boolean {
    const file = this.#files.get(node)
    if (file === undefined) {
      const path = childPath(further.folder.path, further.name)
      this.#files.set(node, { path, outcome: undefined, waiting: [], left: nlink - 1 })
      return true
    }
    file.left -= 1
    if (file.outcome === undefined) file.waiting.push(further)
    else this.#link(file.path, file.outcome, further)
    if (file.left <= 0 && file.outcome !== undefined) this.#files.delete(node)
    return false
  }

  settle(node: NodeId, outcome: Outcome): void {
    const file = this.#files.get(node)
    if (file === undefined) return
    file.outcome = outcome
    for (const further of file.waiting.splice(0)) this.#link(file.path, outcome, further)
    if (file.left <= 0) this.#files.delete(node)
  }

  #link(path: Name, outcome: Outcome, further: FurtherName): void {
    if (outcome === 'left out') this.#onLinked(further, outcome)
    else if (outcome === 'failed') {
      this.#onLinked(further, new FsError('EIO', 'another name of this file could not be extracted'))
    } else this.#onLinked(further, this.#tryLink(path, outcome, further))
  }

  #tryLink(path: Name, first: Identity, { folder, name }: FurtherName): FsError | 'made' {
    try {
      const fd = this.#open(path, first)
      try {
        linkFd(fd, folder.fd, name)
      } catch (error) {
        if (!this.#replaces || !isErrno(error, 'EEXIST')) throw error
        unlinkAt(folder.fd, name)
        linkFd(fd, folder.fd, name)
      } finally {
        closeSync(fd)
      }
      return 'made'
    } catch (error) {
      if (error instanceof FsError) return error
      throw error
    }
  }

  /** Finds a file again, name by name, and only the one that was made. @throws FsError */
  #open(path: Name, { dev, inode }: Identity): number {
    let fd = this.#root
    try {
      const names = path.split('/')
      for (const [at, name] of names.entries()) {
        const isLast = at === names.length - 1
        const next = openAt(fd, name, isLast ? O_PATH : O_PATH | constants.O_DIRECTORY)
        if (fd !== this.#root) closeSync(fd)
        fd = next
      }
      const found = statFd(fd)
      if (found.dev === dev && found.inode === inode) return fd
      throw new FsError('EEXIST', 'the file whose other name it is was replaced by somebody else')
    } catch (error) {
      if (fd !== this.#root) closeSync(fd)
      throw error
    }
  }
}
