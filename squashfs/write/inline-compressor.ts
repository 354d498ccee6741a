import type { Encoder } from '../../src/codecs/encode/index.ts'
import type { BlockCompressor } from './block-queue.ts'

/** Compresses in this thread: for small images, and where there are no other threads. */
export class InlineCompressor implements BlockCompressor {
  readonly depth = 1
  readonly #encoder: Encoder
  readonly #room: Uint8Array

  constructor(encoder: Encoder, blockSize: number) {
    this.#encoder = encoder
    this.#room = new Uint8Array(blockSize)
  }

  compress(block: Uint8Array): Promise<Uint8Array | undefined> {
    const length = this.#encoder.encode(block, this.#room.subarray(0, block.length - 1))
    return Promise.resolve(length === 0 ? undefined : this.#room.slice(0, length))
  }
}
