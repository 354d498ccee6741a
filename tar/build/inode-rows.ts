import { flagsOf, readFlags, type StoredInode } from '../format/layout.ts'
import { rowNumbers, smallNumbers, wholeNumbers } from './column.ts'

/** The inodes of a tree, by number. One costs some 60 bytes. */
export class InodeRows {
  readonly #modes = smallNumbers()
  readonly #flags = smallNumbers()
  readonly #uids = rowNumbers()
  readonly #gids = rowNumbers()
  readonly #seconds = wholeNumbers()
  readonly #nanoseconds = rowNumbers()
  readonly #links = rowNumbers()
  readonly #rdevs = rowNumbers()
  readonly #sizes = wholeNumbers()
  readonly #data = wholeNumbers()
  readonly #attributes = wholeNumbers()

  get length(): number {
    return this.#modes.length
  }

  /** @returns its number */
  add(inode: Omit<StoredInode, 'nlink'>): number {
    this.#flags.push(0)
    this.#uids.push(0)
    this.#gids.push(0)
    this.#seconds.push(0)
    this.#nanoseconds.push(0)
    this.#links.push(0)
    this.#rdevs.push(0)
    this.#sizes.push(0)
    this.#data.push(0)
    this.#attributes.push(0)
    const number = this.#modes.push(inode.mode)
    this.replace(number, inode)
    return number
  }

  /** Its links stay. */
  replace(number: number, inode: Omit<StoredInode, 'nlink'>): void {
    this.#modes.set(number, inode.mode)
    this.#flags.set(number, flagsOf(inode))
    this.#uids.set(number, inode.uid)
    this.#gids.set(number, inode.gid)
    this.#seconds.set(number, inode.seconds)
    this.#nanoseconds.set(number, inode.nanoseconds)
    this.#rdevs.set(number, inode.rdev)
    this.#sizes.set(number, inode.size)
    this.#data.set(number, inode.data)
    this.#attributes.set(number, inode.attributes)
  }

  modeOf(number: number): number {
    return this.#modes.at(number)
  }

  isImplied(number: number): boolean {
    return readFlags(this.#flags.at(number)).isImplied
  }

  isBelow(number: number): boolean {
    return readFlags(this.#flags.at(number)).isBelow
  }

  countLink(number: number, links = 1): void {
    this.#links.set(number, this.#links.at(number) + links)
  }

  linksOf(number: number): number {
    return this.#links.at(number)
  }

  /** @param size entries of a directory. @param data where they are */
  setData(number: number, size: number, data: number): void {
    this.#sizes.set(number, size)
    this.#data.set(number, data)
  }

  read(number: number): StoredInode {
    return {
      mode: this.#modes.at(number),
      ...readFlags(this.#flags.at(number)),
      uid: this.#uids.at(number),
      gid: this.#gids.at(number),
      seconds: this.#seconds.at(number),
      nanoseconds: this.#nanoseconds.at(number),
      nlink: this.#links.at(number),
      rdev: this.#rdevs.at(number),
      size: this.#sizes.at(number),
      data: this.#data.at(number),
      attributes: this.#attributes.at(number),
    }
  }
}
