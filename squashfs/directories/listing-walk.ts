import { DT_DIR, FsError } from '../../src/base/index.ts'
import type { Inode } from '../metadata/inode.ts'
import { MetadataCursor } from '../metadata/metadata-cursor.ts'
import { METADATA_SIZE, refOf } from '../metadata/metadata-reference.ts'
import type { MetadataTable } from '../metadata/metadata-table.ts'
import { compareNames, DIRENT_TYPES, type DirectoryEntry } from './directory-entry.ts'
import type { DirectoryOrder } from './directory-order.ts'
import type { ListingPoints } from './listing-points.ts'
import { LISTING_SURPLUS, type ListingPoint, SQUASHFS_NAME_LEN } from './listing-range.ts'

const HEADER_SIZE = 12
const ENTRY_SIZE = 8
const HEADER_COUNT_MAX = 256
/**
 * Bytes of a listing, at most. The index of a directory counts its entries in 16 bits, one for each metadata block, so
 * no writer can make a larger directory that is of use. Some 20 million names.
 */
export const LISTING_MAX = 65536 * METADATA_SIZE
/**
 * Names of one listing that do not follow the greatest so far, at most. The format wants them sorted; the kernel shows
 * others too, but finds only some of them by name, so real images have few.
 */
export const UNSORTED_MAX = 65536
const SLASH = 0x2f
const DOT = 0x2e

/** What a listing must know of its image. */
export interface ListingContext {
  readonly table: MetadataTable
  readonly refSpan: number
  readonly order: DirectoryOrder
  /** The inode number of an inode. @throws FsError EIO */
  readonly inodeNumber: (ref: number) => number
}

/**
 * Walks the listing of one directory in stored order (squashfs: Directory Table). `advance` steps without making
 * an object, for searching; `entry` makes one of where it stands. After a `Postponed` it stands where it was.
 */
export class ListingWalk {
  readonly #context: ListingContext
  readonly #table: MetadataTable
  readonly #inode: Inode
  readonly #points: ListingPoints | undefined
  readonly #end: number
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
  // The greatest name before the current entry, from where this walk began.
  #greatest: Buffer | undefined
  #greatestAt = 0
  #greatestSize = 0
  // The current entry against that name: above 0 where it is greater, 0 where it is the same once more.
  #rise = 1
  #unsorted = 0

  /**
   * @param start a header, from which the walk begins
   * @param points takes what the walk finds out, for later searches
   * @throws FsError EIO where the listing is larger than LISTING_MAX
   */
  constructor(context: ListingContext, inode: Inode, start: ListingPoint, points: ListingPoints | undefined) {
    this.#context = context
    this.#table = context.table
    this.#inode = inode
    this.#points = points
    this.#end = inode.size - LISTING_SURPLUS
    this.#position = start.position
    this.#point = start
    this.#previousPoint = start
    if (this.#end > LISTING_MAX) {
      throw this.#damage(`listing of ${this.#end} bytes, at most ${LISTING_MAX} are read`)
    }
  }

  /** The directory that is listed. */
  get directory(): Inode {
    return this.#inode
  }

  /** Offset in the listing of what follows the current entry. */
  get position(): number {
    return this.#position
  }

  /** Offset in the listing from which the current entry is reached: of its header where it is the first of a run. */
  get entryStart(): number {
    return this.#entryStart
  }

  /** Whether a header follows: some 256 entries apart, a place for what should not be done at each entry. */
  get isAtHeader(): boolean {
    return this.#left === 0
  }

  /** Whether the current entry has the same name as the greatest before it. Of such entries the first counts. */
  get isRepeated(): boolean {
    return this.#rise === 0
  }

