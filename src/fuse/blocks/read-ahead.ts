import type { BlockRef, BlockStore, SourceId } from '../../base/index.ts'

/** Blocks so near to each other belong to one part of an image, bytes: files of a directory lie side by side. */
const NEAR = 512 << 10
/** Bytes to ask for behind such a block. */
const AHEAD = 512 << 10
/** The same while a file of the image is copied up. */
const AHEAD_OF_COPY = 8 << 20

/**
 * Asks the kernel for parts of images that will be read next. It sees no pattern by itself: several threads read, each
 * wants some tens of KiB, and where small files are read the next block lies somewhere near, and not behind the last one.
 * Each read would wait for the disk. One for each thread.
 */
export class ReadAhead {
  readonly #store: BlockStore
  #source: SourceId | undefined
  /** Of the block before. */
  #position = 0
  /** What lies between these has been asked for. */
  #from = 0
  #to = 0

  constructor(store: BlockStore) {
    this.#store = store
  }

  /** Before a block is read: asks for what follows, where the block before it was a neighbour. */
  note({ source, position, storedSize }: BlockRef): void {
    const isNear = source === this.#source && Math.abs(position - this.#position) <= NEAR
    this.#source = source
    this.#position = position
    const end = position + storedSize
    if (!isNear) this.#from = this.#to = end
    else if (position < this.#from || end > this.#to - AHEAD / 2) this.#ask(source, end, AHEAD)
  }

  /** Before the blocks of a piece are read that is copied up: asks for what follows the last of them. */
  noteCopy({ source, position, storedSize }: BlockRef): void {
    this.#source = source
    this.#position = position
    this.#ask(source, position + storedSize, AHEAD_OF_COPY)
    this.#from = 0
  }

  #ask(source: SourceId, from: number, length: number): void {
    this.#store.willNeed?.(source, from, length)
    this.#from = from
    this.#to = from + length
  }
}
