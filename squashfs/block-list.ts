import { FsError, Postponed } from '../src/base/index.ts'
import { type BlockIndex, BlockIndexes, type Checkpoint } from './block-index.ts'
import { blockCount, type Inode } from './metadata/inode.ts'
import { MetadataCursor } from './metadata/metadata-cursor.ts'
import type { MetadataTable } from './metadata/metadata-table.ts'

/** Bit 24 of a stored size: the block is not compressed. */
const UNCOMPRESSED_SHIFT = 24
/** The bit of a stored block that says that it is not compressed. */
export const DATA_UNCOMPRESSED = 2 ** UNCOMPRESSED_SHIFT
const STORED_SIZE_MASK = 2 ** UNCOMPRESSED_SHIFT - 1
/** No bit of a stored size is above those of its length and the one of DATA_UNCOMPRESSED. */
const STORED_SIZES = 2 ** (UNCOMPRESSED_SHIFT + 1)
/** The only one of `BlockRef.kindBits`. */
export const UNCOMPRESSED = 1
/** Steps of a walk, of up to a metadata block each, from one place where it may pause to the next. */
const PAUSE_STRIDE = 16
const ENTRY_SIZE = 4
/**
 * Decoded bytes of a block list, at most. 2^28 blocks: 1 TiB in the smallest blocks, 32 TiB in those of the default
 * size, twice the largest file of ext4. The holes of such a file take no room in the image, so a small one can claim
 * any size, and its list is walked in one go.
 */
export const BLOCK_LIST_MAX = 2 ** 30

/** Where a block of a file is. `storedSize` 0 is a hole. */
export interface DataBlock {
  /** Position in the image. */
  position: number
  storedSize: number
  kindBits: number
}

/** Remembers, for the files used lately, how to get into the middle of their block lists. Bounded. */
export class BlockIndexMemo {
  readonly #indexes = new BlockIndexes()
  // The walk of the latest read: a sequential reader goes on exactly there.
  #latest: BlockListWalk | undefined

  /** A walk that stands at `block` of the file. @throws FsError EIO */
  walkAt(
    table: MetadataTable,
    inode: Inode,
    block: number,
    blockSize: number,
    limits: DataLimits,
    pause: () => void,
  ): BlockListWalk {
    const latest = this.#latest
    // Dropped until the walk has succeeded: after an error it would stand in the middle of nowhere.
    this.#latest = undefined
    let walk = latest
    if (latest?.inode.ref !== inode.ref || !latest.usable || latest.block > block) {
      if (latest !== undefined) this.#indexes.keep(latest.inode.ref, latest.index)
      walk = new BlockListWalk(table, inode, blockSize, limits, this.#indexes.get(inode.ref), pause)
    }
    if (walk === undefined) throw new FsError('EIO', `${table.what}: no walk`)
    try {
      walk.skipTo(block)
    } catch (error) {
      // How far it came is worth keeping: the next one meets the damage at once, or goes on.
      this.#indexes.keep(inode.ref, walk.index)
      if (error instanceof Postponed) this.#latest = walk
      throw error
    }
    this.#latest = walk
    return walk
  }
}

/** Bytes of the image in which data may lie. */
export interface DataLimits {
  readonly start: number
  readonly end: number
}

/** Goes through the block list of one file, adding up positions (squashfs: File Inodes). */
export class BlockListWalk {
  readonly inode: Inode
  /** Number of the block that `next` will give. */
  block = 0
  readonly current: DataBlock = { position: 0, storedSize: 0, kindBits: 0 }
  readonly #table: MetadataTable
  readonly #count: number
  readonly #blockSize: number
  readonly #limits: DataLimits
  readonly index: BlockIndex
  readonly #pause: () => void
  /** False after damage, and while a step is under way. A `Postponed` leaves it where it was. */
  usable = true
  #holes = 0
  #position: number
  #cursor: MetadataCursor | undefined

  /** @throws FsError EIO where the list is longer than BLOCK_LIST_MAX */
  constructor(
    table: MetadataTable,
    inode: Inode,
    blockSize: number,
    limits: DataLimits,
    index: BlockIndex,
    pause: () => void,
  ) {
    this.#table = table
    this.inode = inode
    this.#blockSize = blockSize
    this.#count = blockCount(inode, blockSize)
    this.#limits = limits
    this.index = index
    this.#pause = pause
    this.#position = inode.blocksStart
    if (this.#count * ENTRY_SIZE > BLOCK_LIST_MAX) {
      throw this.#damage(`${this.#count} blocks, at most ${BLOCK_LIST_MAX / ENTRY_SIZE} are read`)
    }
  }