  /** The latest known header before `position`, from which a listing can be read again. */
  pointBefore(position: number): ListingPoint | undefined {
    if (this.#point.position < position) return this.#point
    return this.#previousPoint.position < position ? this.#previousPoint : undefined
  }

  /** Steps to the next entry; false at the end. @throws FsError EIO, Postponed */
  advance(): boolean {
    this.#keepGreatest()
    const cursor = this.#cursor
    const left = this.#left
    const point = this.#point
    const previousPoint = this.#previousPoint
    this.#entryStart = this.#position
    cursor?.mark()
    try {
      return this.#step()
    } catch (error) {
      cursor?.back()
      this.#cursor = cursor
      this.#position = this.#entryStart
      this.#left = left
      this.#point = point
      this.#previousPoint = previousPoint
      // There is no current entry that could be the greatest; the greatest so far is known.
      this.#nameSize = 0
      throw error
    }
  }

  #step(): boolean {
    const isFirst = this.#left === 0
    if (isFirst && !this.#readHeader()) return false
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
    if (nameSize > SQUASHFS_NAME_LEN || this.#position > this.#end + LISTING_SURPLUS) {
      throw this.#damage(`name of ${nameSize} bytes ends at ${this.#position}, listing has ${this.#end}`)
    }
    this.#nameSize = nameSize
    this.#nameAt = cursor.take(nameSize)
    this.#left -= 1
    this.#compareGreatest(cursor.bytes)
    if (isFirst && this.#unsorted === 0 && this.#points?.wants(this.#entryStart) === true) {
      this.#points.add(this.#point, cursor.bytes.subarray(this.#nameAt, this.#nameAt + nameSize))
    }
    return true
  }

  /** Remembers the current name, before the next one takes its place. */
  #keepGreatest(): void {
    const cursor = this.#cursor
    if (this.#rise <= 0 || cursor === undefined || this.#nameSize === 0) return
    // A view is enough: blocks do not change. Only what the cursor put together itself is overwritten.
    if (cursor.isCopy) {
      this.#greatest = Buffer.from(cursor.bytes.subarray(this.#nameAt, this.#nameAt + this.#nameSize))
      this.#greatestAt = 0
    } else {
      this.#greatest = cursor.bytes
      this.#greatestAt = this.#nameAt
    }
    this.#greatestSize = this.#nameSize
  }

  #compareGreatest(bytes: Buffer): void {
    const greatest = this.#greatest
    if (greatest === undefined) return
    this.#rise = compareNames(
      bytes,
      this.#nameAt,
      this.#nameSize,
      greatest,
      this.#greatestAt,
      this.#greatestSize,
    )
    if (this.#rise > 0) return
    this.#unsorted += 1
    if (this.#unsorted > UNSORTED_MAX) {
      throw this.#damage(`more than ${UNSORTED_MAX} names are not in order, or the same`)
    }
  }

  /** Negative where `name` stands before the current entry's name, in byte order. */
  compareName(name: Buffer): number {
    const bytes = this.#cursor?.bytes
    if (bytes === undefined) return -1
    return compareNames(name, 0, name.length, bytes, this.#nameAt, this.#nameSize)
  }

  /** First byte of the current entry's name. */
  get firstByte(): number {
    return this.#cursor?.bytes[this.#nameAt] ?? 0
  }

  /**
   * The current entry, checked.
   * @param known its name, where the caller has it already
   * @throws FsError EIO
   */
  entry(known?: string): DirectoryEntry {
    const type = DIRENT_TYPES[this.#entryType - 1]
    if (type === undefined) throw this.#damage(`entry type ${this.#entryType}, expected 1..7`)
    const ref = refOf(this.#inodeBlock, this.#entryOffset)
    if (this.#entryOffset >= METADATA_SIZE || ref >= this.#context.refSpan) {
      throw this.#damage(`inode reference ${this.#inodeBlock}:${this.#entryOffset} outside the inode table`)
    }
    const name = this.#name(known)
    if (type === DT_DIR) this.#context.order.check(this.#inode, this.#place, ref)
    // The sum wraps, as in the kernel (fs/squashfs/dir.c): a writer that puts 0 into the header and numbers above
    // 32767 into the entries is read. No file has the number 0; there the inode itself is asked.
    const ino = (this.#inodeBase + this.#entryDelta) >>> 0 || this.#context.inodeNumber(ref)
    return this.#rise < 0 ? { name, ref, ino, type, unsorted: true } : { name, ref, ino, type }
  }

  /** Where the current entry ends in the directory table: different for every entry, also if offsets of the listing are wrong. */
  get #place(): number {
    const cursor = this.#cursor
    if (cursor === undefined) return 0
    return refOf(cursor.blockPosition - this.#table.start, cursor.offset)
  }

  #name(known: string | undefined): string {
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
    return known ?? bytes.toString('latin1', start, start + size)
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

  get what(): string {
    return `${this.#table.what}: directory ${this.#inode.inodeNumber}`
  }

  #damage(message: string): FsError {
    return new FsError('EIO', `${this.what} at ${this.#position}: ${message}`)
  }
}
