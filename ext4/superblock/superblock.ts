import { ByteReader, type ByteSource, DamageError, FsError } from '../../src/base/index.ts'
import { CRC_START, crc32c } from '../common/checksums.ts'
import { COMPAT, type Features, INCOMPAT, RO_COMPAT, unreadableFeatures } from './features.ts'

/** The superblock lies there whatever the block size is. */
export const SUPERBLOCK_POSITION = 1024
export const SUPERBLOCK_SIZE = 1024
const CHECKSUM_POSITION = 0x3fc

const MAGIC = 0xef53
const MAGIC_POSITION = SUPERBLOCK_POSITION + 0x38
const REVISION_POSITION = SUPERBLOCK_POSITION + 0x4c

/** `s_rev_level` of file systems without features and with inodes of 128 bytes. */
const OLD_REVISION = 0
const MAX_REVISION = 1
/** Bytes of an inode that all revisions have. */
export const OLD_INODE_SIZE = 128
const MAX_LOG_BLOCK_SIZE = 6
const DESCRIPTOR_SIZE = 32
const DESCRIPTOR_SIZE_64 = 64
const MAX_DESCRIPTOR_SIZE = 1024
/** Blocks have numbers below this, so that cache keys are exact: 2 PiB in the smallest blocks. */
const MAX_BLOCKS = 2 ** 41
/** `s_state`: the file system was in order when it was last unmounted; and it was found not to be. */
const VALID_STATE = 1
const ERROR_STATE = 2
/** `s_flags`: the hashes of names take characters as unsigned. */
const UNSIGNED_HASH = 2

/** The superblock, valid: every size in it fits the others and the source (ext4: Super Block). */
export interface Superblock {
  readonly inodeCount: number
  readonly blockCount: number
  readonly reservedBlocks: number
  readonly freeBlocks: number
  readonly freeInodes: number
  /** Blocks before the first group. */
  readonly firstDataBlock: number
  readonly blockSize: number
  readonly blocksPerGroup: number
  readonly inodesPerGroup: number
  readonly groupCount: number
  readonly inodeSize: number
  readonly descriptorSize: number
  readonly features: Features
  /** `clean`, `not clean` or `has errors`. */
  readonly state: string
  readonly uuid: Uint8Array
  readonly volumeName: string
  /** Seconds since 1970. */
  readonly mkfsTime: number
  readonly writeTime: number
  readonly mountTime: number
  /** KiB written since it was made. */
  readonly written: number
  readonly journalInode: number
  /** Number of the device that has the journal; 0 where the journal is within. */
  readonly journalDevice: number
  readonly firstMetaGroup: number
  /** The groups with copies of the superblock, where the feature `sparse_super2` says so. */
  readonly backupGroups: readonly [number, number]
  readonly hashSeed: Uint32Array
  readonly hashIsUnsigned: boolean
  /** What every checksum of metadata begins with; undefined where there is none. */
  readonly checksumSeed: number | undefined
  /** What checksums of values of attributes begin with, which are there without the others. */
  readonly valueSeed: number
}

/** Whether a file that begins with these bytes may be such a file system: magic number and revision. */
export function looksLikeExt(head: Uint8Array): boolean {
  if (head.length < SUPERBLOCK_POSITION + SUPERBLOCK_SIZE) return false
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  return (
    view.getUint16(MAGIC_POSITION, true) === MAGIC && view.getUint32(REVISION_POSITION, true) <= MAX_REVISION
  )
}

/**
 * The copies of the superblock in other groups are never used instead: they are old, and `e2fsck` knows how to.
 * @throws FsError EINVAL for what is no ext file system, or one with a feature that cannot be read; EIO for damage
 */
export function readSuperblock(source: ByteSource): Superblock {
  if (source.size < SUPERBLOCK_POSITION + SUPERBLOCK_SIZE) {
    throw new FsError('EINVAL', `${source.label}: no ext2, ext3 or ext4 file system: ${source.size} bytes`)
  }
  const bytes = new Uint8Array(SUPERBLOCK_SIZE)
  source.readInto(SUPERBLOCK_POSITION, bytes)
  return decodeSuperblock(bytes, source.label, source.size)
}

