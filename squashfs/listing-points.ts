import { FsError, LruCache } from '../src/base/index.ts'
import type { Inode } from './inode.ts'
import { MetadataCursor, type MetadataTable } from './metadata/metadata.ts'
import { METADATA_SIZE } from './metadata/metadata-reference.ts'

export const SQUASHFS_NAME_LEN = 256
/** A directory's `file_size` counts three bytes more than the listing (fs/squashfs/dir.c, "." and ".."). */
export const LISTING_SURPLUS = 3

/** Where a directory header stands: a place to begin reading a listing. */
export interface ListingPoint {
  /** Offset in the listing, bytes. */
  readonly position: number
  /** Block relative to the directory table, and offset in the decoded block. */
  readonly block: number
  readonly offset: number
}

/** Two neighbouring points: what is looked for begins at or after `start`, and before `limit`. */
export interface ListingRange {
  readonly start: ListingPoint
  /** Offset in the listing. */
  readonly limit: number
}

export function firstPoint(inode: Inode): ListingPoint {
  return { position: 0, block: inode.directoryBlock, offset: inode.directoryOffset }
}

export function wholeListing(inode: Inode): ListingRange {
  return { start: firstPoint(inode), limit: Math.max(0, inode.size - LISTING_SURPLUS) }
}

/** Negative where what is sought lies before an index entry, positive where it lies after its header. */
type Compare = (position: number, bytes: Buffer, nameStart: number, nameEnd: number) => number

/** Entries of an index between two places where its search may pause. */
const INDEX_STRIDE = 64

/**
 * Searches the index of an extended directory (squashfs: Directory Index). An index entry holds the name of the
 * first entry after its header, so a name that is sought lies before the first index entry with a greater name. Where
 * the names are equal it may lie before that header too, if a writer stored it twice: the first one counts. After a
 * `Postponed` the search can go on.
 */
export class IndexSearch {
  readonly #table: MetadataTable
  readonly #inode: Inode
  readonly #compare: Compare
  #cursor: MetadataCursor | undefined
  #start: ListingPoint
  #passed = 0
  #previous = 0

  constructor(inodeTable: MetadataTable, inode: Inode, compare: Compare) {
    this.#table = inodeTable
    this.#inode = inode
    this.#compare = compare
    this.#start = firstPoint(inode)
  }

  static ofName(inodeTable: MetadataTable, inode: Inode, name: Buffer): IndexSearch {
    return new IndexSearch(inodeTable, inode, (_position, bytes, from, to) => name.compare(bytes, from, to))
  }

  /** The same by offset in the listing. */
  static ofPosition(inodeTable: MetadataTable, inode: Inode, position: number): IndexSearch {
    return new IndexSearch(inodeTable, inode, (entryPosition) => position - entryPosition)
  }

