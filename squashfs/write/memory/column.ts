type Numbers = Uint8Array | Uint16Array | Uint32Array | Float64Array

/** A list of numbers of one kind that grows by half, so that a million entries cost what their numbers need. */
export class Column<T extends Numbers> {
  readonly #kind: new (
    length: number,
  ) => T
  #values: T
  #length = 0

  constructor(kind: new (length: number) => T, capacity = 1024) {
    this.#kind = kind
    this.#values = new kind(capacity)
  }

  get length(): number {
    return this.#length
  }

  get(index: number): number {
    return this.#values[index] ?? 0
  }

  set(index: number, value: number): void {
    this.#values[index] = value
  }

  /** @returns the index of the new value */
  push(value: number): number {
    this.#reserve(1)
    this.#values[this.#length] = value
    return this.#length++
  }

  /** Adds the values of another list. @returns the index of the first */
  append(values: ArrayLike<number>): number {
    this.#reserve(values.length)
    const start = this.#length
    this.#values.set(values, start)
    this.#length += values.length
    return start
  }

  /** Takes the values from an index on away. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length)
  }

  /** Valid until the list grows. */
  slice(start: number, end: number): T {
    return this.#values.subarray(start, end) as T
  }

  #reserve(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#values.length) return
    const larger = new this.#kind(Math.max(needed, Math.ceil(this.#values.length * 1.5)))
    larger.set(this.#values)
    this.#values = larger
  }
}
