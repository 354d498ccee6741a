import {
  type BlockReader,
  type BlockRef,
  FsError,
  type Layer,
  type Ref,
  shortBlock,
} from '../../base/index.ts'

/** Decodes the files of one image piece by piece. For one thread. */
export class FileContent {
  readonly #layer: Layer
  readonly #blocks: BlockReader
  readonly #step: number
  // The last block of which only a part was wanted: small files lie side by side in one.
  #kept = new Uint8Array(0)
  #keptRef: BlockRef | undefined
  #keptLength = 0

  /** @param step most bytes of one piece: the block size of the image */
  constructor(layer: Layer, blocks: BlockReader, step: number) {
    this.#layer = layer
    this.#blocks = blocks
    this.#step = step
  }

  /**
   * The bytes from `offset` to the end of its block, not past `end`, in memory that nobody else has.
   * @returns nothing at the end of the file
   * @throws FsError EIO
   */
  piece(ref: Ref, offset: number, end: number): Buffer {
    const length = Math.min(this.#step - (offset % this.#step), end - offset)
    const parts: Buffer[] = []
    this.#layer.extents(ref, offset, length, {
      hole: (bytes) => parts.push(Buffer.alloc(bytes)),
      block: (block, from, bytes) => parts.push(this.#part(block, from, bytes)),
      file: () => {
        throw new FsError('EIO', `${this.#layer.label}: a file of an image lies outside it`)
      },
    })
    const [first] = parts
    return parts.length === 1 && first !== undefined ? first : Buffer.concat(parts)
  }

  #part(block: BlockRef, from: number, length: number): Buffer {
    if (from === 0 && length === block.maxSize) {
      const bytes = Buffer.allocUnsafeSlow(block.maxSize)
      this.#assertLength(block, length, this.#blocks.readBlock(block, bytes))
      return bytes
    }
    this.#keep(block)
    this.#assertLength(block, from + length, this.#keptLength)
    return Buffer.from(this.#kept.subarray(from, from + length))
  }

  #keep(block: BlockRef): void {
    if (block.position === this.#keptRef?.position && block.kindBits === this.#keptRef.kindBits) return
    this.#keptRef = undefined
    if (this.#kept.length < block.maxSize) this.#kept = new Uint8Array(block.maxSize)
    this.#keptLength = this.#blocks.readBlock(block, this.#kept)
    this.#keptRef = block
  }

  #assertLength(block: BlockRef, needed: number, decoded: number): void {
    if (decoded >= needed) return
    throw new FsError('EIO', `${this.#layer.label}: ${shortBlock(block, needed, decoded).message}`)
  }
}
