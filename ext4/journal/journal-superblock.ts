import { DamageError, FsError, viewOf } from '../../src/base/index.ts'
import { CRC_START, crc32c } from '../common/checksums.ts'
import { JOURNAL_MAGIC } from '../volume/volume.ts'

/** Types of blocks (include/linux/jbd2.h); the superblock of a journal is of the first or of the second revision. */
const SUPERBLOCK_V1 = 3
const SUPERBLOCK_V2 = 4
const SUPERBLOCK_SIZE = 1024
const CHECKSUM_AT = 0xfc
const CHECKSUM_CRC32C = 4
/** Blocks for fast commits where their number is 0. */
const FAST_COMMIT_BLOCKS = 256
/** A journal without room for that many beside fast commits has none for them (fs/jbd2/journal.c). */
const MIN_BLOCKS = 1024

const COMPAT_CHECKSUM = 0x1
const INCOMPAT = {
  revoke: 0x1,
  '64bit': 0x2,
  async_commit: 0x4,
  checksum_v2: 0x8,
  checksum_v3: 0x10,
  fast_commit: 0x20,
} as const
const KNOWN = Object.values(INCOMPAT).reduce((sum, bit) => sum | bit, 0)

/** The superblock of a journal, valid (ext4: Journal, Super Block). */
export interface JournalSuperblock {
  /** Blocks of the log: from `first` up to `end`, where it goes on at `first`. */
  readonly first: number
  readonly end: number
  /** Blocks of fast commits: behind block `end`, which is not used, up to this. */
  readonly fastCommitEnd: number
  /** Number of the first transaction, and the block where it begins; 0 where the journal is empty. */
  readonly sequence: number
  readonly start: number
  readonly is64Bit: boolean
  /** What checksums begin with; undefined where blocks have none. */
  readonly checksumSeed: number | undefined
  /** Tags have 16 bits of a checksum, or all 32. */
  readonly checksums: 'none' | 'v2' | 'v3'
  /** The commit block has a checksum of all blocks of its transaction. */
  readonly hasCommitSums: boolean
  readonly isAsync: boolean
  readonly hasFastCommits: boolean
}

/**
 * @param block the first of the journal. @param position of its bytes in the source
 * @param blocks of the journal. @param blockSize of the file system
 * @throws FsError EINVAL for a feature that is not known; DamageError
 */
export function decodeJournalSuperblock(
  block: Uint8Array,
  label: string,
  position: number,
  blocks: number,
  blockSize: number,
): JournalSuperblock {
  const damage = (what: string): Error =>
    new DamageError(label, position, `${label}: superblock of the journal at byte ${position}: ${what}`)
  const view = viewOf(block)
  const word = (at: number): number => view.getUint32(at)
  if (word(0) !== JOURNAL_MAGIC) throw damage(`magic number 0x${word(0).toString(16)}`)
  const type = word(4)
  if (type !== SUPERBLOCK_V1 && type !== SUPERBLOCK_V2) throw damage(`type ${type}`)
  if (word(12) !== blockSize) throw damage(`blocks of ${word(12)} bytes, expected ${blockSize}`)
  const hasFeatures = type === SUPERBLOCK_V2
  const compat = hasFeatures ? word(36) : 0
  const incompat = hasFeatures ? word(40) : 0
  if ((incompat & ~KNOWN) !== 0) {
    const bits = `0x${((incompat & ~KNOWN) >>> 0).toString(16)}`
    throw new FsError('EINVAL', `${label}: journal with features that cannot be read: ${bits}`)
  }
  const isV2 = (incompat & INCOMPAT.checksum_v2) !== 0
  const isV3 = (incompat & INCOMPAT.checksum_v3) !== 0
  const hasCommitSums = (compat & COMPAT_CHECKSUM) !== 0
  if ((isV2 && isV3) || ((isV2 || isV3) && hasCommitSums)) throw damage('more than one sort of checksums')
  if (isV2 || isV3) {
    const stored = word(CHECKSUM_AT)
    const copy = block.slice(0, SUPERBLOCK_SIZE)
    copy.fill(0, CHECKSUM_AT, CHECKSUM_AT + 4)
    const expected = crc32c(CRC_START, copy)
    if (view.getUint8(80) !== CHECKSUM_CRC32C) throw damage(`checksums of type ${view.getUint8(80)}`)
    if (stored !== expected) {
      throw damage(`checksum 0x${stored.toString(16)}, expected 0x${expected.toString(16)}`)
    }
  }
  const length = word(16)
  const first = word(20)
  const start = word(28)
  const hasFastCommits = (incompat & INCOMPAT.fast_commit) !== 0
  const fast = hasFastCommits ? word(84) || FAST_COMMIT_BLOCKS : 0
  const end = length - fast >= MIN_BLOCKS ? length - fast : length
  if (length > blocks) throw damage(`${length} blocks, its file has ${blocks}`)
  if (first === 0 || first >= end || start >= end || (start !== 0 && start < first)) {
    throw damage(`log from ${first} to ${end}, in use from ${start}`)
  }
  return {
    first,
    end,
    fastCommitEnd: length,
    sequence: word(24),
    start,
    is64Bit: (incompat & INCOMPAT['64bit']) !== 0,
    checksumSeed: isV2 || isV3 ? crc32c(CRC_START, block.subarray(48, 64)) : undefined,
    checksums: isV3 ? 'v3' : isV2 ? 'v2' : 'none',
    hasCommitSums,
    isAsync: (incompat & INCOMPAT.async_commit) !== 0,
    hasFastCommits,
  }
}