  /** @param pause is called now and then. @throws FsError EIO, Postponed */
  run(pause: () => void): ListingRange {
    const { indexCount, tailPosition, tailOffset } = this.#inode
    const end = wholeListing(this.#inode).limit
    while (this.#passed < indexCount) {
      this.#cursor ??= new MetadataCursor(this.#table, tailPosition, tailOffset)
      const limit = this.#step(this.#cursor, end)
      if (limit !== undefined) return { start: this.#start, limit }
      this.#passed += 1
      if (this.#passed % INDEX_STRIDE === 0) pause()
    }
    return { start: this.#start, limit: end }
  }

  /** Looks at one entry. @returns its position where what is sought lies before it */
  #step(cursor: MetadataCursor, end: number): number | undefined {
    cursor.mark()
    try {
      const at = cursor.take(12)
      const position = cursor.view.getUint32(at, true)
      const block = cursor.view.getUint32(at + 4, true)
      const nameSize = cursor.view.getUint32(at + 8, true) + 1
      if (nameSize > SQUASHFS_NAME_LEN || position >= end || position < this.#previous) {
        throw new FsError(
          'EIO',
          `${this.#table.what}: directory ${this.#inode.inodeNumber}: index entry ${this.#passed} has position ${position} of ${end} and a name of ${nameSize} bytes`,
        )
      }
      const nameAt = cursor.take(nameSize)
      this.#previous = position
      const order = this.#compare(position, cursor.bytes, nameAt, nameAt + nameSize)
      if (order < 0) return position
      const offset = (position + this.#inode.directoryOffset) % METADATA_SIZE
      if (order > 0) this.#start = { position, block, offset }
      return undefined
    } catch (error) {
      cursor.back()
      throw error
    }
  }
}

/** Bytes of a listing between two points, at first. */
const FIRST_STRIDE = 64 << 10
const POINTS_MAX = 1024
/** Points kept in all, over all directories that were read lately: up to 400 bytes each. */
const MEMO_POINTS = 16 * 1024

/** A header of the listing, and the name of the first entry after it. */
interface NamedPoint {
  readonly point: ListingPoint
  readonly name: Buffer
}

/**
 * Headers of one large listing, met by those who walked it in the order of names: what the index of a directory is,
 * for the directories that have none, or a useless one. Where there would be too many points, every second one is
 * dropped and the stride doubled.
 */
export class ListingPoints {
  #points: NamedPoint[] = []
  #stride = FIRST_STRIDE

  get count(): number {
    return this.#points.length
  }

  /** Whether a header at this offset of the listing would be a new point. */
  wants(position: number): boolean {
    const at = this.#firstFrom(position)
    const before = this.#points[at - 1]?.point.position ?? 0
    const after = this.#points[at]?.point.position ?? Number.POSITIVE_INFINITY
    return position - before >= this.#stride && after - position >= this.#stride
  }

  /** @param name first after the header, and greater than every name before it; copied */
  add(point: ListingPoint, name: Uint8Array): void {
    this.#points.splice(this.#firstFrom(point.position), 0, { point, name: Buffer.from(name) })
    if (this.#points.length < POINTS_MAX) return
    this.#points = this.#points.filter((_, at) => at % 2 === 1)
    this.#stride *= 2
  }

  /** The part of the range in which the name must lie. */
  narrowToName(range: ListingRange, name: Buffer): ListingRange {
    return this.#narrow(range, (candidate) => name.compare(candidate.name))
  }

  /** The same for an offset in the listing. */
  narrowToPosition(range: ListingRange, position: number): ListingRange {
    return this.#narrow(range, (candidate) => position - candidate.point.position)
  }

  #narrow({ start, limit }: ListingRange, compare: (candidate: NamedPoint) => number): ListingRange {
    const low = this.#countWhere((candidate) => compare(candidate) > 0)
    const before = this.#points[low - 1]?.point
    // A point of the same name is no limit: the name itself stands after it.
    const beyond = this.#points.slice(low, low + 2).find((candidate) => compare(candidate) < 0)?.point
    return {
      start: before !== undefined && before.position > start.position ? before : start,
      limit: Math.min(limit, beyond?.position ?? limit),
    }
  }

  #firstFrom(position: number): number {
    return this.#countWhere(({ point }) => point.position < position)
  }

  /** How many points at the beginning satisfy a condition that holds for a beginning only. */
  #countWhere(holds: (candidate: NamedPoint) => boolean): number {
    let low = 0
    let high = this.#points.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const candidate = this.#points[middle]
      if (candidate !== undefined && holds(candidate)) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** The points of the directories used lately, by inode reference. Bounded in points. */
export class ListingPointsMemo {
  readonly #directories = new LruCache<number, ListingPoints>(MEMO_POINTS)

  /** @param size bytes of the listing. @returns undefined where it is too small to need points */
  of(ref: number, size: number): ListingPoints | undefined {
    if (size < 2 * FIRST_STRIDE) return undefined
    const points = this.#directories.get(ref) ?? new ListingPoints()
    // Points that come later are counted at the next call.
    this.#directories.set(ref, points, points.count + 1)
    return points
  }
}
