import { Column } from './column.ts'

/** The first 16 bytes of a SHA-256 are enough: 2^64 files would have to be tried for two that agree by chance. */
const WORDS = 4
const HASH_FILL = 0.6

/** Contents that were met, by digest, with a number for each: 24 bytes an entry. */
export class DigestTable {
  readonly #words = new Column(Uint32Array)
  readonly #values = new Column(Uint32Array)
  #table = new Uint32Array(1024)

  /** @returns the number of an equal content; undefined if there is none */
  get(digest: Buffer): number | undefined {
    const row = this.#find(digest)
    return row === undefined ? undefined : this.#values.get(row)
  }

  /** @param digest is not in the table yet */
  add(digest: Buffer, value: number): void {
    const row = this.#values.push(value)
    for (let i = 0; i < WORDS; i++) this.#words.push(digest.readUInt32LE(i * 4))
    if (row + 1 > this.#table.length * HASH_FILL) this.#rehash()
    else this.#place(row)
  }

  #find(digest: Buffer): number | undefined {
    const mask = this.#table.length - 1
    for (let at = digest.readUInt32LE(0) & mask; ; at = (at + 1) & mask) {
      const row = (this.#table[at] ?? 0) - 1
      if (row < 0) return undefined
      let i = 0
      while (i < WORDS && this.#words.get(row * WORDS + i) === digest.readUInt32LE(i * 4)) i++
      if (i === WORDS) return row
    }
  }

  #place(row: number): void {
    const mask = this.#table.length - 1
    let at = this.#words.get(row * WORDS) & mask
    while (this.#table[at] !== 0) at = (at + 1) & mask
    this.#table[at] = row + 1
  }

  #rehash(): void {
    this.#table = new Uint32Array(this.#table.length * 2)
    for (let row = 0; row < this.#values.length; row++) this.#place(row)
  }
}
