import {
  type BlockReader,
  type BlockRef,
  type ByteSource,
  DamageError,
  messageOf,
} from '../src/base/index.ts'
import type { Codec } from '../src/codecs/index.ts'
import { UNCOMPRESSED } from './block-list.ts'

/** Room for one block as it is stored, shared by the readers of a thread: images may be many and blocks large. */
export class BlockScratch {
  #bytes = new Uint8Array(0)

  /** Room for `length` bytes, until the next call. @param capacity bytes to have at once where `length` of them are not there yet */
  take(length: number, capacity: number): Uint8Array {
    if (this.#bytes.length < length) this.#bytes = new Uint8Array(Math.max(length, capacity))
    return this.#bytes.subarray(0, length)
  }
}

/**
 * Decodes the data blocks of one image. It needs no tables, so a data worker can make one from the source and the
 * codec alone. For one thread.
 */
export class SquashfsBlockReader implements BlockReader {
  readonly #source: ByteSource
  readonly #codec: Codec
  readonly #scratch: BlockScratch

  constructor(source: ByteSource, codec: Codec, scratch = new BlockScratch()) {
    this.#source = source
    this.#codec = codec
    this.#scratch = scratch
  }

  /**
   * @param target at least `block.maxSize` bytes
   * @returns decoded length, 1..`block.maxSize`
   * @throws DamageError, or FsError EIO of the source; `target` is then undefined
   */
  readBlock(block: BlockRef, target: Uint8Array): number {
    const { position, storedSize, maxSize } = block
    if (storedSize < 1 || storedSize > maxSize || target.length < maxSize) {
      throw new DamageError(
        this.#source.label,
        position,
        `${this.#source.label}: data block at ${position}: stored size ${storedSize}, at most ${Math.min(maxSize, target.length)} bytes are allowed`,
      )
    }
    if ((block.kindBits & UNCOMPRESSED) !== 0) {
      this.#source.readInto(position, target.subarray(0, storedSize))
      return storedSize
    }
    const stored = this.#scratch.take(storedSize, maxSize)
    this.#source.readInto(position, stored)
    return this.#decode(stored, target.subarray(0, maxSize), position)
  }

  #decode(stored: Uint8Array, target: Uint8Array, position: number): number {
    let length: number
    try {
      length = this.#codec.decode(stored, target)
    } catch (error) {
      const reason = messageOf(error)
      throw new DamageError(
        this.#source.label,
        position,
        `${this.#source.label}: data block at ${position}: ${reason}`,
        {
          cause: error,
        },
      )
    }
    if (length < 1 || length > target.length) {
      throw new DamageError(
        this.#source.label,
        position,
        `${this.#source.label}: data block at ${position} decodes to ${length} bytes`,
      )
    }
    return length
  }
}
