import { DATA_UNCOMPRESSED } from '../block-list.ts'

/** Where an image goes. */
export interface ImageOutput {
  /** Bytes written so far. */
  readonly position: number
  /** @throws FsError ENOSPC, EIO */
  write(bytes: Uint8Array): void
  /** Notes the position, to go back to it. */
  mark(): OutputMark
  /** Goes back: what is written next replaces what stood from there on. */
  rewind(mark: OutputMark): void
}

export interface OutputMark {
  readonly position: number
}

/** Compresses blocks, several at once. */
export interface BlockCompressor {
  /** @returns the compressed block; undefined if it does not get smaller. `block` may be taken away meanwhile */
  compress(block: Uint8Array): Promise<Uint8Array | undefined>
  /** Blocks that may be under way before the caller waits. */
  readonly depth: number
}

/** Called when a block has got its place. @param stored bytes, with the bit of a block that is not compressed */
export type Placed = (position: number, stored: number) => void

/** Blocks on their way to the image: compressed in parallel, written in the order in which they came. */
export class BlockQueue {
  readonly #output: ImageOutput
  readonly #compressor: BlockCompressor
  #tail: Promise<void> = Promise.resolve()
  #waiting = 0
  #wake: (() => void) | undefined
  #error: unknown

  constructor(output: ImageOutput, compressor: BlockCompressor) {
    this.#output = output
    this.#compressor = compressor
  }

  get output(): ImageOutput {
    return this.#output
  }

  /**
   * Takes a block, which is the queue's from now on. Waits while too many are under way.
   * @throws FsError of an earlier block
   */
  async add(block: Uint8Array, placed: Placed, isCompressed = true): Promise<void> {
    while (this.#waiting >= this.#compressor.depth) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#rethrow()
    this.#waiting += 1
    const raw = block
    const packed = isCompressed ? this.#compressor.compress(block) : Promise.resolve(undefined)
    // Each waits for the one before it; a failure is kept for the next caller.
    this.#tail = this.#tail.then(async () => {
      try {
        const bytes = await packed
        if (this.#error !== undefined) return
        const position = this.#output.position
        this.#output.write(bytes ?? raw)
        placed(position, bytes === undefined ? raw.length | DATA_UNCOMPRESSED : bytes.length)
      } catch (error) {
        this.#error ??= error
      } finally {
        this.#waiting -= 1
        this.#wake?.()
        this.#wake = undefined
      }
    })
  }

  /** Waits until all blocks have got their places. @throws FsError of one that could not */
  async drain(): Promise<void> {
    await this.#tail
    this.#rethrow()
  }

  #rethrow(): void {
    if (this.#error !== undefined) throw this.#error
  }
}
