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
  /** Index of the image among the sources of the mount; chosen by the molecule when it opens the layers. */
  readonly source: number
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
  /** Begins to read what will be asked for soon, without waiting for it. @param length bytes of the image, from `position` */
  willNeed?(source: number, position: number, length: number): void
  /**
   * Reads bytes of an image as they lie in its file, unverified: for a thread that reads and verifies them again in memory.
   * @throws FsError EIO
   */
  readRaw?(source: number, position: number, target: Uint8Array): void
}
