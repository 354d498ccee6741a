import { FsError, LruCache } from '../src/base/index.ts'
import { blockCount, type Inode } from './inode.ts'
import { MetadataCursor, type MetadataTable } from './metadata.ts'

/** Bit 24 of a stored size: the block is not compressed. */
export const DATA_UNCOMPRESSED = 1 << 24
const STORED_SIZE_MASK = DATA_UNCOMPRESSED - 1
const ENTRY_SIZE = 4
const NUMBERS_PER_CHECKPOINT = 3
const FIRST_STRIDE = 1024
const CHECKPOINTS_MAX = 2048
/** Checkpoints kept in all, over all files that were read lately. 24 bytes each. */
const MEMO_CHECKPOINTS = 32 * 1024

/** Where a block of a file is. `storedSize` 0 is a hole. */
export interface DataBlock {
  /** Position in the image. */
  position: number
  storedSize: number
  compressed: boolean
}

/**
 * Places in a block list from which the walk can go on: every `stride` blocks the data position so far and the
 * place in the metadata. Where there would be too many, every second one is dropped and the stride doubled.
 */
class BlockIndex {
  stride = FIRST_STRIDE
  count = 0
  readonly numbers: number[] = []

  add(block: number, position: number, metadataPosition: number, metadataOffset: number): void {
    if (block !== (this.count + 1) * this.stride) return
    this.numbers.push(position, metadataPosition, metadataOffset)
    this.count += 1
    if (this.count < CHECKPOINTS_MAX) return
    const kept: number[] = []
    for (let i = 1; i < this.count; i += 2) {
      kept.push(...this.numbers.slice(i * NUMBERS_PER_CHECKPOINT, (i + 1) * NUMBERS_PER_CHECKPOINT))
    }
    this.numbers.splice(0, this.numbers.length, ...kept)
    this.count = kept.length / NUMBERS_PER_CHECKPOINT
    this.stride *= 2
  }
}

/** Remembers, for the files used lately, how to get into the middle of their block lists. Bounded. */
export class BlockIndexMemo {
  readonly #indexes = new LruCache<number, BlockIndex>(MEMO_CHECKPOINTS)
  // The walk of the latest read: a sequential reader goes on exactly there.
  #latest: BlockListWalk | undefined

  /** A walk that stands at `block` of the file. */
  walkAt(
    table: MetadataTable,
    inode: Inode,
    block: number,
    blockSize: number,
    limits: DataLimits,
  ): BlockListWalk {
    const latest = this.#latest
    // Dropped until the walk has succeeded: after an error it would stand in the middle of nowhere.
    this.#latest = undefined
    let walk = latest
    if (
      latest?.inode.ref !== inode.ref ||
      !latest.usable ||
      latest.block > block ||
      latest.block + FIRST_STRIDE < block
    ) {
      if (latest !== undefined) this.#indexes.set(latest.inode.ref, latest.index, latest.index.count + 1)
      walk = new BlockListWalk(
        table,
        inode,
        blockSize,
        limits,
        this.#indexes.get(inode.ref) ?? new BlockIndex(),
      )
    }
    if (walk === undefined) throw new FsError('EIO', `${table.what}: no walk`)
    walk.skipTo(block)
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
  readonly current: DataBlock = { position: 0, storedSize: 0, compressed: false }
  readonly #table: MetadataTable
  readonly #count: number
  readonly #blockSize: number
  readonly #limits: DataLimits
  readonly index: BlockIndex
  /** False after an error, and while a step is under way. */
  usable = true
  #position: number
  #cursor: MetadataCursor | undefined

  constructor(table: MetadataTable, inode: Inode, blockSize: number, limits: DataLimits, index: BlockIndex) {
    this.#table = table
    this.inode = inode
    this.#blockSize = blockSize
    this.#count = blockCount(inode, blockSize)
    this.#limits = limits
    this.index = index
    this.#position = inode.blocksStart
  }

  /** Goes forward to `block`; never backward. @throws FsError EIO */
  skipTo(block: number): void {
    const checkpoint = Math.min(Math.floor(block / this.index.stride), this.index.count)
    if (checkpoint > 0 && checkpoint * this.index.stride > this.block) {
      const at = (checkpoint - 1) * NUMBERS_PER_CHECKPOINT
      const [position, metadataPosition, offset] = this.index.numbers.slice(at, at + NUMBERS_PER_CHECKPOINT)
      if (position !== undefined && metadataPosition !== undefined && offset !== undefined) {
        this.#cursor = new MetadataCursor(this.#table, metadataPosition, offset)
        this.#position = position
        this.block = checkpoint * this.index.stride
      }
    }
    while (this.block < block) this.next()
  }

  /** The next block; the object is reused by the following call. @throws FsError EIO */
  next(): DataBlock {
    if (this.block >= this.#count) throw this.#damage(`the file has only ${this.#count} blocks`)
    this.usable = false
    this.#cursor ??= new MetadataCursor(this.#table, this.inode.tailPosition, this.inode.tailOffset)
    const cursor = this.#cursor
    const at = cursor.take(ENTRY_SIZE)
    const stored = cursor.view.getUint32(at, true)
    const current = this.current
    current.position = this.#position
    current.storedSize = storedSizeOf(stored)
    current.compressed = (stored & DATA_UNCOMPRESSED) === 0
    if (stored !== 0) {
      const problem = blockProblem(this.#position, stored, this.#blockSize, this.#limits)
      if (problem !== undefined) throw this.#damage(problem)
    }
    this.#position += current.storedSize
    this.block += 1
    if (this.block % this.index.stride === 0 && this.block < this.#count) {
      this.index.add(this.block, this.#position, cursor.blockPosition, cursor.offset)
    }
    this.usable = true
    return current
  }

  #damage(message: string): FsError {
    return new FsError(
      'EIO',
      `${this.#table.what}: file ${this.inode.inodeNumber}, block ${this.block}: ${message}`,
    )
  }
}

export function storedSizeOf(stored: number): number {
  return stored & STORED_SIZE_MASK
}

/** What is wrong with a stored block, for the message; undefined where nothing is. */
export function blockProblem(
  position: number,
  stored: number,
  blockSize: number,
  limits: DataLimits,
): string | undefined {
  const size = storedSizeOf(stored)
  if (size === 0 || size > blockSize || stored >= DATA_UNCOMPRESSED * 2) {
    return `stored size 0x${stored.toString(16)}, at most ${blockSize} bytes are allowed`
  }
  if (position < limits.start || position + size > limits.end) {
    return `stored at ${position}..${position + size}, outside the data area ${limits.start}..${limits.end}`
  }
  return undefined
}
