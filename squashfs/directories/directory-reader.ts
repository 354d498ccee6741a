import { ResumableWalks } from '../../src/base/index.ts'
import type { Inode } from '../metadata/inode.ts'
import type { MetadataTable } from '../metadata/metadata-table.ts'
import type { DirectoryEntry } from './directory-entry.ts'
import { IndexSearch } from './directory-index.ts'
import { DirectoryListing, ListingHelp } from './listing.ts'
import { ListingPointsMemo } from './listing-points.ts'
import {
  firstPoint,
  type ListingPoint,
  type ListingRange,
  SQUASHFS_NAME_LEN,
  wholeListing,
} from './listing-range.ts'
import { type ListingContext, ListingWalk } from './listing-walk.ts'

/** A name that is looked for in a listing. */
interface Search {
  readonly walk: ListingWalk
  /** Offset in the listing, at which it must have been met. */
  readonly limit: number
  isFound: boolean
}

/** Listings that were opened lately: each knows where a later one can begin. */
const RECENT_LISTINGS = 16

/**
 * Finds and lists the names of the directories of one image. Long walks pause, and go on when the same is asked again.
 */
export class DirectoryReader {
  readonly #context: ListingContext
  readonly #inodeTable: MetadataTable
  readonly #help: ListingHelp
  readonly #points = new ListingPointsMemo()
  readonly #ranges = new ResumableWalks<IndexSearch, ListingRange>()
  readonly #lookups = new ResumableWalks<Search, DirectoryEntry | undefined>()
  readonly #opened = new ResumableWalks<DirectoryListing, DirectoryListing>(false)
  readonly #recent: DirectoryListing[] = []
  #recentNext = 0

  /**
   * @param inodeTable where the indexes of directories lie
   * @param pause called by long walks where they can go on later. It may throw `Postponed`
   */
  constructor(context: ListingContext, inodeTable: MetadataTable, pause: () => void) {
    this.#context = context
    this.#inodeTable = inodeTable
    this.#help = new ListingHelp(pause)
  }

  /** The entry of a name. @throws FsError EIO, Postponed */
  lookup(inode: Inode, name: string): DirectoryEntry | undefined {
    if (name.length === 0 || name.length > SQUASHFS_NAME_LEN) return undefined
    const wanted = bytesOf(name)
    return this.#lookups.run(
      () => `${inode.ref}:${name}`,
      () => {
        const range = this.#rangeOfName(inode, wanted)
        return { walk: this.#walk(inode, range.start), limit: range.limit, isFound: false }
      },
      (search) => this.#search(search, wanted, name),
    )
  }

  #search(search: Search, wanted: Buffer, name: string): DirectoryEntry | undefined {
    const { walk, limit } = search
    const firstByte = wanted[0] ?? 0
    while (!search.isFound) {
      if (walk.position >= limit || !walk.advance()) return undefined
      // The kernel gives up at a greater first byte too (fs/squashfs/namei.c:squashfs_lookup).
      if (walk.firstByte > firstByte) return undefined
      if (walk.compareName(wanted) === 0) search.isFound = true
      else if (walk.isAtHeader) this.#help.pause()
    }
    return walk.entry(name)
  }

  /** A listing whose next entry is the one at `position`. @throws FsError EINVAL, EIO; Postponed */
  open(inode: Inode, position: number): DirectoryListing {
    return this.#begin(
      () => `${inode.ref}@${position}`,
      () => this.#walk(inode, position > 0 ? this.#resumePoint(inode, position) : firstPoint(inode)),
      (listing) => listing.seek(position),
    )
  }

  /** A listing whose next entry is the first one with this name or a greater one. @throws FsError EIO; Postponed */
  openAt(inode: Inode, name: string): DirectoryListing {
    const wanted = bytesOf(name)
    return this.#begin(
      () => `${inode.ref}:${name}`,
      () => this.#walk(inode, this.#rangeOfName(inode, wanted).start),
      (listing) => listing.seekName(wanted),
    )
  }

  /** A listing that stands where it is wanted. */
  #begin(
    key: () => string,
    begin: () => ListingWalk,
    seek: (listing: DirectoryListing) => void,
  ): DirectoryListing {
    const listing = this.#opened.run(
      key,
      () => new DirectoryListing(begin(), this.#help),
      (walk) => {
        seek(walk)
        return walk
      },
    )
    this.#remember(listing)
    return listing
  }

  #walk(inode: Inode, start: ListingPoint): ListingWalk {
    return new ListingWalk(this.#context, inode, start, this.#points.of(inode.ref, inode.size))
  }

  /** Where in the listing something must be, by the index of the directory. @param wanted a name, or an offset */
  #rangeByIndex(inode: Inode, wanted: Buffer | number): ListingRange {
    if (inode.indexCount === 0) return wholeListing(inode)
    return this.#ranges.run(
      () =>
        typeof wanted === 'number' ? `${inode.ref}@${wanted}` : `${inode.ref}:${wanted.toString('latin1')}`,
      () =>
        typeof wanted === 'number'
          ? IndexSearch.ofPosition(this.#inodeTable, inode, wanted)
          : IndexSearch.ofName(this.#inodeTable, inode, wanted),
      (search) => search.run(this.#help.pause),
    )
  }

  /** Where in the listing the name must be, by the index of the directory and by what earlier walks met. */
  #rangeOfName(inode: Inode, name: Buffer): ListingRange {
    const range = this.#rangeByIndex(inode, name)
    return this.#points.of(inode.ref, inode.size)?.narrowToName(range, name) ?? range
  }

  /**
   * The nearest place before `position` at which a header is known to stand. Never the place itself: whether the entry
   * there has the name of the one before it only that one tells.
   */
  #resumePoint(inode: Inode, position: number): ListingPoint {
    const range = this.#rangeByIndex(inode, position)
    let best = (this.#points.of(inode.ref, inode.size)?.narrowToPosition(range, position) ?? range).start
    for (const listing of this.#recent) {
      if (listing.directory.ref !== inode.ref) continue
      const point = listing.pointBefore(position)
      if (point !== undefined && point.position > best.position) best = point
    }
    return best
  }

  #remember(listing: DirectoryListing): void {
    this.#recent[this.#recentNext] = listing
    this.#recentNext = (this.#recentNext + 1) % RECENT_LISTINGS
  }
}

let lastName = ''
let lastBytes = Buffer.alloc(0)

/** The bytes of a name. One look-up asks every layer for the same name, so the last one is kept. */
function bytesOf(name: string): Buffer {
  if (name !== lastName) {
    lastBytes = Buffer.from(name, 'latin1')
    lastName = name
  }
  return lastBytes
}
