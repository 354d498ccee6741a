import { FsError } from '../src/base/index.ts'
import type { Inode } from './inode.ts'
import { MetadataCursor, type MetadataTable } from './metadata.ts'
import { METADATA_SIZE } from './superblock.ts'

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

/**
 * Searches the index of an extended directory (squashfs: Directory Index). An index entry holds the name of the
 * first entry after its header, so a name that is sought lies before the first index entry with a greater name. Where
 * the names are equal it may lie before that header too, if a writer stored it twice: the first one counts.
 */
export function rangeOfName(inodeTable: MetadataTable, inode: Inode, name: Buffer): ListingRange {
  return search(inodeTable, inode, (_position, bytes, from, to) => name.compare(bytes, from, to))
}

/** The same by offset in the listing. */
export function rangeOfPosition(inodeTable: MetadataTable, inode: Inode, position: number): ListingRange {
  return search(inodeTable, inode, (entryPosition) => position - entryPosition)
}

/** Negative where what is sought lies before the index entry, positive where it lies after its header. */
type Compare = (position: number, bytes: Buffer, nameStart: number, nameEnd: number) => number

function search(inodeTable: MetadataTable, inode: Inode, compare: Compare): ListingRange {
  const end = Math.max(0, inode.size - LISTING_SURPLUS)
  let start = firstPoint(inode)
  if (inode.indexCount === 0) return { start, limit: end }
  const cursor = new MetadataCursor(inodeTable, inode.tailPosition, inode.tailOffset)
  let previous = 0
  for (let i = 0; i < inode.indexCount; i++) {
    const at = cursor.take(12)
    const position = cursor.view.getUint32(at, true)
    const block = cursor.view.getUint32(at + 4, true)
    const nameSize = cursor.view.getUint32(at + 8, true) + 1
    if (nameSize > SQUASHFS_NAME_LEN || position >= end || position < previous) {
      throw new FsError(
        'EIO',
        `${inodeTable.what}: directory ${inode.inodeNumber}: index entry ${i} has position ${position} of ${end} and a name of ${nameSize} bytes`,
      )
    }
    previous = position
    const nameAt = cursor.take(nameSize)
    const order = compare(position, cursor.bytes, nameAt, nameAt + nameSize)
    if (order < 0) return { start, limit: position }
    if (order > 0) start = { position, block, offset: (position + inode.directoryOffset) % METADATA_SIZE }
  }
  return { start, limit: end }
}