/** @param size bytes of the source. @throws FsError as `readSuperblock` */
export function decodeSuperblock(bytes: Uint8Array, label: string, size: number): Superblock {
  const raw = decodeFields(bytes, label)
  const { features } = raw
  if (raw.magic !== MAGIC) {
    const found = `expected ${hex(MAGIC)}, found ${hex(raw.magic)}`
    throw new FsError('EINVAL', `${label}: no ext2, ext3 or ext4 file system: magic number ${found}`)
  }
  if (raw.revision > MAX_REVISION) {
    throw new FsError('EINVAL', `${label}: ext file system of revision ${raw.revision}, known are 0 and 1`)
  }
  const unreadable = unreadableFeatures(features)
  if (unreadable.length > 0) {
    throw new FsError('EINVAL', `${label}: ext4 features that cannot be read: ${unreadable.join(', ')}`)
  }
  const hasChecksums = (features.roCompat & RO_COMPAT.metadata_csum) !== 0
  if (hasChecksums) {
    const sum = crc32c(CRC_START, bytes, 0, CHECKSUM_POSITION)
    if (raw.checksum !== sum) {
      throw damage(
        label,
        `checksum ${hex(raw.checksum)}, expected ${hex(sum)}; e2fsck can restore it from a copy`,
      )
    }
  }
  const is64Bit = (features.incompat & INCOMPAT['64bit']) !== 0
  const wide = (low: number, high: number): number => (is64Bit ? high * 2 ** 32 + low : low)
  if (raw.logBlockSize > MAX_LOG_BLOCK_SIZE) throw damage(label, `block size 2^${raw.logBlockSize + 10}`)
  const blockSize = 1024 << raw.logBlockSize
  const blockCount = wide(raw.blocksLow, raw.blocksHigh)
  const { firstDataBlock, blocksPerGroup, inodesPerGroup, inodeCount } = raw
  const inodeSize = raw.revision === OLD_REVISION ? OLD_INODE_SIZE : raw.inodeSize
  if (inodeSize < OLD_INODE_SIZE || inodeSize > blockSize || !isPowerOfTwo(inodeSize)) {
    throw damage(label, `inodes of ${inodeSize} bytes in blocks of ${blockSize}`)
  }
  const descriptorSize = is64Bit ? raw.descriptorSize : DESCRIPTOR_SIZE
  const isFit = descriptorSize === DESCRIPTOR_SIZE || (is64Bit && descriptorSize >= DESCRIPTOR_SIZE_64)
  if (!isFit || descriptorSize > MAX_DESCRIPTOR_SIZE || !isPowerOfTwo(descriptorSize)) {
    throw damage(label, `group descriptors of ${descriptorSize} bytes`)
  }
  if (blockCount > MAX_BLOCKS || firstDataBlock > 1 || firstDataBlock >= blockCount) {
    throw damage(label, `${blockCount} blocks, the first at ${firstDataBlock}`)
  }
  if (blockCount * blockSize > size) {
    throw damage(
      label,
      `the file system ends at ${blockCount * blockSize}, and its file at ${size}: truncated`,
    )
  }
  if (blocksPerGroup === 0 || inodesPerGroup === 0 || inodesPerGroup > blockSize * 8) {
    throw damage(label, `${blocksPerGroup} blocks and ${inodesPerGroup} inodes a group`)
  }
  const groupCount = Math.ceil((blockCount - firstDataBlock) / blocksPerGroup)
  if (inodeCount !== groupCount * inodesPerGroup) {
    throw damage(label, `${inodeCount} inodes in ${groupCount} groups of ${inodesPerGroup}`)
  }
  const hasSeed = (features.incompat & INCOMPAT.metadata_csum_seed) !== 0
  const seed = hasSeed ? raw.checksumSeed : crc32c(CRC_START, raw.uuid)
  const hasJournal = (features.compat & COMPAT.has_journal) !== 0
  return {
    inodeCount,
    blockCount,
    reservedBlocks: Math.min(wide(raw.reservedLow, raw.reservedHigh), blockCount),
    freeBlocks: Math.min(wide(raw.freeLow, raw.freeHigh), blockCount),
    freeInodes: Math.min(raw.freeInodes, inodeCount),
    firstDataBlock,
    blockSize,
    blocksPerGroup,
    inodesPerGroup,
    groupCount,
    inodeSize,
    descriptorSize,
    features,
    state: stateOf(raw.state, features),
    uuid: raw.uuid,
    volumeName: raw.volumeName,
    mkfsTime: raw.mkfsTime,
    writeTime: raw.writeTime,
    mountTime: raw.mountTime,
    written: raw.written,
    journalInode: hasJournal ? raw.journalInode : 0,
    journalDevice: hasJournal ? raw.journalDevice : 0,
    firstMetaGroup: raw.firstMetaGroup,
    backupGroups: raw.backupGroups,
    hashSeed: raw.hashSeed,
    hashIsUnsigned: (raw.flags & UNSIGNED_HASH) !== 0,
    checksumSeed: hasChecksums ? seed : undefined,
    valueSeed: seed,
  }
}

