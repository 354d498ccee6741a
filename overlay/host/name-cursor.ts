import type { Name } from '../../src/base/index.ts'
import type { DirectoryCursor, LayerEntry } from '../stored/layer-flags.ts'

/** Goes through names that were read before, and passes over those that are gone. */
export class NameCursor implements DirectoryCursor {
  readonly #names: readonly Name[]
  readonly #entryOf: (name: Name) => LayerEntry | undefined
  #at: number

  /** @param start number of names before the first that is given */
  constructor(names: readonly Name[], start: number, entryOf: (name: Name) => LayerEntry | undefined) {
    this.#names = names
    this.#entryOf = entryOf
    this.#at = start
  }

  get position(): number {
    return this.#at
  }

  next(): LayerEntry | undefined {
    while (this.#at < this.#names.length) {
      const name = this.#names[this.#at++]
      if (name === undefined) break
      const entry = this.#entryOf(name)
      if (entry !== undefined) return entry
    }
    return undefined
  }
}
