import { FsError } from '../src/base/index.ts'

/** Questions that are answered by a walk over one set, before all sets are looked at. */
const QUESTIONS_BEFORE = 32
/** A table of so few sets is looked at when the first question comes. */
const FEW_SETS = 64
/** Tables that are larger are never looked at as a whole: sets, pairs in all, bytes of names and values in all. */
const SETS_MAX = 65_535
const PAIRS_MAX = 1 << 18
const WALKED_MAX = 4 << 20
/** Most bytes of names that are held. No list that a file system can give is longer (linux/limits.h:XATTR_LIST_MAX). */
const HELD_MAX = 65536

/** How the pairs of one set are read, in order; it may throw `Postponed`, and then the next call is for the same pair. */
export interface SetReader {
  /** @returns gives the next pair; undefined at the end of the set */
  open(index: number): () => { readonly name: string | undefined; readonly size: number } | undefined
}

/**
 * Which names each set of an image has, found in one pass over its table: a listing of a tree asks for each of its files
 * whether it has this or that attribute, and most have not. Sets with the same names share one list.
 */
export class XattrNameLists {
  readonly #count: number
  readonly #reader: SetReader
  readonly #pause: () => void
  #questions = 0
  #state: 'not yet' | 'known' | 'never'
  readonly #lists: (readonly string[])[] = []
  /** Index of a list by its names, each with a NUL. */
  readonly #listOf = new Map<string, number>()
  #ofSet = new Uint16Array(0)
  #all: ReadonlySet<string> = new Set()
  // Where the pass stands.
  #index = 0
  #next: ReturnType<SetReader['open']> | undefined
  #names: string[] = []
  #pairs = 0
  #walked = 0
  #held = 0

  /** @param count sets. @param pause called after each pair; it may throw `Postponed` */
  constructor(count: number, reader: SetReader, pause: () => void) {
    this.#count = count
    this.#reader = reader
    this.#pause = pause
    this.#state = count > SETS_MAX ? 'never' : 'not yet'
  }

  /** All names that some inode of the image may have; undefined where that is not known, or not yet. */
  all(): ReadonlySet<string> | undefined {
    return this.#isKnown() ? this.#all : undefined
  }

  /** The names of one set in stored order; undefined where they are not known. */
  ofSet(index: number): readonly string[] | undefined {
    if (index >= this.#count || !this.#isKnown()) return undefined
    return this.#lists[this.#ofSet[index] ?? 0]
  }

  #isKnown(): boolean {
    if (this.#state !== 'not yet') return this.#state === 'known'
    if (this.#count > FEW_SETS && ++this.#questions <= QUESTIONS_BEFORE) return false
    try {
      this.#state = this.#pass() ? 'known' : 'never'
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      // Whoever asks for the damaged set is told; the others have their answers.
      this.#state = 'never'
    }
    this.#next = undefined
    if (this.#state === 'known') this.#all = new Set(this.#lists.flat())
    return this.#state === 'known'
  }

  /** Goes on where it was left by `Postponed`. @returns false where the table is too large. @throws FsError, Postponed */
  #pass(): boolean {
    if (this.#ofSet.length === 0) this.#ofSet = new Uint16Array(this.#count)
    while (this.#index < this.#count) {
      this.#next ??= this.#reader.open(this.#index)
      for (let pair = this.#next(); pair !== undefined; pair = this.#next()) {
        if (pair.name !== undefined) this.#names.push(pair.name)
        this.#pairs += 1
        this.#walked += pair.size
        if (this.#pairs > PAIRS_MAX || this.#walked > WALKED_MAX) return false
        this.#pause()
      }
      if (!this.#endSet()) return false
      this.#pause()
    }
    return true
  }

  #endSet(): boolean {
    const key = this.#names.map((name) => `${name}\0`).join('')
    let list = this.#listOf.get(key)
    if (list === undefined) {
      list = this.#lists.push(this.#names) - 1
      this.#listOf.set(key, list)
      this.#held += key.length
      if (this.#held > HELD_MAX) return false
    }
    this.#ofSet[this.#index] = list
    this.#names = []
    this.#next = undefined
    this.#index += 1
    return true
  }
}
