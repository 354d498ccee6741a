import { FsError } from '../../src/base/index.ts'
import { STORED_UNCOMPRESSED } from '../metadata/metadata-reader.ts'
import { METADATA_SIZE } from '../metadata/metadata-reference.ts'

const FIRST_ROOM = 64 << 10
/** Positions in a table have 32 bits (squashfs: Inode Table, Directory Table). */
const TABLE_MAX = 0xffff_ffff

/** Compresses bytes into `output`; 0 if they do not get smaller than its length. */
export type Compress = (input: Uint8Array, output: Uint8Array) => number

/** Where something begins in a table of metadata blocks. */
export interface MetadataPosition {
  /** Stored position of its block from the start of the table, bytes. */
  readonly block: number
  /** Offset in the decoded block. */
  readonly offset: number
}

/**
 * Builds a table of metadata blocks in memory: what is written runs on through blocks of 8 KiB, each compressed as soon as
 * it is full (squashfs: Packing Metadata). So the position of the next byte is known at any time.
 */
export class MetadataWriter {
  readonly #compress: Compress | undefined
  readonly #most: number
  readonly #block = new Uint8Array(METADATA_SIZE)
  readonly #packed = new Uint8Array(METADATA_SIZE)
  #used = 0
  #table = new Uint8Array(FIRST_ROOM)
  #length = 0
  #written = 0
  /** Where each block begins in the table. */
  readonly starts: number[] = []

  /**
   * @param compress absent: the blocks are stored as they are
   * @param most bytes of the table
   */
  constructor(compress?: Compress, most = TABLE_MAX) {
    this.#compress = compress
    this.#most = most
  }

  get position(): MetadataPosition {
    return { block: this.#length, offset: this.#used }
  }

  /** Decoded bytes so far. */
  get written(): number {
    return this.#written
  }

  /** @throws FsError EFBIG where positions in the table would have no room */
  write(bytes: Uint8Array): void {
    this.#written += bytes.length
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, METADATA_SIZE - this.#used)
      this.#block.set(bytes.subarray(at, at + count), this.#used)
      this.#used += count
      at += count
      // At once, so that `position` names the block that comes.
      if (this.#used === METADATA_SIZE) this.#flush()
    }
  }

  /** Ends the last block. @returns the table; valid until the next write. @throws FsError EFBIG */
  finish(): Uint8Array {
    this.#flush()
    return this.#table.subarray(0, this.#length)
  }

  #flush(): void {
    if (this.#used === 0) return
    const raw = this.#block.subarray(0, this.#used)
    const room = this.#packed.subarray(0, this.#used - 1)
    const size = room.length === 0 ? 0 : (this.#compress?.(raw, room) ?? 0)
    const stored = size === 0 ? raw : this.#packed.subarray(0, size)
    if (this.#length + 2 + stored.length > this.#most) {
      const most = `at most ${this.#most} bytes are possible`
      throw new FsError(
        'EFBIG',
        `the image has too many inodes, names or attributes for one of its tables: ${most}`,
      )
    }
    this.#reserve(2 + stored.length)
    this.starts.push(this.#length)
    const header = size === 0 ? STORED_UNCOMPRESSED | raw.length : size
    this.#table[this.#length] = header & 0xff
    this.#table[this.#length + 1] = header >>> 8
    this.#table.set(stored, this.#length + 2)
    this.#length += 2 + stored.length
    this.#used = 0
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#table.length) return
    const larger = new Uint8Array(Math.max(this.#length + count, this.#table.length * 2))
    larger.set(this.#table.subarray(0, this.#length))
    this.#table = larger
  }
}
