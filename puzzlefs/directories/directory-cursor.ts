import { type DirectoryCursor, direntType, type LayerEntry, type Name } from '../../src/base/index.ts'
import type { Message, StructList } from '../message/message.ts'
import type { InodeTable } from '../rootfs/inode-table.ts'
import { nameAt, numberAt } from './entries.ts'

/** Entries after which others get their turn. */
const ENTRIES_AT_ONCE = 256

/**
 * Walks the entries of a directory in the order in which they are stored. Left out are deleted names, names that no file
 * can have, and entries whose inode is not there. Positions are indexes of entries.
 */
export class PuzzleDirectoryCursor implements DirectoryCursor {
  position: number
  readonly #message: Message
  readonly #table: InodeTable
  readonly #list: StructList
  readonly #pause: () => void
  #passed = 0
  /** A walk that began in the middle does not know what was before. */
  readonly #isWhole: boolean
  /** The largest name so far: one that is not above it may have been there before. */
  #largest: Name = ''

  /** @param position 0, or what was the position of an earlier cursor */
  constructor(message: Message, table: InodeTable, list: StructList, position: number, pause: () => void) {
    this.#message = message
    this.#table = table
    this.#list = list
    this.#pause = pause
    this.#isWhole = position === 0
    this.position = position
  }

  /** @throws DamageError, FsError EIO; Postponed, and can then go on */
  next(): LayerEntry | undefined {
    while (this.position < this.#list.count) {
      this.#passed += 1
      if (this.#passed % ENTRIES_AT_ONCE === 0) this.#pause()
      const entry = this.#entry(this.position)
      this.position += 1
      if (entry !== undefined) return entry
    }
    return undefined
  }

  #entry(index: number): LayerEntry | undefined {
    const name = nameAt(this.#message, this.#list, index)
    if (name === undefined) return undefined
    const ref = this.#table.find(numberAt(this.#message, this.#list, index))
    if (ref < 0) return undefined
    const entry = { name, ref, ino: this.#table.shown(ref), type: direntType(this.#table.type(ref)) }
    const isNew = this.#isWhole && name > this.#largest
    if (name > this.#largest) this.#largest = name
    return isNew ? entry : { ...entry, unsorted: true }
  }
}