  /** Goes forward to `block`; never backward. @throws FsError EIO */
  skipTo(block: number): void {
    const checkpoint = this.index.before(block)
    if (checkpoint !== undefined && checkpoint.block > this.block) this.#goTo(checkpoint)
    for (let steps = 1; this.block < block; steps++) {
      if (this.#pass(block - this.block, undefined) === 0) this.next()
      if (steps % PAUSE_STRIDE === 0) this.#pause()
    }
  }

  /** Goes forward to the next hole, or to the next block that is none. @returns its number; undefined at the end */
  find(hole: boolean): number | undefined {
    while (this.block < this.#count) {
      const checkpoint = this.index.skippable({ block: this.block, holes: this.#holes }, hole)
      if (checkpoint !== undefined) this.#goTo(checkpoint)
      const limit = this.#count - this.block
      if (this.#pass(limit, hole) > 0) {
        this.#pause()
        continue
      }
      const { block } = this
      if ((this.next().storedSize === 0) === hole) return block
    }
    return undefined
  }

  /** The next block; the object is reused by the following call. @throws FsError EIO */
  next(): DataBlock {
    if (this.block >= this.#count) throw this.#damage(`the file has only ${this.#count} blocks`)
    const cursor = this.#open()
    cursor.mark()
    let at: number
    try {
      at = cursor.take(ENTRY_SIZE)
    } catch (error) {
      cursor.back()
      throw error
    }
    this.usable = false
    const stored = cursor.view.getUint32(at, true)
    const current = this.current
    current.position = this.#position
    current.storedSize = storedSizeOf(stored)
    current.kindBits = kindBitsOf(stored)
    if (stored === 0) this.#holes += 1
    else this.#addData(stored)
    this.block += 1
    this.#mark(cursor)
    this.usable = true
    return current
  }

  /**
   * Passes entries in one piece, without looking up each by itself: as far as the metadata block, the next checkpoint
   * and `limit` allow, and not past the first of the kind that is sought. @returns how many
   */
  #pass(limit: number, sought: boolean | undefined): number {
    const cursor = this.#open()
    this.usable = false
    const toMark = this.index.stride - (this.block % this.index.stride)
    const ahead = cursor.recordsAhead(ENTRY_SIZE, Math.min(limit, toMark))
    const { view, offset } = cursor
    // A local variable, because holes are what long lists consist of.
    let holes = 0
    let passed = 0
    while (passed < ahead) {
      const stored = view.getUint32(offset + passed * ENTRY_SIZE, true)
      if (sought !== undefined && (stored === 0) === sought) break
      passed += 1
      if (stored === 0) holes += 1
      else this.#addData(stored)
    }
    if (passed > 0) {
      this.#holes += holes
      this.block += passed
      cursor.take(passed * ENTRY_SIZE)
      this.#mark(cursor)
    }
    this.usable = true
    return passed
  }

  /** Adds the size of a block that is no hole. @throws FsError EIO */
  #addData(stored: number): void {
    const problem = blockProblem(this.#position, stored, this.#blockSize, this.#limits)
    if (problem !== undefined) throw this.#damage(problem)
    this.#position += storedSizeOf(stored)
  }

  #mark(cursor: MetadataCursor): void {
    if (this.block % this.index.stride !== 0 || this.block >= this.#count) return
    this.index.add({
      block: this.block,
      holes: this.#holes,
      position: this.#position,
      metadataPosition: cursor.blockPosition,
      metadataOffset: cursor.offset,
    })
  }

  #goTo({ block, holes, position, metadataPosition, metadataOffset }: Checkpoint): void {
    this.#cursor = new MetadataCursor(this.#table, metadataPosition, metadataOffset)
    this.block = block
    this.#holes = holes
    this.#position = position
  }

  #open(): MetadataCursor {
    this.#cursor ??= new MetadataCursor(this.#table, this.inode.tailPosition, this.inode.tailOffset)
    return this.#cursor
  }

  #damage(message: string): FsError {
    return new FsError(
      'EIO',
      `${this.#table.what}: file ${this.inode.inodeNumber}, block ${this.block}: ${message}`,
    )
  }
}

/**
 * Bytes that a block takes in the image; the bit beside them says that it is not compressed (squashfs: Data and
 * Fragment Blocks).
 */
export function storedSizeOf(stored: number): number {
  return stored & STORED_SIZE_MASK
}

/** `BlockRef.kindBits` of a block with that stored size. */
export function kindBitsOf(stored: number): number {
  return (stored >>> UNCOMPRESSED_SHIFT) & UNCOMPRESSED
}

/** What is wrong with a stored block, for the message; undefined where nothing is. */
export function blockProblem(
  position: number,
  stored: number,
  blockSize: number,
  limits: DataLimits,
): string | undefined {
  const size = storedSizeOf(stored)
  if (size === 0 || size > blockSize || stored >= STORED_SIZES) {
    return `stored size 0x${stored.toString(16)}, at most ${blockSize} bytes are allowed`
  }
  if (position < limits.start || position + size > limits.end) {
    return `stored at ${position}..${position + size}, outside the data area ${limits.start}..${limits.end}`
  }
  return undefined
}
