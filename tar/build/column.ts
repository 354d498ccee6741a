type Numbers = Float64Array | Uint32Array | Int32Array | Uint16Array | Uint8Array

/** Numbers of one sort, by row: the memory of many objects without the objects. */
export class Column {
  readonly #make: (length: number) => Numbers
  #values: Numbers
  #length = 0

  constructor(make: (length: number) => Numbers) {
    this.#make = make
    this.#values = make(1024)
  }

  get length(): number {
    return this.#length
  }

  /** @returns the row */
  push(value: number): number {
    const row = this.#length
    if (row === this.#values.length) {
      const larger = this.#make(row * 2)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[row] = value
    this.#length = row + 1
    return row
  }

  at(row: number): number {
    return this.#values[row] ?? 0
  }

  set(row: number, value: number): void {
    this.#values[row] = value
  }
}

export const wholeNumbers = (): Column => new Column((length) => new Float64Array(length))
export const rowNumbers = (): Column => new Column((length) => new Uint32Array(length))
export const smallNumbers = (): Column => new Column((length) => new Uint16Array(length))
