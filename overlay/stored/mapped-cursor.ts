import type { DirectoryCursor, LayerEntry } from './layer-flags.ts'

/**
 * A listing whose entries are told in another way. A class: for an object with a getter, written where it is made, V8
 * makes a hidden class each time, which lives longer than the listing and slows all code that meets such an object.
 */
export class MappedCursor implements DirectoryCursor {
  readonly #cursor: DirectoryCursor
  readonly #map: (entry: LayerEntry) => LayerEntry

  constructor(cursor: DirectoryCursor, map: (entry: LayerEntry) => LayerEntry) {
    this.#cursor = cursor
    this.#map = map
  }

  get position(): number {
    return this.#cursor.position
  }

  next(): LayerEntry | undefined {
    const entry = this.#cursor.next()
    return entry === undefined ? undefined : this.#map(entry)
  }
}
