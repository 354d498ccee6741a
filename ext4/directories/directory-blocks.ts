import { FsError, isDirectory, viewOf } from '../../src/base/index.ts'
import { crc32c } from '../common/checksums.ts'
import { HOLE } from '../files/block-run.ts'
import { findBlocks } from '../files/file-blocks.ts'
import { hasInlineData, readInlineData } from '../inodes/inline-data.ts'
import { INODE_FLAGS, type Inode } from '../inodes/inode.ts'
import type { InodeTable } from '../inodes/inode-table.ts'
import { COMPAT } from '../superblock/features.ts'
import type { CachedBlock } from '../volume/metadata-cache.ts'
import type { Volume } from '../volume/volume.ts'
import type { EntryArea } from './entry.ts'

/** The longest directory that is read, bytes: many more names than can be listed. */
const DIRECTORY_MAX = 1 << 30
/** An inline directory begins with the number of its parent. */
const PARENT_SIZE = 4
/** Looks like an unused entry at the end of a block (fs/ext4/ext4.h: struct ext4_dir_entry_tail). */
const TAIL_SIZE = 12
const TAIL_TYPE = 0xde
/** The root of an index stands behind the entries `.` and `..` in the first block, and says how long it is. */
const ROOT_ENTRIES = 24
const ROOT_INFO_SIZE = 8
const INDEX_RECORD = 8

/** One part of a directory, and how its positions count. */
export interface DirectoryPart extends EntryArea {
  /** Position in the directory of the first byte of `bytes`, and of what follows the part. */
  readonly from: number
  readonly next: number
  /** Of the first entry in `bytes`. */
  readonly start: number
}

/** The blocks of directories, their checksums checked. */
export class DirectoryBlocks {
  readonly volume: Volume
  readonly table: InodeTable

  constructor(volume: Volume, table: InodeTable) {
    this.volume = volume
    this.table = table
  }

  /** @throws FsError ENOTDIR; EIO for one that is longer than any that can be listed */
  assertDirectory(inode: Inode): void {
    const { label } = this.volume
    if (!isDirectory(inode.mode))
      throw new FsError('ENOTDIR', `${label}: inode ${inode.number} is no directory`)
    if (inode.size > DIRECTORY_MAX) {
      throw this.volume.damage(0, `directory ${inode.number}: ${inode.size} bytes, at most ${DIRECTORY_MAX}`)
    }
  }

  /** The part in which a position lies; undefined behind the end. @throws FsError EIO */
  part(inode: Inode, position: number): DirectoryPart | undefined {
    if (hasInlineData(inode)) return this.#inlinePart(inode, position)
    if (position >= inode.size) return undefined
    const { blockSize } = this.volume.superblock
    const index = Math.floor(position / blockSize)
    const { block, content } = this.#read(inode, index)
    const from = index * blockSize
    return { ...content, end: blockSize, block, from, next: from + blockSize, start: 0 }
  }

  /** A block of the index of a directory, its first one among them. @throws FsError EIO */
  indexBlock(inode: Inode, index: number): { readonly block: number; readonly content: CachedBlock } {
    return this.#read(inode, index)
  }

  #inlinePart(inode: Inode, position: number): DirectoryPart | undefined {
    let from = 0
    for (const { bytes, block } of readInlineData(this.volume, this.table, inode)) {
      const length = Math.min(bytes.length, inode.size - from)
      const next = from + bytes.length
      if (position < from + length) {
        const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, length)
        const start = from === 0 ? PARENT_SIZE : 0
        return { bytes: buffer, view: viewOf(buffer), end: length, block, from, next, start }
      }
      from = next
    }
    return undefined
  }

  #read(inode: Inode, index: number): { readonly block: number; readonly content: CachedBlock } {
    const { volume } = this
    const { first: block } = findBlocks(volume, inode, index)
    // A missing block would make a directory smaller that is damaged.
    if (block === HOLE) throw volume.damage(0, `directory ${inode.number}: no block ${index}`)
    // A number, because every search in a directory asks: blocks of directories have numbers below 2^20.
    const user = inode.number * 2 ** 20 + index
    const content = volume.block(block, user, (read) => this.#assertChecksum(inode, index, block, read))
    return { block, content }
  }

  /** fs/ext4/namei.c:__ext4_read_dirblock. */
  #assertChecksum(inode: Inode, index: number, block: number, content: CachedBlock): void {
    if (inode.checksumSeed === undefined) return
    const { view } = content
    const hasIndex =
      (inode.flags & INODE_FLAGS.hasIndex) !== 0 &&
      (this.volume.superblock.features.compat & COMPAT.dir_index) !== 0
    const isNode = view.getUint32(0, true) === 0 && view.getUint16(4, true) === view.byteLength % 0x1_0000
    const sums = hasIndex && (index === 0 || isNode) ? indexSums(inode, content) : leafSums(inode, content)
    if (sums !== undefined && sums.stored === sums.expected) return
    const found =
      sums === undefined
        ? 'no checksum'
        : `checksum 0x${sums.stored.toString(16)}, expected 0x${sums.expected.toString(16)}`
    throw this.volume.damage(block, `directory ${inode.number}: block ${index}: ${found}`)
  }
}

interface Sums {
  readonly stored: number
  readonly expected: number
}

/** fs/ext4/namei.c:ext4_dirblock_csum. @returns undefined where the block has no checksum */
function leafSums({ checksumSeed = 0 }: Inode, { bytes, view }: CachedBlock): Sums | undefined {
  const tail = bytes.length - TAIL_SIZE
  const isTail =
    view.getUint32(tail, true) === 0 &&
    view.getUint16(tail + 4, true) === TAIL_SIZE &&
    view.getUint8(tail + 6) === 0 &&
    view.getUint8(tail + 7) === TAIL_TYPE
  if (!isTail) return undefined
  return { stored: view.getUint32(tail + 8, true), expected: crc32c(checksumSeed, bytes, 0, tail) }
}

/** fs/ext4/namei.c:ext4_dx_csum: of the records in use, and of the tail behind all that there is room for. */
function indexSums({ checksumSeed = 0 }: Inode, { bytes, view }: CachedBlock): Sums | undefined {
  const at = recordsAt(view)
  if (at === undefined) return undefined
  const limit = view.getUint16(at, true)
  const count = view.getUint16(at + 2, true)
  const tail = at + limit * INDEX_RECORD
  if (count > limit || tail + 8 > bytes.length) return undefined
  let sum = crc32c(checksumSeed, bytes, 0, at + count * INDEX_RECORD)
  sum = crc32c(sum, bytes, tail, tail + 4)
  sum = crc32c(sum, new Uint8Array(4))
  return { stored: view.getUint32(tail + 4, true), expected: sum }
}

/** Where the records of a block of the index begin, with their limit and count (fs/ext4/namei.c:get_dx_countlimit). */
export function recordsAt(view: DataView): number | undefined {
  const size = view.byteLength % 0x1_0000
  const length = view.getUint16(4, true)
  if (length === size) return INDEX_RECORD
  if (length !== 12) return undefined
  const isRoot =
    view.getUint16(16, true) === (view.byteLength - 12) % 0x1_0000 &&
    view.getUint32(ROOT_ENTRIES, true) === 0 &&
    view.getUint8(ROOT_ENTRIES + 5) === ROOT_INFO_SIZE
  return isRoot ? ROOT_ENTRIES + ROOT_INFO_SIZE : undefined
}
