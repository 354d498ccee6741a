import { Column } from './memory/column.ts'
import { NONE } from './tree.ts'

/** Where the data of one file are. */
export interface FileData {
  /** Position of the first block in the image; 0 if there is none. */
  readonly start: number
  /** Index in the fragment table, or NONE. */
  readonly fragment: number
  readonly fragmentOffset: number
  /** Bytes of blocks that are holes. */
  readonly sparse: number
  /** As stored: bytes and a bit for "not compressed"; 0 is a hole. Valid until the table grows. */
  readonly blocks: Uint32Array
}

/** What `DataWriter` has stored, one row for each different content. */
export class DataTable {
  readonly #start = new Column(Float64Array)
  readonly #fragment = new Column(Uint32Array)
  readonly #fragmentOffset = new Column(Uint32Array)
  readonly #sparse = new Column(Float64Array)
  readonly #firstBlock = new Column(Float64Array)
  readonly #blockCount = new Column(Uint32Array)
  readonly #blocks = new Column(Uint32Array)

  /** Begins a row, which is the only one that gets blocks until the next begins. @returns the row */
  add(): number {
    this.#start.push(0)
    this.#fragment.push(NONE)
    this.#fragmentOffset.push(0)
    this.#sparse.push(0)
    this.#firstBlock.push(this.#blocks.length)
    return this.#blockCount.push(0)
  }

  /** Adds a block, which is a hole until `setBlock`. Not all at once: what is announced may never come. */
  addBlock(row: number): void {
    this.#blocks.push(0)
    this.#blockCount.set(row, this.#blockCount.get(row) + 1)
  }

  /** Blocks of all files. */
  get blocks(): number {
    return this.#blocks.length
  }

  /** Takes the blocks of the last row away again: nobody will ask for it. */
  drop(row: number): void {
    this.#blocks.truncate(this.#firstBlock.get(row))
    this.#blockCount.set(row, 0)
  }

  setStart(row: number, start: number): void {
    this.#start.set(row, start)
  }

  setFragment(row: number, fragment: number, offset: number): void {
    this.#fragment.set(row, fragment)
    this.#fragmentOffset.set(row, offset)
  }

  addHole(row: number, bytes: number): void {
    this.#sparse.set(row, this.#sparse.get(row) + bytes)
  }

  setBlock(row: number, index: number, stored: number): void {
    this.#blocks.set(this.#firstBlock.get(row) + index, stored)
  }

  /** A regular file that was never given data is empty. */
  describe(row: number): FileData {
    if (row === NONE)
      return { start: 0, fragment: NONE, fragmentOffset: 0, sparse: 0, blocks: new Uint32Array(0) }
    const first = this.#firstBlock.get(row)
    return {
      start: this.#start.get(row),
      fragment: this.#fragment.get(row),
      fragmentOffset: this.#fragmentOffset.get(row),
      sparse: this.#sparse.get(row),
      blocks: this.#blocks.slice(first, first + this.#blockCount.get(row)),
    }
  }
}
