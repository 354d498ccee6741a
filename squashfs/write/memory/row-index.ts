/** At most so full: look-ups then take two steps on average. */
const FILL_MAX = 0.6

/**
 * Finds rows of a table by what they hold: open addressing, four bytes a slot, some seven for each row. The table keeps what
 * its rows hold; here are only their numbers.
 */
export class RowIndex {
  readonly #hashOf: (row: number) => number
  /** Rows plus one; 0 is an empty slot. */
  #slots: Uint32Array
  #count = 0

  /**
   * @param hashOf 32 bits of what a row holds
   * @param slots a power of two
   */
  constructor(hashOf: (row: number) => number, slots = 1024) {
    this.#hashOf = hashOf
    this.#slots = new Uint32Array(slots)
  }

  /** @param isWanted compares what a row holds, whose hash may be another one */
  find(hash: number, isWanted: (row: number) => boolean): number | undefined {
    const mask = this.#slots.length - 1
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const row = (this.#slots[at] ?? 0) - 1
      if (row < 0) return undefined
      if (isWanted(row)) return row
    }
  }

  /** Adds a row that is not there yet. */
  add(hash: number, row: number): void {
    if (++this.#count > this.#slots.length * FILL_MAX) this.#grow()
    this.#place(hash, row)
  }

  #place(hash: number, row: number): void {
    const mask = this.#slots.length - 1
    let at = hash & mask
    while (this.#slots[at] !== 0) at = (at + 1) & mask
    this.#slots[at] = row + 1
  }

  #grow(): void {
    const before = this.#slots
    this.#slots = new Uint32Array(before.length * 2)
    for (const slot of before) if (slot > 0) this.#place(this.#hashOf(slot - 1), slot - 1)
  }
}
