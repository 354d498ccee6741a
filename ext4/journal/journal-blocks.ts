import { crc32c } from '../common/checksums.ts'
import type { JournalSuperblock } from './journal-superblock.ts'

/** Every block of the log that is no copy begins with magic number, type and number of its transaction; big-endian. */
export const HEADER_SIZE = 12
export const DESCRIPTOR_BLOCK = 1
export const COMMIT_BLOCK = 2
export const REVOKE_BLOCK = 5
/** A checksum at the end of descriptors and revocations. */
const TAIL_SIZE = 4
const NO_BYTES = new Uint8Array(TAIL_SIZE)

const REVOKE_HEADER_SIZE = 16
const UUID_SIZE = 16
/** Flags of a tag (include/linux/jbd2.h). */
const ESCAPED = 1
const SAME_UUID = 2
const LAST_TAG = 8

/** One copy that follows a descriptor. */
export interface Tag {
  /** Its place in the file system. */
  readonly block: number
  readonly isEscaped: boolean
  /** 16 or 32 bits, by the sort of checksums. */
  readonly checksum: number
}

function tailSize({ checksumSeed }: JournalSuperblock): number {
  return checksumSeed === undefined ? 0 : TAIL_SIZE
}

/** fs/jbd2/journal.c:journal_tag_bytes. */
function tagSize({ checksums, is64Bit }: JournalSuperblock): number {
  if (checksums === 'v3') return 16
  const size = checksums === 'v2' ? 14 : 12
  return is64Bit ? size : size - 4
}

/** The tags of a descriptor: as many copies follow it. */
export function decodeTags(view: DataView, superblock: JournalSuperblock): Tag[] {
  const size = tagSize(superblock)
  const { checksums, is64Bit } = superblock
  const end = view.byteLength - tailSize(superblock)
  const tags: Tag[] = []
  for (let at = HEADER_SIZE; at + size <= end; ) {
    // Where checksums have 32 bits, so have the flags, and their lower half stands in the same place.
    const flags = view.getUint16(at + 6)
    const high = is64Bit ? view.getUint32(at + 8) : 0
    const checksum = checksums === 'v3' ? view.getUint32(at + 12) : view.getUint16(at + 4)
    tags.push({
      block: high * 2 ** 32 + view.getUint32(at),
      isEscaped: (flags & ESCAPED) !== 0,
      checksum,
    })
    at += size + ((flags & SAME_UUID) === 0 ? UUID_SIZE : 0)
    if ((flags & LAST_TAG) !== 0) break
  }
  return tags
}

/** Blocks that a transaction gave up; undefined where the block says more than it holds. */
export function decodeRevocations(view: DataView, superblock: JournalSuperblock): number[] | undefined {
  const length = view.getUint32(HEADER_SIZE)
  if (length > view.byteLength - tailSize(superblock)) return undefined
  const size = superblock.is64Bit ? 8 : 4
  const blocks: number[] = []
  for (let at = REVOKE_HEADER_SIZE; at + size <= length; at += size) {
    const high = superblock.is64Bit ? view.getUint32(at) * 2 ** 32 : 0
    blocks.push(high + view.getUint32(at + size - 4))
  }
  return blocks
}

/** Whether the checksum at the end of a descriptor or of revocations is right, or there is none to be. */
export function isBlockIntact(
  bytes: Uint8Array,
  view: DataView,
  { checksumSeed }: JournalSuperblock,
): boolean {
  if (checksumSeed === undefined) return true
  const tail = bytes.length - TAIL_SIZE
  return crc32c(crc32c(checksumSeed, bytes, 0, tail), NO_BYTES) === view.getUint32(tail)
}

/** The checksum of a commit block stands in it. */
export const COMMIT_SUM_AT = 16
const COMMIT_TIME_AT = 48

/**
 * Whether the checksum of a commit block holds (fs/jbd2/recovery.c:jbd2_commit_block_csum_verify); true in a
 * journal without.
 */
export function isCommitIntact(
  bytes: Uint8Array,
  view: DataView,
  { checksumSeed }: JournalSuperblock,
): boolean {
  if (checksumSeed === undefined) return true
  const before = crc32c(crc32c(checksumSeed, bytes, 0, COMMIT_SUM_AT), NO_BYTES)
  return crc32c(before, bytes, COMMIT_SUM_AT + TAIL_SIZE) === view.getUint32(COMMIT_SUM_AT)
}

/** Seconds since 1970. */
export function commitTime(view: DataView): number {
  return view.getUint32(COMMIT_TIME_AT) * 2 ** 32 + view.getUint32(COMMIT_TIME_AT + 4)
}

/**
 * Whether the checksum of all blocks of a transaction, as the feature `checksum` has it, is right or was not made.
 * @param sum of the blocks before the commit
 */
export function isCommitSum(view: DataView, sum: number): boolean {
  const [type, size] = [view.getUint8(12), view.getUint8(13)]
  const stored = view.getUint32(COMMIT_SUM_AT)
  return (type === 1 && size === 4 && stored === sum) || (type === 0 && size === 0 && stored === 0)
}

/** Whether a copy is what its tag says (fs/jbd2/recovery.c:jbd2_block_tag_csum_verify). */
export function isCopyIntact(
  bytes: Uint8Array,
  { checksum }: Tag,
  sequence: number,
  { checksumSeed, checksums }: JournalSuperblock,
): boolean {
  if (checksumSeed === undefined) return true
  const number = new Uint8Array(4)
  new DataView(number.buffer).setUint32(0, sequence)
  const sum = crc32c(crc32c(checksumSeed, number), bytes)
  return checksum === (checksums === 'v3' ? sum : sum & 0xffff)
}
