import type { Inode } from '../metadata/inode.ts'

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

/** Where the listing of a directory begins. */
export function firstPoint(inode: Inode): ListingPoint {
  return { position: 0, block: inode.directoryBlock, offset: inode.directoryOffset }
}

/** The listing of a directory from its first to its last byte, as decoded. */
export function wholeListing(inode: Inode): ListingRange {
  return { start: firstPoint(inode), limit: Math.max(0, inode.size - LISTING_SURPLUS) }
}
