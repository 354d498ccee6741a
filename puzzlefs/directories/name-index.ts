import { LruCache, type Name, type Ref, ResumableWalks } from '../../src/base/index.ts'
import type { Message, StructList } from '../message/message.ts'
import { nameAt } from './entries.ts'

/** Names after which others get their turn, and below which an index saves nothing. */
const NAMES_AT_ONCE = 256
const SMALL = 32
/** Places of all tables that are kept, of 4 bytes each. */
const PLACES_KEPT = 4 << 20

/** A hash table of the names of one directory: places hold the index of an entry plus 1, and 0 where they are free. */
interface NameTable {
  readonly places: Int32Array
  /** Entries that are in it. */
  filled: number
}

/** Finds names in directories, whose entries need not be in any order. */
export class NameIndex {
  readonly #message: Message
  readonly #pause: () => void
  readonly #tables = new LruCache<Ref, NameTable>(PLACES_KEPT)
  readonly #walks = new ResumableWalks<NameTable, NameTable>(false)
  readonly #searches = new ResumableWalks<{ at: number }, number | undefined>()
  /** Whoever makes an image shall not be able to choose names that all have one place. */
  readonly #seed = Math.floor(Math.random() * 2 ** 32)

  /** @param pause called where a long walk can go on later; it may throw `Postponed` */
  constructor(message: Message, pause: () => void) {
    this.#message = message
    this.#pause = pause
  }

  /** @returns index of the first entry of this name. @throws DamageError */
  find(directory: Ref, list: StructList, name: Name): number | undefined {
    if (list.count <= SMALL) return this.#search(list, name, { at: 0 })
    if (list.count * 2 > PLACES_KEPT) {
      const key = (): string => `${directory} ${name}`
      return this.#searches.run(
        key,
        () => ({ at: 0 }),
        (walk) => this.#search(list, name, walk),
      )
    }
    const { places } = this.#tables.get(directory) ?? this.#make(directory, list)
    for (let place = this.#hash(name) % places.length; ; place = (place + 1) % places.length) {
      const entry = (places[place] ?? 0) - 1
      if (entry < 0) return undefined
      if (nameAt(this.#message, list, entry) === name) return entry
    }
  }

  #search(list: StructList, name: Name, walk: { at: number }): number | undefined {
    for (; walk.at < list.count; walk.at++) {
      if (walk.at % NAMES_AT_ONCE === NAMES_AT_ONCE - 1) this.#pause()
      if (nameAt(this.#message, list, walk.at) === name) return walk.at
    }
    return undefined
  }

  #make(directory: Ref, list: StructList): NameTable {
    const table = this.#walks.run(
      () => `${directory}`,
      () => ({ places: new Int32Array(2 * list.count + 1), filled: 0 }),
      (walk) => this.#fill(walk, list),
    )
    this.#tables.set(directory, table, table.places.length)
    return table
  }

  #fill(table: NameTable, list: StructList): NameTable {
    const { places } = table
    for (; table.filled < list.count; table.filled++) {
      if (table.filled % NAMES_AT_ONCE === NAMES_AT_ONCE - 1) this.#pause()
      const name = nameAt(this.#message, list, table.filled)
      if (name === undefined) continue
      let place = this.#hash(name) % places.length
      // Of two entries of one name the first one is met first.
      while (places[place] !== 0) place = (place + 1) % places.length
      places[place] = table.filled + 1
    }
    return table
  }

  #hash(name: Name): number {
    let hash = this.#seed
    for (let at = 0; at < name.length; at++) {
      hash = Math.imul(hash ^ name.charCodeAt(at), 0x85ebca6b)
      hash ^= hash >>> 13
    }
    return hash >>> 0
  }
}
