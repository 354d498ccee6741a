import { FsError, LruCache, ResumableWalks } from '../../src/base/index.ts'
import type { DirectoryCursor, Layer, LayerEntry, Ref } from './layer-flags.ts'

/** Names of one listing, and of all that are kept. An entry with its name takes some 150 bytes. */
const MOST_NAMES = 1_000_000

/** Listings that are being read, by requests that were postponed. */
const MOST_READINGS = 4

/** A listing that is being read. */
interface Reading {
  readonly cursor: DirectoryCursor
  readonly entries: LayerEntry[]
}

/**
 * Directories of a layer that has their names in another order than a merge needs. Each is read and sorted once, and kept
 * while there is room; the position in such a listing is the number of names before it.
 */
export class SortedListings {
  readonly #label: string
  readonly #read: (directory: Ref) => DirectoryCursor
  readonly #listings = new LruCache<Ref, readonly LayerEntry[]>(MOST_NAMES)
  // A long one is read in the turns of several attempts.
  readonly #readings = new ResumableWalks<Reading, readonly LayerEntry[]>(false, MOST_READINGS)

  /** @param read gives all entries of a directory, in any order */
  constructor({ label }: Layer, read: (directory: Ref) => DirectoryCursor) {
    this.#label = label
    this.#read = read
  }

  /** @throws FsError EIO for a directory of more than a million names */
  open(directory: Ref, position: number): DirectoryCursor {
    return new ListingCursor(this.#sorted(directory), position)
  }

  /** @throws FsError EIO for a directory of more than a million names */
  openAt(directory: Ref, name: string): DirectoryCursor {
    const entries = this.#sorted(directory)
    const at = entries.findIndex((entry) => entry.name >= name)
    return new ListingCursor(entries, at < 0 ? entries.length : at)
  }

  #sorted(directory: Ref): readonly LayerEntry[] {
    const known = this.#listings.get(directory)
    if (known !== undefined) return known
    const sorted = this.#readings.run(
      () => `${directory}`,
      () => ({ cursor: this.#read(directory), entries: [] }),
      (reading) => this.#finish(directory, reading),
    )
    this.#listings.set(directory, sorted, sorted.length + 1)
    return sorted
  }

  #finish(directory: Ref, { cursor, entries }: Reading): readonly LayerEntry[] {
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      if (entries.length === MOST_NAMES) {
        throw new FsError(
          'EIO',
          `layer ${this.#label}: directory ${directory} has more than ${MOST_NAMES} names, too many to sort for a merge`,
        )
      }
      entries.push(entry)
    }
    // `Array.sort` is stable, so of equal names the one that the layer has first stays first.
    entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    return entries.filter(({ name }, at) => name !== entries[at - 1]?.name)
  }
}

class ListingCursor implements DirectoryCursor {
  readonly #entries: readonly LayerEntry[]
  #position: number

  constructor(entries: readonly LayerEntry[], position: number) {
    this.#entries = entries
    this.#position = position
  }

  get position(): number {
    return this.#position
  }

  next(): LayerEntry | undefined {
    const entry = this.#entries[this.#position]
    if (entry !== undefined) this.#position += 1
    return entry
  }
}
