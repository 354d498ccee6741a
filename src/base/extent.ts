import { FsError } from './errno.ts'
import type { SourceId } from './id.ts'
import { LruCache } from './lru.ts'

/** Most bytes that a block of the cache may decode to, whatever the kind of its image: the size of the largest slot. */
export const MAX_BLOCK_SIZE = 1 << 20

/**
 * One block of file data as it lies in an image: everything that a data worker needs to produce the bytes,
 * and nothing of the file system. A block is the unit of decompression, of verification and of the cache.
 *
 * What an image stores as one block of more than `MAX_BLOCK_SIZE` bytes its kind describes in parts: blocks of the same
 * `position` and `storedSize`, each with its own `kindBits` and at most that size (see `BlockReader`).
 */
export interface BlockRef {
  readonly source: SourceId
  /** Byte position in the image. Together with `source` and `kindBits` it identifies the block. */
  readonly position: number
  /** Bytes on disk. */
  readonly storedSize: number
  /**
   * Up to 31 bits that only the kind of the image understands: whether the block is compressed, how, which part of a
   * larger block this is. Blocks that differ in them are different blocks. Below 16 they cost the cache least.
   */
  readonly kindBits: number
  /** Most bytes it may decode to: at most the block size of the image, and `MAX_BLOCK_SIZE`. */
  readonly maxSize: number
}

/**
 * Receives the pieces of a byte range of a file, in file order, without gaps, none of them empty. The data of
 * a file is described, not read: who reads (the dispatcher or a worker) is not the layer's decision.
 */
export interface ExtentSink {
  /** `length` zero bytes. */
  hole(length: number): void
  /**
   * `length` bytes of the decoded block, from `from`. The decoder of the block must check that it decodes to at
   * least `from + length` bytes and answer `EIO` if not.
   */
  block(block: BlockRef, from: number, length: number): void
  /** `length` bytes of a host file that stays open while the node lives. */
  file(fd: number, position: number, length: number): void
}

/** Decodes blocks. One instance per thread; `source` in the BlockRef selects the image. */
export interface BlockStore {
  /**
   * Reads, verifies where a root hash exists, and decodes one block.
   * @param target at least `block.maxSize` bytes; may lie in shared memory.
   * @returns decoded length in bytes, at most `block.maxSize`.
   * @throws FsError EIO on damage; the content of `target` is then undefined.
   */
  readBlock(block: BlockRef, target: Uint8Array): number
  /** Whether `readBlock` would not have to wait for a disk; a thread that must not wait asks. Absent: not known. */
  isAtHand?(block: BlockRef): boolean
  /** A block will be read soon, by whichever thread: begins to fetch it, and does not wait. Absent: nothing to be done. */
  expect?(block: BlockRef): void
  /** Begins to read what will be asked for soon, without waiting for it. @param length bytes of the image, from `position` */
  willNeed?(source: SourceId, position: number, length: number): void
  /**
   * Reads bytes of an image as they lie in its file, unverified: for a thread that reads and verifies them again in memory.
   * Begins to read what lies around them.
   * @throws FsError EIO
   */
  readRaw?(source: SourceId, position: number, target: Uint8Array): void
  /** Closes the sources of this thread (`ByteSource.close`). Nothing is read any more. Absent: nothing is held. */
  close?(): void
}

/** Two blocks with the same key are the same block. */
function keyOf({ source, position, storedSize, kindBits }: BlockRef): string {
  return `${source}:${position}:${storedSize}:${kindBits}`
}

/** A fragment or block that decodes to less than a file claims of it: squashfs-tools#398. @param needed bytes of it */
export function shortBlock({ position, source }: BlockRef, needed: number, decoded: number): FsError {
  return new FsError(
    'EIO',
    `data block at byte ${position} of source ${source}: a file needs ${needed} bytes of it, it decodes to ${decoded}`,
  )
}

/** Fills `target` from an open host file. @returns bytes read, fewer than it has only where the file ends */
export type HostFileReader = (fd: number, position: number, target: Uint8Array) => number

export interface ExtentReaderOptions {
  /** Bytes of decoded blocks to keep: small files that are read one after the other share their fragments. */
  readonly cacheSize: number
  /** A host file that ends early ends the answer, as read(2) does, instead of being damage: writable mounts. */
  readonly shortReads?: boolean
}

/** Reads on the calling thread what `ExtentSink` only describes, through a small cache of decoded blocks. */
export class ExtentReader {
  readonly #store: BlockStore
  readonly #readHostFile: HostFileReader
  readonly #blocks: LruCache<string, Uint8Array>
  readonly #shortReads: boolean

  constructor(store: BlockStore, readHostFile: HostFileReader, options: ExtentReaderOptions) {
    this.#store = store
    this.#readHostFile = readHostFile
    this.#blocks = new LruCache(options.cacheSize)
    this.#shortReads = options.shortReads ?? false
  }

  /**
   * @param describe gives the pieces to the sink
   * @param claim gives room for the next piece
   * @returns bytes read: up to where the first host file ended early, which is damage without `shortReads`
   * @throws FsError EIO; room that was claimed then has undefined bytes
   */
  read(describe: (sink: ExtentSink) => void, claim: (length: number) => Uint8Array): number {
    let claimed = 0
    let end: number | undefined
    describe({
      hole: (length) => {
        claimed += length
        claim(length).fill(0)
      },
      block: (block, from, length) => {
        const bytes = this.#block(block)
        if (from + length > bytes.length) throw shortBlock(block, from + length, bytes.length)
        claimed += length
        claim(length).set(bytes.subarray(from, from + length))
      },
      file: (fd, position, length) => {
        const count = this.#readHostFile(fd, position, claim(length))
        if (count !== length) {
          if (!this.#shortReads) throw shortFile(fd, position, length, count)
          end ??= claimed + count
        }
        claimed += length
      },
    })
    return end ?? claimed
  }

  /** Whether the block would not have to come from a disk. */
  isAtHand(block: BlockRef): boolean {
    return this.#blocks.has(keyOf(block)) || this.#store.isAtHand?.(block) !== false
  }

  #block(block: BlockRef): Uint8Array {
    const key = keyOf(block)
    const cached = this.#blocks.get(key)
    if (cached !== undefined) return cached
    const target = new Uint8Array(block.maxSize)
    const length = this.#store.readBlock(block, target)
    // A short block in memory of its own size: the cache counts no more than that.
    const bytes = length === target.length ? target : target.slice(0, length)
    this.#blocks.set(key, bytes, bytes.length)
    return bytes
  }
}

function shortFile(fd: number, position: number, expected: number, found: number): FsError {
  return new FsError(
    'EIO',
    `descriptor ${fd}: file ends at ${position + found}, expected ${expected - found} more bytes`,
  )
}
