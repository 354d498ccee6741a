import { type BlockReader, type BlockRef, type ByteSource, DamageError } from '../../src/base/index.ts'
import type { ArchiveStream } from './archive-stream.ts'

/** Reads the blocks of one layer: parts of its archive, by their place in it. */
export class TarBlockReader implements BlockReader {
  readonly #blob: ByteSource
  readonly #stream: ArchiveStream | undefined

  /** @param stream absent where the blob is the archive */
  constructor(blob: ByteSource, stream: ArchiveStream | undefined) {
    this.#blob = blob
    this.#stream = stream
  }

  /** @throws FsError EIO */
  readBlock({ position, maxSize }: BlockRef, target: Uint8Array): number {
    if (maxSize < 1 || target.length < maxSize) {
      throw new DamageError(this.#blob.label, position, `${this.#blob.label}: a block of ${maxSize} bytes`)
    }
    const wanted = target.subarray(0, maxSize)
    if (this.#stream === undefined) this.#blob.readInto(position, wanted)
    else this.#stream.read(position, wanted)
    return maxSize
  }

  isAtHand({ position, maxSize }: BlockRef): boolean {
    if (this.#stream !== undefined) return this.#stream.isAtHand(position)
    return this.#blob.isAtHand?.(position, maxSize) !== false
  }
}
