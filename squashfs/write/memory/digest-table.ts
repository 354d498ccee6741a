import { Column } from './column.ts'
import { RowIndex } from './row-index.ts'

/** The first 16 bytes of a SHA-256 are enough: 2^64 files would have to be tried for two that agree by chance. */
const WORDS = 4

/** Contents that were met, by digest, with a number for each: some 27 bytes an entry. */
export class DigestTable {
  readonly #words = new Column(Uint32Array)
  readonly #values = new Column(Uint32Array)
  readonly #index = new RowIndex((row) => this.#words.get(row * WORDS))

  /** @returns the number of an equal content; undefined if there is none */
  get(digest: Buffer): number | undefined {
    const row = this.#index.find(digest.readUInt32LE(0), (one) => this.#holds(one, digest))
    return row === undefined ? undefined : this.#values.get(row)
  }

  /** @param digest is not in the table yet */
  add(digest: Buffer, value: number): void {
    const row = this.#values.push(value)
    for (let i = 0; i < WORDS; i++) this.#words.push(digest.readUInt32LE(i * 4))
    this.#index.add(digest.readUInt32LE(0), row)
  }

  #holds(row: number, digest: Buffer): boolean {
    let i = 0
    while (i < WORDS && this.#words.get(row * WORDS + i) === digest.readUInt32LE(i * 4)) i++
    return i === WORDS
  }
}
