import type { BlockQueue } from './block-queue.ts'
import { RecordBuffer } from './record.ts'

/** Packs the tail ends of files into blocks (squashfs: Fragment Table). */
export class FragmentWriter {
  readonly #queue: BlockQueue
  readonly #blockSize: number
  readonly #isCompressed: boolean
  #block: Buffer
  #used = 0
  readonly #places: { start: number; stored: number }[] = []

  constructor(queue: BlockQueue, blockSize: number, isCompressed: boolean) {
    this.#queue = queue
    this.#blockSize = blockSize
    this.#isCompressed = isCompressed
    this.#block = Buffer.allocUnsafeSlow(blockSize)
  }

  get count(): number {
    return this.#places.length
  }

  /** @param bytes fewer than a block */
  async add(bytes: Uint8Array): Promise<{ readonly fragment: number; readonly offset: number }> {
    if (this.#used + bytes.length > this.#blockSize) await this.flush()
    if (this.#used === 0) this.#places.push({ start: 0, stored: 0 })
    const offset = this.#used
    this.#block.set(bytes, offset)
    this.#used += bytes.length
    return { fragment: this.#places.length - 1, offset }
  }

  /** Gives the block under way to the image. */
  async flush(): Promise<void> {
    const place = this.#places.at(-1)
    if (this.#used === 0 || place === undefined) return
    const block = this.#block.subarray(0, this.#used)
    this.#block = Buffer.allocUnsafeSlow(this.#blockSize)
    this.#used = 0
    await this.#queue.add(
      block,
      (start, stored) => {
        place.start = start
        place.stored = stored
      },
      this.#isCompressed,
    )
  }

  /** The records of the fragment table, when all blocks have their places. */
  *records(): Generator<Uint8Array> {
    const record = new RecordBuffer()
    for (const { start, stored } of this.#places) yield record.clear().u64(start).u32(stored).u32(0).bytes
  }
}
