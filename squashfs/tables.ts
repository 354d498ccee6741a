import type { ByteSource } from '../src/base/index.ts'
import { FRAGMENT_ENTRY_SIZE } from './file.ts'
import { LookupTable } from './lookup-table.ts'
import type { MetadataReader } from './metadata/metadata-reader.ts'
import { MetadataTable } from './metadata/metadata-table.ts'
import { NO_TABLE, type Superblock } from './superblock.ts'
import { XattrTable } from './xattr.ts'

const ID_ENTRY_SIZE = 4
const EXPORT_ENTRY_SIZE = 8

/** The tables of one image, each within its legal range. */
export interface Tables {
  readonly inodes: MetadataTable
  readonly directories: MetadataTable
  readonly ids: Uint32Array
  readonly fragments: LookupTable | undefined
  readonly xattrs: XattrTable | undefined
}

/**
 * Opens them from the last to the first, because each ends where the next begins, and where that is only the
 * next one's list of blocks tells (fs/squashfs/super.c:squashfs_fill_super goes the same way).
 * @param pause for long walks of requests
 * @throws FsError EIO
 */
export function openTables(
  source: ByteSource,
  reader: MetadataReader,
  superblock: Superblock,
  pause: () => void,
): Tables {
  const { bytesUsed, inodeTable, directoryTable, fragmentTable, exportTable, idTable, xattrTable } =
    superblock
  const xattrs = xattrTable === NO_TABLE ? undefined : new XattrTable(source, reader, superblock, pause)
  const idList = new LookupTable(source, reader, 'id table', {
    count: superblock.idCount,
    recordSize: ID_ENTRY_SIZE,
    listStart: idTable,
    listEnd: xattrs?.start ?? bytesUsed,
    lowest: directoryTable,
  })
  let next = idList.start
  // Nothing is read of it: where it begins, the table before it ends.
  if (exportTable !== NO_TABLE) {
    const exports = new LookupTable(source, reader, 'export table', {
      count: superblock.inodeCount,
      recordSize: EXPORT_ENTRY_SIZE,
      listStart: exportTable,
      listEnd: next,
      lowest: directoryTable,
    })
    next = exports.start
  }
  let fragments: LookupTable | undefined
  if (fragmentTable !== NO_TABLE) {
    fragments = new LookupTable(source, reader, 'fragment table', {
      count: superblock.fragmentCount,
      recordSize: FRAGMENT_ENTRY_SIZE,
      listStart: fragmentTable,
      listEnd: next,
      lowest: directoryTable,
    })
    next = fragments.start
  }
  return {
    inodes: new MetadataTable(reader, inodeTable, directoryTable, 'inode table'),
    directories: new MetadataTable(reader, directoryTable, next, 'directory table'),
    ids: readIds(idList),
    fragments,
    xattrs,
  }
}

/** All user and group ids, at most 65535 (squashfs: ID Table). */
function readIds(table: LookupTable): Uint32Array {
  const ids = new Uint32Array(table.count)
  for (let i = 0; i < ids.length; i++) {
    const cursor = table.record(i)
    const at = cursor.take(4)
    ids[i] = cursor.view.getUint32(at, true)
  }
  return ids
}
