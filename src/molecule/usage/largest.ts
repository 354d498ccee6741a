/** Keeps the few largest of any number of things. */
export class Largest<T> {
  readonly #most: number
  /** Largest first. */
  readonly #kept: { readonly size: number; readonly thing: T }[] = []

  /** @param most how many to keep */
  constructor(most: number) {
    this.#most = most
  }

  /** @param make called only for what is kept for now. Things of size 0 are not kept; of equal ones the first are. */
  offer(size: number, make: () => T): void {
    const kept = this.#kept
    if (size === 0 || this.#most === 0) return
    if (kept.length === this.#most && size <= (kept.at(-1)?.size ?? 0)) return
    let low = 0
    let high = kept.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((kept[middle]?.size ?? 0) >= size) low = middle + 1
      else high = middle
    }
    kept.splice(low, 0, { size, thing: make() })
    if (kept.length > this.#most) kept.pop()
  }

  /** Largest first. */
  get things(): readonly T[] {
    return this.#kept.map(({ thing }) => thing)
  }
}
