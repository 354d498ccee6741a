import { type BlockRef, type BlockStore, type ByteSource, FsError } from '../src/base/index.ts'
import type { Codec } from './codecs/index.ts'

/**
 * Decodes the data blocks of one image. It needs no tables, so a data worker can make one from the source and the
 * codec alone. It keeps a scratch buffer and is for one thread.
 */
export class SquashfsBlockReader implements BlockStore {
  readonly #source: ByteSource
  readonly #codec: Codec
  #scratch = new Uint8Array(0)

  constructor(source: ByteSource, codec: Codec) {
    this.#source = source
    this.#codec = codec
  }

  /**
   * @param target at least `block.maxSize` bytes
   * @returns decoded length, 1..`block.maxSize`
   * @throws FsError EIO on damage; `target` is then undefined
   */
  readBlock(block: BlockRef, target: Uint8Array): number {
    const { position, storedSize, maxSize } = block
    if (storedSize < 1 || storedSize > maxSize || target.length < maxSize) {
      throw new FsError(
        'EIO',
        `${this.#source.label}: data block at ${position}: stored size ${storedSize}, at most ${Math.min(maxSize, target.length)} bytes are allowed`,
      )
    }
    if (!block.compressed) {
      this.#source.readInto(position, target.subarray(0, storedSize))
      return storedSize
    }
    if (this.#scratch.length < storedSize) this.#scratch = new Uint8Array(maxSize)
    const stored = this.#scratch.subarray(0, storedSize)
    this.#source.readInto(position, stored)
    return this.#decode(stored, target.subarray(0, maxSize), position)
  }

  #decode(stored: Uint8Array, target: Uint8Array, position: number): number {
    let length: number
    try {
      length = this.#codec.decode(stored, target)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new FsError('EIO', `${this.#source.label}: data block at ${position}: ${reason}`, {
        cause: error,
      })
    }
    if (length < 1 || length > target.length) {
      throw new FsError('EIO', `${this.#source.label}: data block at ${position} decodes to ${length} bytes`)
    }
    return length
  }
}