/** A file system in use, or cut off, is not clean, and one whose journal was not replayed. */
function stateOf(state: number, { incompat }: Features): string {
  if ((state & ERROR_STATE) !== 0) return 'has errors'
  return (state & VALID_STATE) === 0 || (incompat & INCOMPAT.needs_recovery) !== 0 ? 'not clean' : 'clean'
}

/** All fields that are used, in their order. */
function decodeFields(bytes: Uint8Array, label: string) {
  const reader = ByteReader.over(bytes, `${label}: superblock`)
  const after = (length: number): ByteReader => {
    reader.skip(length)
    return reader
  }
  const fields = {
    inodeCount: reader.u32(),
    blocksLow: reader.u32(),
    reservedLow: reader.u32(),
    freeLow: reader.u32(),
    freeInodes: reader.u32(),
    firstDataBlock: reader.u32(),
    logBlockSize: reader.u32(),
    logClusterSize: reader.u32(),
    blocksPerGroup: reader.u32(),
    clustersPerGroup: reader.u32(),
    inodesPerGroup: reader.u32(),
    mountTime: reader.u32(),
    writeTime: reader.u32(),
    // The number of mounts, and after how many of them the file system is to be checked.
    magic: after(4).u16(),
    state: reader.u16(),
    // What to do on errors, the minor revision, when it was and is to be checked, and who made it.
    revision: after(16).u32(),
    // The owner of reserved blocks, the first inode that is not reserved.
    inodeSize: after(8).u16(),
    // The group of this copy.
    compat: after(2).u32(),
    incompat: reader.u32(),
    roCompat: reader.u32(),
    uuid: reader.bytes(16).slice(),
    volumeName: text(reader.bytes(16)),
    // Where it was mounted, how it was compressed, preallocation, room for growth, the journal's identity.
    journalInode: after(64 + 4 + 2 + 2 + 16).u32(),
    journalDevice: reader.u32(),
    // The list of orphans.
    hashSeed: words(after(4)),
    // The default hash, and the kind of the journal's backup.
    descriptorSize: after(2).u16(),
    // Mount options.
    firstMetaGroup: after(4).u32(),
    mkfsTime: reader.u32(),
    // The journal's backup.
    blocksHigh: after(68).u32(),
    reservedHigh: reader.u32(),
    freeHigh: reader.u32(),
    // How much of an inode is used, by those who write.
    flags: after(4).u32(),
    // RAID, mmp, groups of flex_bg, the kind of checksums.
    written: Number(after(2 + 2 + 8 + 4 + 1 + 1 + 2).u64()),
    // Snapshots, errors, mount options, quotas, overhead.
    backupGroups: [after(0x24c - 0x180).u32(), reader.u32()] as const,
    // Encryption, lost+found, projects.
    checksumSeed: after(0x270 - 0x254).u32(),
    checksum: after(CHECKSUM_POSITION - 0x274).u32(),
  }
  const { compat, incompat, roCompat } = fields
  const hasFeatures = fields.revision !== OLD_REVISION
  const features: Features = hasFeatures
    ? { compat, incompat, roCompat }
    : { compat: 0, incompat: 0, roCompat: 0 }
  // A group of clusters is one of blocks: bigalloc changes what is allocated, not where it lies.
  return { ...fields, features }
}

function words(reader: ByteReader): Uint32Array {
  return Uint32Array.from({ length: 4 }, () => reader.u32())
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8')
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}

function damage(label: string, what: string): DamageError {
  return new DamageError(label, SUPERBLOCK_POSITION, `${label}: ext4 superblock: ${what}`)
}
