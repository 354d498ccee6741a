import {
  ByteReader,
  isDirectory,
  isRegular,
  majorOf,
  minorOf,
  packDevice,
  S_IFBLK,
  S_IFCHR,
  S_IFMT,
} from '../../src/base/index.ts'
import { INCOMPAT, RO_COMPAT } from '../superblock/features.ts'
import { OLD_INODE_SIZE, type Superblock } from '../superblock/superblock.ts'

/** `i_flags` (fs/ext4/ext4.h). */
export const INODE_FLAGS = {
  hasIndex: 0x1000,
  isHuge: 0x4_0000,
  hasExtents: 0x8_0000,
  isValue: 0x20_0000,
  hasInlineData: 0x1000_0000,
} as const

/** The record begins with the fields of the second revision: what is behind them is counted by `i_extra_isize`. */
const EXTRA_SIZE = 32
/** Bytes of `i_block`. */
export const BLOCK_FIELD_SIZE = 60
/** Position of `i_block` in the record. */
export const BLOCK_FIELD_AT = 0x28
const EPOCH_BITS = 3
const NANOSECONDS_SHIFT = 2

/** Seconds since 1970, and nanoseconds of them. */
export interface Time {
  readonly seconds: number
  readonly nanoseconds: number
}

/** An inode as it is stored (ext4: Inodes), with the number that it is found by. */
export interface Inode {
  readonly number: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly nlink: number
  /** Units of 512 bytes. */
  readonly blocks: number
  readonly flags: number
  readonly generation: number
  /** As `Stat.rdev`. */
  readonly rdev: number
  readonly atime: Time
  readonly mtime: Time
  readonly ctime: Time
  /** Of the birth; undefined where inodes have no room for it. */
  readonly crtime: Time | undefined
  /** Block of its extended attributes; 0 for none. */
  readonly attributeBlock: number
  /** `i_block`: the map of its blocks, or what stands in its place. A copy. */
  readonly blockField: Uint8Array
  /** Bytes of fields behind the first 128, as stored: attributes follow. */
  readonly extraSize: number
  /** What the checksums of its blocks begin with; undefined where there are none. */
  readonly checksumSeed: number | undefined
}

/**
 * @param view a block of the inode table. @param start of the record in it
 * @param extraSize `i_extra_isize`, valid; 0 in records of 128 bytes
 */
export function decodeInode(
  view: DataView,
  start: number,
  number: number,
  superblock: Superblock,
  extraSize: number,
  checksumSeed: number | undefined,
): Inode {
  const { features, blockSize, inodeSize } = superblock
  const reader = new ByteReader(view, start, start + inodeSize, `inode ${number}`)
  const mode = reader.u16()
  const uidLow = reader.u16()
  const sizeLow = reader.u32()
  const [atime, ctime, mtime] = [reader.i32(), reader.i32(), reader.i32()]
  // When it was deleted.
  reader.skip(4)
  const gidLow = reader.u16()
  const nlink = reader.u16()
  const blocksLow = reader.u32()
  const flags = reader.u32()
  // The lower half of its version.
  reader.skip(4)
  const blockField = reader.bytes(BLOCK_FIELD_SIZE).slice()
  const generation = reader.u32()
  const attributesLow = reader.u32()
  const sizeHigh = reader.u32()
  // The place of a fragment, never used.
  reader.skip(4)
  const blocksHigh = reader.u16()
  const attributesHigh = reader.u16()
  const uidHigh = reader.u16()
  const gidHigh = reader.u16()
  // The lower half of the checksum.
  reader.skip(4)
  // A record of a large inode that was never given more fields has room for them all the same.
  const fields = inodeSize === OLD_INODE_SIZE ? 0 : extraSize === 0 ? EXTRA_SIZE : extraSize
  const extra = fields === 0 ? undefined : new Extra(reader, fields)
  const ctimeExtra = extra?.word(0x84)
  const mtimeExtra = extra?.word(0x88)
  const atimeExtra = extra?.word(0x8c)
  const crtime = extra?.word(0x90)
  const crtimeExtra = extra?.word(0x94)
  const isLarge = isRegular(mode) || (isDirectory(mode) && (features.incompat & INCOMPAT.large_dir) !== 0)
  const isHuge = (features.roCompat & RO_COMPAT.huge_file) !== 0
  const units = isHuge && (flags & INODE_FLAGS.isHuge) !== 0 ? blockSize / 512 : 1
  return {
    number,
    mode,
    uid: uidLow + uidHigh * 0x1_0000,
    gid: gidLow + gidHigh * 0x1_0000,
    size: isLarge ? sizeLow + sizeHigh * 2 ** 32 : sizeLow,
    nlink,
    blocks: (blocksLow + (isHuge ? blocksHigh * 2 ** 32 : 0)) * units,
    flags,
    generation,
    rdev: deviceOf(mode, blockField),
    atime: timeOf(atime, atimeExtra),
    mtime: timeOf(mtime, mtimeExtra),
    ctime: timeOf(ctime, ctimeExtra),
    crtime: crtime === undefined ? undefined : timeOf(crtime | 0, crtimeExtra),
    attributeBlock:
      attributesLow + ((features.incompat & INCOMPAT['64bit']) !== 0 ? attributesHigh * 2 ** 32 : 0),
    blockField,
    extraSize,
    checksumSeed,
  }
}

/** The fields behind the first 128 bytes, as far as a record has them. */
class Extra {
  readonly #reader: ByteReader
  readonly #end: number
  #at = OLD_INODE_SIZE

  constructor(reader: ByteReader, size: number) {
    this.#reader = reader
    this.#end = OLD_INODE_SIZE + size
  }

  /** The word at a position of the record; undefined where it is not there. Positions must rise. */
  word(position: number): number | undefined {
    if (position + 4 > this.#end) return undefined
    this.#reader.skip(position - this.#at)
    this.#at = position + 4
    return this.#reader.u32()
  }
}

/** Two bits prolong the seconds, the rest are nanoseconds (fs/ext4/ext4.h:ext4_decode_extra_time). */
function timeOf(seconds: number, extra = 0): Time {
  return {
    seconds: seconds + (extra & EPOCH_BITS) * 2 ** 32,
    nanoseconds: extra >>> NANOSECONDS_SHIFT,
  }
}

/** The old form, 8 bits each, stands in the first word, the new one in the second (fs/ext4/inode.c:__ext4_iget). */
function deviceOf(mode: number, blockField: Uint8Array): number {
  const type = mode & S_IFMT
  if (type !== S_IFCHR && type !== S_IFBLK) return 0
  const reader = ByteReader.over(blockField, 'device number')
  const old = reader.u32()
  if (old !== 0) return packDevice((old >>> 8) & 0xff, old & 0xff)
  const device = reader.u32()
  return packDevice(majorOf(device), minorOf(device))
}
