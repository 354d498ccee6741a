import { closeSync, constants } from 'node:fs'
import { FsError, isErrno, type Name } from '../../base/index.ts'
import { mkdirAt, O_PATH, openAt, openParent, reopenFd } from '../../sys/files/at.ts'
import { type HostStat, statFd } from '../../sys/files/statx.ts'
import { namesIn, type Place } from './place.ts'

const DIRECTORY = O_PATH | constants.O_DIRECTORY

/** Rights of a directory until all in it is made: nobody else sees or changes what is in it. */
export const CLOSED = 0o700

type Identity = Pick<HostStat, 'dev' | 'inode'>

/** A directory on the way down. */
interface Level extends Identity {
  readonly name: Name
}

/**
 * Goes to the directories of a tree, name by name, each below the descriptor of the one before, and through no link:
 * nothing outside of the tree is ever reached. The directory of the last path stays open, because the next one is near:
 * archives have their entries in order, and trees may have thousands of levels.
 */
export class Descent {
  readonly #root: number
  readonly #identity: Identity
  #folder: number
  #levels: Level[] = []

  /** @param root descriptor of the tree; stays the caller's */
  constructor(root: number) {
    this.#root = root
    this.#identity = statFd(root)
    this.#folder = reopenFd(root, DIRECTORY)
  }

  /**
   * The directory in which a path is, and the name there. The descriptor is good until the next call.
   * @param onMissing told of a directory that is missing, before it is made in `folder`; absent: none is made
   * @returns undefined where a directory is missing
   * @throws FsError ENOTDIR where something else has its name; EINVAL for the root, which is in no directory
   */
  placeOf(path: Name, onMissing?: (path: Name, folder: number) => void): Place | undefined {
    const names = namesIn(path)
    const name = names.pop()
    if (name === undefined) throw new FsError('EINVAL', 'the root of a layer is in no directory')
    return this.#go(names, onMissing) ? { folder: this.#folder, name } : undefined
  }

  /**
   * The place of something that is to be made: directories above it that are missing are made.
   * @param onMissing told of each of them, before it is made in `folder`
   * @throws FsError as `placeOf`
   */
  placeToMake(path: Name, onMissing: (path: Name, folder: number) => void): Place {
    const place = this.placeOf(path, onMissing)
    if (place !== undefined) return place
    throw new FsError('ENOENT', `${JSON.stringify(path)}: no directory for it`)
  }

  /** @returns an O_PATH descriptor, good until the next call; undefined where there is no directory. @param path `''` is the root */
  directory(path: Name): number | undefined {
    try {
      return this.#go(namesIn(path)) ? this.#folder : undefined
    } catch (error) {
      if (isErrno(error, 'ENOTDIR')) return undefined
      throw error
    }
  }

  close(): void {
    closeSync(this.#folder)
  }

  /** Whoever removes a directory says so: it may be the one that is open. */
  forget(): void {
    this.#exchange(reopenFd(this.#root, DIRECTORY))
    this.#levels = []
  }

  #go(names: readonly Name[], onMissing?: (path: Name, folder: number) => void): boolean {
    let common = 0
    while (common < this.#levels.length && this.#levels[common]?.name === names[common]) common += 1
    this.#ascend(common)
    for (const [i, step] of names.entries()) {
      if (i < common) continue
      try {
        this.#enter(step)
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw notThere(error, names.slice(0, i + 1))
        if (onMissing === undefined) return false
        onMissing(names.slice(0, i + 1).join('/'), this.#folder)
        mkdirAt(this.#folder, step, CLOSED)
        this.#enter(step)
      }
    }
    return true
  }

  #enter(name: Name): void {
    const next = openAt(this.#folder, name, DIRECTORY)
    const { dev, inode } = statFd(next)
    this.#exchange(next)
    this.#levels.push({ name, dev, inode })
  }

  /** Up to so many levels: by `..` where that is nearer than from the root, and only where it leads to where it came from. */
  #ascend(count: number): void {
    const levels = this.#levels
    if (levels.length - count > count) {
      const names = levels.slice(0, count).map(({ name }) => name)
      this.forget()
      for (const name of names) this.#enter(name)
      return
    }
    while (levels.length > count) {
      levels.pop()
      const expected = levels.at(-1) ?? this.#identity
      this.#exchange(openParent(this.#folder))
      const found = statFd(this.#folder)
      if (found.dev === expected.dev && found.inode === expected.inode) continue
      throw new FsError('EBUSY', 'a directory was moved away by somebody else meanwhile')
    }
  }

  #exchange(next: number): void {
    closeSync(this.#folder)
    this.#folder = next
  }
}

function notThere(error: unknown, names: readonly Name[]): unknown {
  if (!isErrno(error, 'ENOTDIR', 'ELOOP')) return error
  return new FsError(
    'ENOTDIR',
    `${JSON.stringify(names.join('/'))} is no directory, and something lies below it`,
  )
}
