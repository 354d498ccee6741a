import { DirectoryParents } from './directory-parents.ts'

/** A set of inode references in 8 to 22 bytes each, for those who walk a tree in which one inode may have many names. */
export class InodeSet {
  readonly #table = new DirectoryParents()

  get size(): number {
    return this.#table.size
  }

  /** @returns false where it was there before */
  add(ref: number): boolean {
    if (this.#table.has(ref)) return false
    return this.#table.claim(ref, 0, 0)
  }
}
