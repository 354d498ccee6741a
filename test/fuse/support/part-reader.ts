import { type BlockRef, type ExtentSink, FsError, MAX_BLOCK_SIZE } from '../../../src/base/index.ts'

/** A block of 16 MiB that an image stores as one stream, as a kind would describe it and read it: in 16 parts. */

export const LARGE_BLOCK = 16 << 20
const PARTS = LARGE_BLOCK / MAX_BLOCK_SIZE
/** Bytes of the stream that are decoded at a time. */
const STEP = 64 << 10

/** What a large block decodes to: its position and the place in it decide. */
export function largeByte(position: number, at: number): number {
  return (position * 31 + at * 7 + (at >> 16) * 13) & 0xff
}

/** Bytes [offset, offset + length) of a file made of large blocks that lie `LARGE_BLOCK` apart. */
export function describeLarge(offset: number, length: number, sink: ExtentSink): void {
  for (let at = offset; at < offset + length; ) {
    const index = Math.floor(at / LARGE_BLOCK)
    const part = Math.floor((at % LARGE_BLOCK) / MAX_BLOCK_SIZE)
    const from = at % MAX_BLOCK_SIZE
    const piece = Math.min(MAX_BLOCK_SIZE - from, offset + length - at)
    const stored = { source: 0, position: 1000 + index, storedSize: 5000 }
    sink.block({ ...stored, kindBits: part, maxSize: MAX_BLOCK_SIZE }, from, piece)
    at += piece
  }
}

/** Decodes parts for one thread and keeps the stream of the last block open. Counts the streams that were begun. */
export class PartReader {
  decodes = 0
  /** Bytes that were decoded, also those of parts that were passed over. */
  decoded = 0
  #position = -1
  #nextPart = 0

  readBlock({ position, kindBits: part, maxSize }: BlockRef, target: Uint8Array): number {
    if (part >= PARTS) throw new FsError('EIO', `part ${part} of ${PARTS}`)
    if (position !== this.#position || part < this.#nextPart) {
      this.#position = position
      this.#nextPart = 0
      this.decodes += 1
    }
    // Parts before this one are decoded into the same memory and dropped.
    for (; this.#nextPart <= part; this.#nextPart++) this.#decode(position, this.#nextPart, target)
    return maxSize
  }

  #decode(position: number, part: number, target: Uint8Array): void {
    for (let at = 0; at < MAX_BLOCK_SIZE; at += STEP) {
      for (let i = at; i < at + STEP; i++) target[i] = largeByte(position, part * MAX_BLOCK_SIZE + i)
    }
    this.decoded += MAX_BLOCK_SIZE
  }
}
