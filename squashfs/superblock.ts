import { ByteReader, type ByteSource, DamageError, FsError, viewOf } from '../src/base/index.ts'
import type { CompressorName } from '../src/codecs/index.ts'
import {
  METADATA_SIZE,
  metadataCapacity,
  REFERENCE_SIZE,
  referenceAt,
} from './metadata/metadata-reference.ts'

/** Bytes of the superblock; the data area may begin right after it. */
export const SUPERBLOCK_SIZE = 96
/** A table that the image does not have (`SQUASHFS_INVALID_BLK`). */
export const NO_TABLE = -1

/** "hsqs", little-endian. */
export const MAGIC = 0x7371_7368
const MAGIC_BIG_ENDIAN = 0x6873_7173
const MAGIC_SIZE = 4
const VERSION_OFFSET = 28
/** The stored number of a compressor is its place here, from 1. */
export const COMPRESSORS: readonly CompressorName[] = ['gzip', 'lzma', 'lzo', 'xz', 'lz4', 'zstd']
/** Bytes of the shortest inode, one of a fifo or socket. */
const SMALLEST_INODE = 20

/** Bits of the superblock's `flags` (squashfs: The Superblock). */
export const SUPERBLOCK_FLAGS = {
  uncompressedInodes: 0x0001,
  uncompressedData: 0x0002,
  uncompressedFragments: 0x0008,
  noFragments: 0x0010,
  alwaysFragments: 0x0020,
  deduplicated: 0x0040,
  exportable: 0x0080,
  uncompressedXattrs: 0x0100,
  noXattrs: 0x0200,
  compressorOptions: 0x0400,
  uncompressedIds: 0x0800,
} as const

/** The superblock, valid: every offset lies inside the image and the tables stand in their order. */
export interface Superblock {
  readonly inodeCount: number
  /** Seconds since 1970. */
  readonly modTime: number
  readonly blockSize: number
  readonly fragmentCount: number
  readonly compressor: CompressorName
  readonly blockLog: number
  readonly flags: number
  readonly idCount: number
  /** Block of the root inode, relative to the inode table, and offset in the decoded block. */
  readonly rootBlock: number
  readonly rootOffset: number
  readonly bytesUsed: number
  readonly idTable: number
  /** NO_TABLE where the image has no extended attributes. */
  readonly xattrTable: number
  readonly inodeTable: number
  readonly directoryTable: number
  /** NO_TABLE where the image has no fragments. */
  readonly fragmentTable: number
  /** NO_TABLE where the image is not exportable. */
  readonly exportTable: number
}

/**
 * Reads and validates the superblock at the start of `source`.
 * @throws DamageError that names the wrong field, or EINVAL where the source is no squashfs 4.0 image.
 */
export function readSuperblock(source: ByteSource): Superblock {
  const bytes = new Uint8Array(Math.min(SUPERBLOCK_SIZE, source.size))
  if (bytes.length > 0) source.readInto(0, bytes)
  return decodeSuperblock(bytes, source.size, source.label)
}

