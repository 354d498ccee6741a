import { BlockIndexMemo } from '../../squashfs/block-list.ts'
import { IndexSearch } from '../../squashfs/directories/directory-index.ts'
import { DirectoryOrder } from '../../squashfs/directories/directory-order.ts'
import { DirectoryListing, ListingHelp } from '../../squashfs/directories/listing.ts'
import { ListingPoints } from '../../squashfs/directories/listing-points.ts'
import { firstPoint } from '../../squashfs/directories/listing-range.ts'
import { ListingWalk } from '../../squashfs/directories/listing-walk.ts'
import { LookupTable } from '../../squashfs/lookup-table.ts'
import { decodeInode, type Inode } from '../../squashfs/metadata/inode.ts'
import { MetadataCache } from '../../squashfs/metadata/metadata-cache.ts'
import { MetadataCursor } from '../../squashfs/metadata/metadata-cursor.ts'
import { MetadataReader } from '../../squashfs/metadata/metadata-reader.ts'
import { MetadataTable } from '../../squashfs/metadata/metadata-table.ts'
import { XattrTable } from '../../squashfs/xattr.ts'
import { metadata, run } from '../squashfs/support/builder.ts'
import { cat, text, u16, u32, u64 } from '../squashfs/support/bytes.ts'
import { MemorySource, NO_CODEC } from '../squashfs/support/sources.ts'
import type { FuzzTarget } from './driver.ts'
import { INDEX, INODES } from './images.ts'

/** A table of metadata blocks that is all there is. */
function tableOf(bytes: Uint8Array): MetadataTable {
  const reader = new MetadataReader(new MemorySource(bytes), NO_CODEC, new MetadataCache(), 'fuzz')
  return new MetadataTable(reader, 0, bytes.length, 'table')
}

/** An inode of which the target reads what lies in a table by itself. */
const inodeOf = (fields: Partial<Inode>): Inode => ({ ...DIRECTORY, ...fields })
const DIRECTORY = decodeInode(new MetadataCursor(tableOf(metadata(INODES.at(-1)!)), 0, 0), 64, {
  ids: Uint32Array.of(0),
  blockSize: 4096,
})
const NAMES = ['a', 'name', 'name-0300', 'z'].map((name) => Buffer.from(name))

const INODE: FuzzTarget = {
  name: 'squashfs inode',
  samples: INODES.map(metadata),
  run: (bytes) => {
    const cursor = new MetadataCursor(tableOf(bytes), 0, 0)
    decodeInode(cursor, 0, { ids: Uint32Array.of(0, 1000), blockSize: 4096 })
  },
}

const entries = ['a', 'bb', 'ccc', 'ccc', 'bc'].map((name, i) => ({
  name,
  offset: i * 32,
  type: 1 + (i % 7),
}))
const LISTING: FuzzTarget = {
  name: 'squashfs directory listing',
  samples: [metadata(cat(run(1, entries), run(0, entries.slice(1, 3)))), metadata(run(9, entries.slice(1)))],
  run: (bytes) => {
    const table = tableOf(bytes)
    const order = new DirectoryOrder(8191, true)
    const inode = inodeOf({ ref: 8190, size: bytes.length + 1, directoryBlock: 0, directoryOffset: 0 })
    const context = { table, refSpan: 8192, order, inodeNumber: () => 7 }
    const walk = new ListingWalk(context, inode, firstPoint(inode), new ListingPoints())
    const listing = new DirectoryListing(walk, new ListingHelp(NO_PAUSE))
    while (listing.next() !== undefined);
  },
}

const INDEXED: FuzzTarget = {
  name: 'squashfs directory index',
  samples: [metadata(INDEX)],
  run: (bytes) => {
    const inode = inodeOf({ size: 20_000, indexCount: 5, tailPosition: 0, tailOffset: 0 })
    const table = tableOf(bytes)
    for (const name of NAMES) IndexSearch.ofName(table, inode, name).run(NO_PAUSE)
    for (const position of [0, 9, 9999]) IndexSearch.ofPosition(table, inode, position).run(NO_PAUSE)
  },
}

const NO_PAUSE = () => undefined

const stored = [0, (1 << 24) | 4096, 0, 0, 77, (1 << 24) | 1, 4096, 0]
const BLOCKS: FuzzTarget = {
  name: 'squashfs block list',
  samples: [metadata(cat(...[...stored, ...stored].map(u32)))],
  run: (bytes) => {
    const inode = inodeOf({ size: 16 * 4096, blocksStart: 96, tailPosition: 0, tailOffset: 0 })
    const memo = new BlockIndexMemo()
    const at = (block: number) =>
      memo.walkAt(tableOf(bytes), inode, block, 4096, { start: 96, end: 20_000 }, NO_PAUSE)
    at(15).next()
    at(0).find(true)
    at(3).find(false)
  },
}

const LOOKUP: FuzzTarget = {
  name: 'squashfs lookup table',
  samples: [cat(metadata(cat(u32(1), u32(2), u32(3))), u64(0))],
  run: (bytes) => {
    const source = new MemorySource(bytes)
    const reader = new MetadataReader(source, NO_CODEC, new MetadataCache(), 'fuzz')
    const listStart = Math.max(0, bytes.length - 8)
    const geometry = { count: 3, recordSize: 4, listStart, listEnd: bytes.length, lowest: 0 }
    for (const index of [0, 2]) new LookupTable(source, reader, 'lookup', geometry).record(index).take(4)
  },
}

const pairs = cat(
  u16(0),
  u16(1),
  text('a'),
  u32(3),
  text('one'),
  u16(0x0102),
  u16(1),
  text('b'),
  u32(8),
  u64(5),
)
const PAIRS = metadata(pairs)
const SETS = metadata(cat(u64(0), u32(2), u32(20), u64(0), u32(1), u32(12)))
const XATTRS: FuzzTarget = {
  name: 'squashfs attributes',
  samples: [cat(PAIRS, SETS, u64(0), u32(2), u32(0), u64(PAIRS.length))],
  run: (bytes) => {
    const source = new MemorySource(bytes)
    const reader = new MetadataReader(source, NO_CODEC, new MetadataCache(), 'fuzz')
    const place = { xattrTable: Math.max(0, bytes.length - 24), idTable: 0, bytesUsed: bytes.length }
    const table = new XattrTable(source, reader, place, NO_PAUSE)
    for (const index of [0, 1]) for (const name of table.names(index)) table.value(index, name)
  },
  codes: ['EIO', 'E2BIG'],
}

/** Each parser of a table by itself, on metadata blocks that are not compressed. */
export const TABLE_TARGETS: readonly FuzzTarget[] = [INODE, LISTING, INDEXED, BLOCKS, LOOKUP, XATTRS]
