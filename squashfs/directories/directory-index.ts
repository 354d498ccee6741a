import { FsError } from '../../src/base/index.ts'
import type { Inode } from '../metadata/inode.ts'
import { MetadataCursor } from '../metadata/metadata-cursor.ts'
import { METADATA_SIZE } from '../metadata/metadata-reference.ts'
import type { MetadataTable } from '../metadata/metadata-table.ts'
import {
  firstPoint,
  type ListingPoint,
  type ListingRange,
  SQUASHFS_NAME_LEN,
  wholeListing,
} from './listing-range.ts'

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
