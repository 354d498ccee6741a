import { viewOf } from '../../src/base/index.ts'
import type { MetadataBlock } from './metadata-cache.ts'
import type { MetadataTable } from './metadata-table.ts'

/** Longest record that is taken in one piece, bytes: a name in a directory has 256. */
export const TAKE_MAX = 512

/**
 * Reads records one after the other, across block boundaries. `take` makes a record contiguous and tells where
 * it lies in `view` and `bytes`, which are valid until the next call: no copy unless it crosses a boundary.
 */
export class MetadataCursor {
  readonly table: MetadataTable
  view: DataView
  bytes: Buffer
  #block: MetadataBlock
  #offset: number
  #markedBlock: MetadataBlock
  #markedOffset: number
  #scratch: Buffer | undefined
  #scratchView: DataView | undefined

  /**
   * @param position position of a block in the image
   * @param offset in the decoded block; at or past its end it is EIO
   */
  constructor(table: MetadataTable, position: number, offset: number) {
    this.table = table
    this.#block = this.#open(position, offset)
    this.#offset = offset
    this.#markedBlock = this.#block
    this.#markedOffset = offset
    this.view = this.#block.view
    this.bytes = this.#block.bytes
  }

  /** Remembers where the cursor stands, for `back`. */
  mark(): void {
    this.#markedBlock = this.#block
    this.#markedOffset = this.#offset
  }

  /** Goes back to the last `mark`, after a record that was not read to its end. */
  back(): void {
    this.#block = this.#markedBlock
    this.#offset = this.#markedOffset
  }

  /** Where the next byte lies; where a block is used up, that is the start of its successor. */
  get blockPosition(): number {
    return this.#offset === this.#block.length ? this.#block.next : this.#block.position
  }

  get offset(): number {
    return this.#offset === this.#block.length ? 0 : this.#offset
  }

  seek(position: number, offset: number): void {
    this.#block = this.#open(position, offset)
    this.#offset = offset
  }

  /**
   * @param length at most TAKE_MAX, where `recordsAhead` did not tell that more lies in one piece. The caller has bounded
   *   what an image says
   * @returns index of the record's first byte in `view` and `bytes`
   */
  take(length: number): number {
    const at = this.#offset
    const block = this.#block
    if (at + length <= block.length) {
      this.#offset = at + length
      this.view = block.view
      this.bytes = block.bytes
      return at
    }
    if (at === block.length) {
      this.#advance()
      if (length <= this.#block.length) return this.take(length)
    }
    return this.#takeAcross(length)
  }

  /**
   * How many records of `size` bytes lie in one piece from here, at most `limit`, and makes `view` and `bytes` those of
   * that piece: 0 where the next one crosses a block boundary. The cursor stays; the first record is at `offset`.
   */
  recordsAhead(size: number, limit: number): number {
    const block = this.#block
    this.view = block.view
    this.bytes = block.bytes
    return Math.min(limit, Math.floor((block.length - this.#offset) / size))
  }

  /** True where `bytes` is a copy that a later call overwrites, not the block itself. */
  get isCopy(): boolean {
    return this.bytes === this.#scratch
  }

  skip(length: number): void {
    let left = length
    while (left > this.#block.length - this.#offset) {
      left -= this.#block.length - this.#offset
      this.#advance()
    }
    this.#offset += left
  }

  /** A copy of the next `length` bytes. The caller has bounded `length`. */
  copy(length: number): Uint8Array {
    const target = new Uint8Array(length)
    this.#copyInto(target)
    return target
  }

  #open(position: number, offset: number): MetadataBlock {
    const block = this.table.block(position)
    if (offset >= block.length) {
      throw this.table.damage(
        position,
        `offset ${offset} in the block at ${position}, which decodes to ${block.length} bytes`,
      )
    }
    return block
  }

  #takeAcross(length: number): number {
    if (length > TAKE_MAX) throw new Error(`bug: ${length} bytes in one piece, at most ${TAKE_MAX}`)
    if (this.#scratch === undefined) {
      this.#scratch = Buffer.from(new ArrayBuffer(TAKE_MAX))
      this.#scratchView = viewOf(this.#scratch)
    }
    const scratch = this.#scratch
    this.#copyInto(scratch.subarray(0, length))
    this.bytes = scratch
    this.view = this.#scratchView ?? viewOf(scratch)
    return 0
  }

  #copyInto(target: Uint8Array): void {
    let done = 0
    while (done < target.length) {
      if (this.#offset === this.#block.length) this.#advance()
      const count = Math.min(target.length - done, this.#block.length - this.#offset)
      target.set(this.#block.bytes.subarray(this.#offset, this.#offset + count), done)
      this.#offset += count
      done += count
    }
  }

  #advance(): void {
    if (this.#block.next >= this.table.end) {
      const { end } = this.table
      throw this.table.damage(end, `a record runs past the end of the table at ${end}`)
    }
    this.#block = this.table.block(this.#block.next)
    this.#offset = 0
  }
}