/** @param sourceSize bytes that can be read from the image's start */
export function decodeSuperblock(bytes: Uint8Array, sourceSize: number, label: string): Superblock {
  if (bytes.length === 0) throw new DamageError(label, 0, `${label}: empty file, expected a squashfs image`)
  const what = `${label}: superblock`
  checkMagic(bytes, label)
  if (bytes.length < SUPERBLOCK_SIZE) {
    throw new DamageError(
      label,
      0,
      `${label}: ends after ${bytes.length} bytes, the superblock of a squashfs image has ${SUPERBLOCK_SIZE}`,
    )
  }
  const reader = ByteReader.over(bytes, what)
  reader.skip(4)
  const inodeCount = reader.u32()
  const modTime = reader.u32()
  const blockSize = reader.u32()
  const fragmentCount = reader.u32()
  const compressorId = reader.u16()
  const blockLog = reader.u16()
  const flags = reader.u16()
  const idCount = reader.u16()
  const major = reader.u16()
  const minor = reader.u16()
  // The fields so far stand at the same place in every version; what follows does not.
  if (major !== 4 || minor !== 0) {
    throw new FsError('EINVAL', `${label}: squashfs version ${major}.${minor}, only 4.0 is supported`)
  }
  const { block: rootBlock, offset: rootOffset } = referenceAt(viewOf(reader.bytes(REFERENCE_SIZE)), 0)
  const bytesUsed = reader.offset64()
  const idTable = reader.offset64()
  const xattrTable = optionalTable(reader, `${what}: xattr table`)
  const inodeTable = reader.offset64()
  const directoryTable = reader.offset64()
  const fragmentTable = optionalTable(reader, `${what}: fragment table`)
  const exportTable = optionalTable(reader, `${what}: export table`)

  const check = (good: boolean, message: string): void => {
    if (!good) throw new DamageError(label, 0, `${what}: ${message}`)
  }
  const powerOfTwo = (blockSize & (blockSize - 1)) === 0
  check(
    powerOfTwo && blockSize >= 4096 && blockSize <= 1 << 20,
    `block size ${blockSize}, expected a power of two from 4096 to 1048576`,
  )
  check(blockLog < 32 && blockSize === 1 << blockLog, `block log ${blockLog} disagrees with ${blockSize}`)
  const compressor = COMPRESSORS[compressorId - 1]
  if (compressor === undefined)
    throw new DamageError(label, 0, `${what}: compressor ${compressorId}, expected 1 to 6`)
  check(idCount > 0, 'id count is 0')
  check(bytesUsed >= SUPERBLOCK_SIZE, `bytes used ${bytesUsed} is less than the superblock`)
  check(bytesUsed <= sourceSize, `bytes used ${bytesUsed}, but only ${sourceSize} bytes are there: truncated`)

  // The kernel insists on this order too (fs/squashfs/super.c:squashfs_fill_super).
  let previous = SUPERBLOCK_SIZE - 1
  const ordered = (name: string, start: number): void => {
    check(
      start > previous && start < bytesUsed,
      `${name} table at ${start}, expected between ${previous + 1} and ${bytesUsed}`,
    )
    previous = start
  }
  ordered('inode', inodeTable)
  ordered('directory', directoryTable)
  if (fragmentCount > 0) ordered('fragment', fragmentTable)
  if (exportTable !== NO_TABLE) ordered('export', exportTable)
  ordered('id', idTable)
  if (xattrTable !== NO_TABLE) ordered('xattr', xattrTable)

  const inodeTableSize = directoryTable - inodeTable
  // Some writers leave the count at 0; only the export table, which has an entry for each inode, relies on it
  // (fs/squashfs/export.c:squashfs_read_inode_lookup_table).
  check(inodeCount > 0 || exportTable === NO_TABLE, 'inode count is 0, but there is an export table')
  check(
    inodeCount <= metadataCapacity(inodeTableSize) / SMALLEST_INODE,
    `inode count ${inodeCount} does not fit an inode table of ${inodeTableSize} bytes`,
  )
  check(
    rootBlock < inodeTableSize && rootOffset < METADATA_SIZE,
    `root inode ${rootBlock}:${rootOffset} outside the inode table of ${inodeTableSize} bytes`,
  )
  return {
    inodeCount,
    modTime,
    blockSize,
    fragmentCount,
    compressor,
    blockLog,
    flags,
    idCount,
    rootBlock,
    rootOffset,
    bytesUsed,
    idTable,
    xattrTable,
    inodeTable,
    directoryTable,
    // Writers leave any value here when there are no fragments, and the kernel does not look at it.
    fragmentTable: fragmentCount > 0 ? fragmentTable : NO_TABLE,
    exportTable,
  }
}

function checkMagic(bytes: Uint8Array, label: string): void {
  if (bytes.length < MAGIC_SIZE) return
  const view = viewOf(bytes)
  const magic = view.getUint32(0, true)
  if (magic === MAGIC) return
  if (magic !== MAGIC_BIG_ENDIAN) throw new FsError('EINVAL', `${label}: not a squashfs image`)
  // Before 4.0 there were images of both byte orders; a few writers still make 4.0 with the wrong one.
  const version =
    bytes.length < VERSION_OFFSET + 4
      ? ''
      : ` ${view.getUint16(VERSION_OFFSET)}.${view.getUint16(VERSION_OFFSET + 2)}`
  throw new FsError('EINVAL', `${label}: big-endian squashfs${version}, only little-endian 4.0 is supported`)
}

/** All bits set means that there is no such table. */
function optionalTable(reader: ByteReader, what: string): number {
  const bytes = reader.bytes(8)
  if (bytes.every((byte) => byte === 0xff)) return NO_TABLE
  return ByteReader.over(bytes, what).offset64()
}
