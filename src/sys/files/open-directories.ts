import { closeSync, constants } from 'node:fs'
import { FsError, isErrno, type Name } from '../../base/index.ts'
import { O_PATH, openAt } from './at.ts'
import { type HostStat, statFd } from './statx.ts'

const DIRECTORY = O_PATH | constants.O_DIRECTORY

/** Fewer would be opened again and again. */
const LEAST = 8

/** Where a directory lies, and which one it is. */
export interface Place {
  /** Absent: the root of the tree. */
  readonly parent?: Place
  readonly name: Name
  readonly stat: Pick<HostStat, 'dev' | 'inode' | 'uid'>
}

/**
 * Descriptors of directories on the way through a tree, of which there are as many as it has levels: only some are kept
 * open. The others are found again, name by name from one that is open, and only the ones that they were. Whoever closes a
 * directory for good has closed those below it before.
 */
export class OpenDirectories {
  readonly #most: number
  /** Descriptors, that of the directory used last at the end. */
  readonly #open = new Map<Place, number>()
  /** Those that other threads use, and how many times. */
  readonly #pinned = new Map<Place, number>()

  /** @param most descriptors, at least 8 */
  constructor(most: number) {
    this.#most = Math.max(most, LEAST)
  }

  /** Whether so many are in use that others have to wait. */
  get isFull(): boolean {
    return this.#pinned.size >= this.#most / 2
  }

  /** Takes a descriptor that was opened with O_PATH. */
  add(place: Place, fd: number): void {
    this.#open.set(place, fd)
    this.#closeOldest(place)
  }

  /**
   * A descriptor of a directory, valid until the next call; that of a pinned one until it is unpinned.
   * @throws FsError EEXIST where somebody has put something else in its place
   */
  fd(place: Place): number {
    const present = this.#open.get(place)
    if (present !== undefined) {
      this.#open.delete(place)
      this.#open.set(place, present)
      return present
    }
    // Trees may be deeper than the stack of calls.
    const missing: Place[] = []
    let above: Place | undefined = place
    let fd: number | undefined
    for (; above !== undefined && fd === undefined; above = above.parent) {
      fd = this.#open.get(above)
      if (fd === undefined) missing.push(above)
    }
    if (fd === undefined) throw new FsError('EIO', 'the root of a tree of directories is closed')
    for (let one = missing.pop(); one !== undefined; one = missing.pop()) {
      fd = openSame(fd, one)
      this.add(one, fd)
    }
    return fd
  }

  /** Keeps a directory open for others. */
  pin(place: Place): void {
    this.fd(place)
    this.#pinned.set(place, (this.#pinned.get(place) ?? 0) + 1)
  }

  unpin(place: Place): void {
    const count = (this.#pinned.get(place) ?? 0) - 1
    if (count > 0) this.#pinned.set(place, count)
    else this.#pinned.delete(place)
  }

  /** Ends the use of a directory. */
  close(place: Place): void {
    const fd = this.#open.get(place)
    this.#open.delete(place)
    if (fd !== undefined) closeSync(fd)
  }

  closeAll(): void {
    for (const fd of this.#open.values()) closeSync(fd)
    this.#open.clear()
  }

  /** @param used it stays, and so do the root, which could not be found again, and what is pinned */
  #closeOldest(used: Place): void {
    if (this.#open.size <= this.#most) return
    for (const place of this.#open.keys()) {
      if (place === used || place.parent === undefined || this.#pinned.has(place)) continue
      this.close(place)
      return
    }
  }
}

function openSame(parent: number, { name, stat }: Place): number {
  const fd = openDirectoryAt(parent, name)
  try {
    const { dev, inode, uid } = statFd(fd)
    // The number of one that was removed may be that of another one now, whose owner is somebody else.
    if (dev === stat.dev && inode === stat.inode && uid === stat.uid) return fd
    throw replaced()
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** A descriptor, with O_PATH, of a directory that is there. @throws FsError EEXIST where it is none any more */
export function openDirectoryAt(parent: number, name: Name): number {
  try {
    return openAt(parent, name, DIRECTORY)
  } catch (error) {
    if (isErrno(error, 'ENOTDIR', 'ELOOP', 'ENOENT')) throw replaced()
    throw error
  }
}

/** Somebody has put something else in place of what was there. */
export function replaced(): FsError {
  return new FsError('EEXIST', 'was replaced by somebody else')
}
