import { InodeSet, type Ref } from '../../base/index.ts'

/** Files with several names that are remembered, of all layers together: some 20 MB. Others count at each name. */
const MOST_FILES = 2 ** 20

/** Tells the first name of a file from its other ones. */
export class FirstNames {
  readonly #met = new Map<number, InodeSet>()
  #count = 0

  /** @param nlink names that the layer says it has. @returns whether the file counts at this name */
  isFirst(layer: number, ref: Ref, nlink: number): boolean {
    if (nlink < 2 || this.#count >= MOST_FILES) return true
    const refs = this.#met.get(layer) ?? new InodeSet()
    this.#met.set(layer, refs)
    const isNew = refs.add(ref)
    if (isNew) this.#count += 1
    return isNew
  }
}
