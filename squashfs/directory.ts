import {
  direntType,
  FsError,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from '../src/base/index.ts'
import { LISTING_SURPLUS, type ListingPoint } from './directory-index.ts'
import type { DirectoryOrder } from './directory-order.ts'
import type { Inode } from './inode.ts'
import { MetadataCursor, type MetadataTable } from './metadata.ts'
import { METADATA_SIZE } from './superblock.ts'

const HEADER_SIZE = 12
const ENTRY_SIZE = 8
const HEADER_COUNT_MAX = 256
export const NAME_MAX = 256
const SLASH = 0x2f
const DOT = 0x2e

/** DT_* of the basic inode types 1..7; an entry never holds an extended type. */
const DIRENT_TYPES = [S_IFDIR, S_IFREG, S_IFLNK, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK].map(direntType)

export interface DirectoryEntry {
  readonly name: string
  readonly ref: number
  readonly ino: number
  readonly type: number
}

/**
 * Walks the listing of one directory in stored order (squashfs: Directory Table). `advance` steps without making
 * an object, for searching; `entry` makes one of where it stands.
 */
export class DirectoryListing {
  readonly #table: MetadataTable
  readonly #inode: Inode
  readonly #end: number
  readonly #refSpan: number
  readonly #order: DirectoryOrder
  #cursor: MetadataCursor | undefined
  #position: number
  #point: ListingPoint
  #previousPoint: ListingPoint
  #left = 0
  #inodeBlock = 0
  #inodeBase = 0
  // Where the current entry was reached from: its header's offset where it is the first of a run.
  #entryStart = 0
  #entryOffset = 0
  #entryDelta = 0
  #entryType = 0
  #nameAt = 0
  #nameSize = 0
  // Set where the cursor stands on an entry that `next` has not given yet.
  #pending = false

  constructor(
    table: MetadataTable,
    inode: Inode,
    start: ListingPoint,
    refSpan: number,
    order: DirectoryOrder,
  ) {
    this.#table = table
    this.#inode = inode
    this.#end = inode.size - LISTING_SURPLUS
    this.#refSpan = refSpan
    this.#order = order
    this.#position = start.position
    this.#point = start
    this.#previousPoint = start
  }

  get directory(): Inode {
    return this.#inode
  }

  /** Offset in the listing of the entry that `next` will give. */
  get position(): number {
    return this.#pending ? this.#entryStart : this.#position
  }

  /** The latest known header at or before `position`, from which a listing can be read again. */
  pointBefore(position: number): ListingPoint | undefined {
    if (this.#point.position <= position) return this.#point
    return this.#previousPoint.position <= position ? this.#previousPoint : undefined
  }

  next(): DirectoryEntry | undefined {
    if (!this.#pending && !this.advance()) return undefined
    this.#pending = false
    return this.entry()
  }

  /** Goes forward until `position` is the next entry. @throws FsError EINVAL where no entry begins there */
  seek(position: number): void {
    while (this.#position < position && this.advance());
    if (this.#position !== position) {
      throw new FsError('EINVAL', `${this.#what}: no entry at position ${position}`)
    }
  }

  /** Goes forward to the first entry whose name is `name` or greater. */
  seekName(name: Buffer): void {
    while (this.advance()) {
      if (this.compareName(name) <= 0) {
        this.#pending = true
        return
      }
    }
  }

  /** Steps to the next entry; false at the end. */
  advance(): boolean {
    this.#entryStart = this.#position
    if (this.#left === 0 && !this.#readHeader()) return false
    const cursor = this.#cursor
    if (cursor === undefined) return false
    const at = cursor.take(ENTRY_SIZE)
    const view = cursor.view
    this.#entryOffset = view.getUint16(at, true)
    this.#entryDelta = view.getInt16(at + 2, true)
    this.#entryType = view.getUint16(at + 4, true)
    const nameSize = view.getUint16(at + 6, true) + 1
    this.#position += ENTRY_SIZE + nameSize
    // squashfs-tools-ng before 1.1.3 stored the listing's size without the surplus; the kernel reads that too.
    if (nameSize > NAME_MAX || this.#position > this.#end + LISTING_SURPLUS) {
      throw this.#damage(`name of ${nameSize} bytes ends at ${this.#position}, listing has ${this.#end}`)
    }
    this.#nameSize = nameSize
    this.#nameAt = cursor.take(nameSize)
    this.#left -= 1
    return true
  }

  /** Negative where `name` stands before the current entry's name, in byte order. */
  compareName(name: Buffer): number {
    const bytes = this.#cursor?.bytes
    if (bytes === undefined) return -1
    // Mostly decided by the first bytes: a loop is faster than a call into Buffer.compare.
    const common = Math.min(name.length, this.#nameSize)
    for (let i = 0; i < common; i++) {
      const difference = (name[i] ?? 0) - (bytes[this.#nameAt + i] ?? 0)
      if (difference !== 0) return difference
    }
    return name.length - this.#nameSize
  }

  /** First byte of the current entry's name. */
  get firstByte(): number {
    return this.#cursor?.bytes[this.#nameAt] ?? 0
  }

  /** The current entry, checked. @throws FsError EIO */
  entry(): DirectoryEntry {
    const type = DIRENT_TYPES[this.#entryType - 1]
    if (type === undefined) throw this.#damage(`entry type ${this.#entryType}, expected 1..7`)
    const ref = this.#inodeBlock * METADATA_SIZE + this.#entryOffset
    if (this.#entryOffset >= METADATA_SIZE || ref >= this.#refSpan) {
      throw this.#damage(`inode reference ${this.#inodeBlock}:${this.#entryOffset} outside the inode table`)
    }
    const ino = this.#inodeBase + this.#entryDelta
    if (ino < 1 || ino > 0xffff_ffff) throw this.#damage(`inode number ${ino}`)
    const name = this.#name()
    this.#order.check(this.#inode, ref)
    return { name, ref, ino, type }
  }

  #name(): string {
    const bytes = this.#cursor?.bytes
    const start = this.#nameAt
    const size = this.#nameSize
    if (bytes === undefined) throw this.#damage('no entry')
    for (let i = start; i < start + size; i++) {
      const byte = bytes[i]
      if (byte === SLASH || byte === 0) throw this.#damage('name contains a slash or NUL')
    }
    if (bytes[start] === DOT && (size === 1 || (size === 2 && bytes[start + 1] === DOT))) {
      throw this.#damage('entry is named "." or ".."')
    }
    return bytes.toString('latin1', start, start + size)
  }

  #readHeader(): boolean {
    if (this.#position >= this.#end) return false
    if (this.#cursor === undefined) {
      const { block, offset } = this.#point
      this.#cursor = new MetadataCursor(this.#table, this.#table.start + block, offset)
    } else {
      this.#previousPoint = this.#point
      this.#point = {
        position: this.#position,
        block: this.#cursor.blockPosition - this.#table.start,
        offset: this.#cursor.offset,
      }
    }
    const at = this.#cursor.take(HEADER_SIZE)
    const view = this.#cursor.view
    const count = view.getUint32(at, true) + 1
    this.#inodeBlock = view.getUint32(at + 4, true)
    this.#inodeBase = view.getUint32(at + 8, true)
    if (count > HEADER_COUNT_MAX) {
      throw this.#damage(`header announces ${count} entries, at most ${HEADER_COUNT_MAX} are allowed`)
    }
    this.#position += HEADER_SIZE
    this.#left = count
    return true
  }

  get #what(): string {
    return `${this.#table.what}: directory ${this.#inode.inodeNumber}`
  }

  #damage(message: string): FsError {
    return new FsError('EIO', `${this.#what} at ${this.#position}: ${message}`)
  }
}
