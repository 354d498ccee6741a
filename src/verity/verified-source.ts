import { type ByteSource, DamageError } from '../base/index.ts'
import { describeFailure, type VerityCounters, type VerityFailure } from './failure.ts'
import { HashTree } from './hash-tree.ts'
import type { VerityTable } from './table.ts'

/** The bytes that are read and the hash tree that they are compared with. */
export interface VerifiedSourceOptions {
  /** The image as it lies on disk. */
  readonly source: ByteSource
  /** Where the hash tree is, if not behind the data in the same file. */
  readonly hashSource?: ByteSource
  readonly table: VerityTable
  /** Most bytes of verified hash blocks to keep. */
  readonly cacheBytes?: number
  /** Where to count; by default in the object itself. */
  readonly counters?: VerityCounters
  /** Called at every mismatch, before `readInto` throws. Reading a damaged block again calls it again. */
  readonly onFailure?: (failure: VerityFailure) => void
}

/**
 * The covered bytes of an image, each verified every time it is read. Blocks are hashed in the memory that is
 * handed out, after the read: a file that changes between two reads, or while it is read, yields verified
 * bytes or EIO. One instance per thread; make the others from the same `table`.
 */
export class VerifiedSource implements ByteSource {
  /** Data blocks times their size: never more than the tree covers. */
  readonly size: number
  readonly label: string
  readonly table: VerityTable
  readonly #source: ByteSource
  readonly #hashSource: ByteSource
  readonly #tree: HashTree
  readonly #onFailure: ((failure: VerityFailure) => void) | undefined
  /** Private memory for a block of which only a part is wanted. */
  readonly #block: Uint8Array

  /** @throws FsError EIO, EINVAL for a table outside the format. Nothing is read: see `openVerity`. */
  constructor(options: VerifiedSourceOptions) {
    const { source, hashSource = source, table, cacheBytes, counters, onFailure } = options
    this.label = source.label
    this.table = table
    this.#source = source
    this.#hashSource = hashSource
    this.#tree = new HashTree(hashSource, table, source.label, cacheBytes, counters)
    this.size = this.#tree.geometry.coveredBytes
    this.#onFailure = onFailure
    this.#block = new Uint8Array(table.dataBlockSize)
  }

  /** Since this instance was made. */
  get counters(): Readonly<VerityCounters> {
    return this.#tree.counters
  }

  /** Bytes of verified hash blocks held. */
  get cachedBytes(): number {
    return this.#tree.cachedBytes
  }

  /**
   * @throws DamageError outside the covered range and when a block does not verify, FsError EIO when the disk fails;
   *   `target` is then zeroed as far as unverified bytes were in it.
   */
  readInto(position: number, target: Uint8Array): void {
    const length = target.byteLength
    if (!Number.isSafeInteger(position) || position < 0 || position > this.size - length) {
      throw this.#outside(position, length)
    }
    const blockSize = this.table.dataBlockSize
    let done = 0
    while (done < length) {
      const at = position + done
      const skip = at % blockSize
      const left = length - done
      if (skip === 0 && left >= blockSize) {
        const whole = left - (left % blockSize)
        this.#readWhole(at, target.subarray(done, done + whole))
        done += whole
      } else {
        const part = Math.min(blockSize - skip, left)
        this.#readWhole(at - skip, this.#block)
        target.set(this.#block.subarray(skip, skip + part), done)
        done += part
      }
    }
  }

  isAtHand(position: number, length: number): boolean {
    const { first, count } = this.#blocksOf(position, length)
    const blockSize = this.table.dataBlockSize
    const data = this.#source.isAtHand?.(first * blockSize, count * blockSize)
    return data !== false && this.#tree.isAtHand(first, count)
  }

  willNeed(position: number, length: number): void {
    const { first, count } = this.#blocksOf(position, length)
    const blockSize = this.table.dataBlockSize
    if (count === 0) return
    this.#source.willNeed?.(first * blockSize, count * blockSize)
    this.#tree.willNeed(first, count)
  }

  close(): void {
    this.#source.close?.()
    this.#hashSource.close?.()
  }

  /**
   * Compares the top of the tree with the root hash, so that a wrong root hash or a forged superblock fails
   * before anything else is read.
   * @throws FsError EIO
   */
  verifyRoot(): void {
    let failure: VerityFailure | undefined
    if (this.#tree.geometry.levels.length > 0) {
      failure = this.#tree.checkRoot()
    } else {
      this.#source.readInto(0, this.#block)
      failure = this.#tree.checkData(0, this.#block)
    }
    if (failure === undefined) return
    this.#onFailure?.(failure)
    throw new DamageError(
      this.label,
      failure.position,
      `layer ${this.label}: root hash does not match: expected ${failure.expected} got ${failure.actual} ` +
        `(wrong root hash, or damaged verity superblock or top of the hash tree at byte ${failure.position})`,
    )
  }

  /** The data blocks that a range touches, as far as the tree covers them. */
  #blocksOf(position: number, length: number): { readonly first: number; readonly count: number } {
    const blockSize = this.table.dataBlockSize
    const first = Math.floor(position / blockSize)
    const end = Math.ceil(Math.min(position + length, this.size) / blockSize)
    return { first, count: Math.max(0, end - first) }
  }

  /** Reads and verifies whole blocks in place. `position` and the length of `bytes` are multiples of a block. */
  #readWhole(position: number, bytes: Uint8Array): void {
    const blockSize = this.table.dataBlockSize
    this.#source.readInto(position, bytes)
    let failure: VerityFailure | undefined
    try {
      const first = position / blockSize
      for (let at = 0; at < bytes.byteLength && failure === undefined; at += blockSize) {
        failure = this.#tree.checkData(first + at / blockSize, bytes.subarray(at, at + blockSize))
      }
    } catch (error) {
      bytes.fill(0)
      throw error
    }
    if (failure === undefined) return
    bytes.fill(0)
    this.#onFailure?.(failure)
    throw new DamageError(this.label, failure.position, describeFailure(failure))
  }

  #outside(position: number, length: number): DamageError {
    const { dataBlocks, dataBlockSize } = this.table
    return new DamageError(
      this.label,
      position,
      `layer ${this.label}: ${length} bytes at ${position} are outside the ${this.size} bytes that the hash tree ` +
        `covers (${dataBlocks} blocks of ${dataBlockSize}); ${tailHint(dataBlockSize)}`,
    )
  }
}

/**
 * Builders with pages larger than 4 KiB count the data in whole pages, rounded down, while the tree is placed
 * at a multiple of 4 KiB: up to a page less 4 KiB at the end of the image, its tables, is then uncovered.
 */
export function tailHint(dataBlockSize: number): string {
  return dataBlockSize > 4096
    ? `an image built on a machine with ${dataBlockSize / 1024} KiB pages may leave its end uncovered: rebuild it with 4096-byte verity blocks`
    : 'such bytes cannot be verified and are not served'
}
