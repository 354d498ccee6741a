import { FsError } from '../../src/base/index.ts'
import { METADATA_SIZE } from '../metadata/metadata-reference.ts'
import type { MetadataPosition, MetadataWriter } from './metadata-writer.ts'
import { RecordBuffer } from './record.ts'

/** One name of a listing. */
export interface ListedName {
  readonly name: Uint8Array
  readonly inodeNumber: number
  /** INODE_TYPE of the basic form, 1 to 7. */
  readonly type: number
  /** Where its inode is in the inode table. */
  readonly inode: MetadataPosition
}

/** One entry of the index of an extended directory: a header that begins a group of names. */
export interface IndexEntry {
  /** Offset of the header in the listing, bytes. */
  readonly position: number
  /** Stored position of its metadata block in the directory table. */
  readonly block: number
  readonly name: Uint8Array
}

export interface WrittenListing {
  readonly start: MetadataPosition
  /** Bytes of the listing. */
  readonly size: number
  readonly index: readonly IndexEntry[]
}

/** Entries that one header can stand for (squashfs: Directory Table). */
const GROUP_MAX = 256
const HEADER_SIZE = 12
const ENTRY_SIZE = 8
/** `file_size` of a directory is its listing plus 3, in 32 bits. */
const LISTING_MAX = 0xffff_ffff - 3
const INDEX_MAX = 0xffff

const header = new RecordBuffer()
const entry = new RecordBuffer()

/**
 * Writes the listing of one directory. A group ends where its header cannot say more: at 256 names, at a name whose inode
 * is in another block or whose number is too far away, and where the listing reaches the next metadata block, so that the
 * index can lead there.
 * @throws FsError EFBIG for a listing of 4 GiB
 */
export function writeListing(table: MetadataWriter, names: readonly ListedName[]): WrittenListing {
  const start = table.position
  const before = table.written
  const index: IndexEntry[] = []
  let blockOfIndex = start.block
  for (let at = 0; at < names.length; ) {
    const [first] = names.slice(at, at + 1)
    if (first === undefined) break
    const { block } = table.position
    const position = table.written - before
    if (block !== blockOfIndex && index.length < INDEX_MAX) {
      index.push({ position, block, name: first.name })
      blockOfIndex = block
    }
    const count = groupLength(names, at, METADATA_SIZE - table.position.offset)
    table.write(
      header
        .clear()
        .u32(count - 1)
        .u32(first.inode.block)
        .u32(first.inodeNumber).bytes,
    )
    for (const { name, inodeNumber, type, inode } of names.slice(at, at + count)) {
      entry
        .clear()
        .u16(inode.offset)
        .i16(inodeNumber - first.inodeNumber)
        .u16(type)
        .u16(name.length - 1)
      table.write(entry.raw(name).bytes)
    }
    at += count
  }
  const size = table.written - before
  if (size > LISTING_MAX)
    throw new FsError('EFBIG', `a directory listing of ${size} bytes, at most ${LISTING_MAX}`)
  return { start, size, index }
}

/** @param room bytes left in the metadata block */
function groupLength(names: readonly ListedName[], start: number, room: number): number {
  const first = names[start]
  let bytes = HEADER_SIZE
  let count = 0
  for (let at = start; count < GROUP_MAX; at++, count++) {
    const one = names[at]
    if (one === undefined || first === undefined || one.inode.block !== first.inode.block) break
    const difference = one.inodeNumber - first.inodeNumber
    if (difference < -0x8000 || difference > 0x7fff) break
    if (count > 0 && bytes >= room) break
    bytes += ENTRY_SIZE + one.name.length
  }
  return count
}
