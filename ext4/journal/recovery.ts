import { CRC_START, crc32BigEndian } from '../common/checksums.ts'
import type { JournalCopy } from '../volume/journal-map.ts'
import { JOURNAL_MAGIC } from '../volume/volume.ts'
import {
  COMMIT_BLOCK,
  commitTime,
  DESCRIPTOR_BLOCK,
  decodeRevocations,
  decodeTags,
  isBlockIntact,
  isCommitIntact,
  isCommitSum,
  isCopyIntact,
  REVOKE_BLOCK,
  type Tag,
} from './journal-blocks.ts'
import type { JournalSuperblock } from './journal-superblock.ts'
import type { Log } from './log.ts'

/** Copies and revocations of one journal, of some 100 bytes each while it is read. */
const RECORDS_MAX = 1 << 20

/** A copy of a committed transaction. */
interface LoggedCopy extends Tag {
  /** Its block in the log. */
  readonly at: number
  readonly sequence: number
}

/** What the committed transactions of a journal hold. */
export interface Recovery {
  /** By the number of the block in the file system. */
  readonly copies: ReadonlyMap<number, JournalCopy>
  readonly transactions: number
  /** Number of the transaction that would have come next. */
  readonly next: number
}

/**
 * Does what recovery does (fs/jbd2/recovery.c), but for writing: of each block, the copy of the last transaction counts
 * that was committed and did not give the block up later. The first transaction without a commit ends the log.
 * @throws FsError EIO where a checksum is wrong that had to be right
 */
export function recover(log: Log, superblock: JournalSuperblock): Recovery {
  const walk = new LogWalk(log, superblock)
  if (superblock.start !== 0) walk.run()
  const { copies, revocations, transactions, sequence: next } = walk
  const latest = new Map<number, LoggedCopy>()
  for (const copy of copies) {
    if (isRevoked(revocations.get(copy.block), copy.sequence)) continue
    latest.set(copy.block, copy)
  }
  const result = new Map<number, JournalCopy>()
  for (const [block, copy] of latest) {
    if (!isCopyIntact(log.read(copy.at).bytes, copy, copy.sequence, superblock)) {
      throw log.damage(copy.at, `copy of block ${block}: wrong checksum`)
    }
    result.set(block, { position: log.position(copy.at), isEscaped: copy.isEscaped })
  }
  return { copies: result, transactions, next }
}

/** Numbers of transactions wrap. */
function isRevoked(by: number | undefined, sequence: number): boolean {
  return by !== undefined && ((sequence - by) | 0) <= 0
}

/** A walk over the log, transaction by transaction. */
class LogWalk {
  readonly copies: LoggedCopy[] = []
  /** Of each block that was given up: the last transaction that did. */
  readonly revocations = new Map<number, number>()
  transactions = 0
  sequence: number
  readonly #log: Log
  readonly #superblock: JournalSuperblock
  #at: number
  /** Blocks of the log that the walk may still enter. */
  #left: number
  #records = 0
  // Of the transaction under way.
  #copies: LoggedCopy[] = []
  #revoked: number[] = []
  #sum = CRC_START
  /** The first block whose checksum is wrong: left over from an earlier use of the journal, or damage. */
  #suspect: number | undefined
  #lastCommit = 0

  constructor(log: Log, superblock: JournalSuperblock) {
    this.#log = log
    this.#superblock = superblock
    this.sequence = superblock.sequence
    this.#at = superblock.start
    this.#left = superblock.end - superblock.first
  }

  run(): void {
    for (;;) {
      if (this.#left === 0) return
      const at = this.#take()
      const { bytes, view } = this.#log.read(at)
      if (view.getUint32(0) !== JOURNAL_MAGIC || view.getUint32(8) !== this.sequence) return
      const type = view.getUint32(4)
      if (type === DESCRIPTOR_BLOCK) this.#descriptor(at, bytes, view)
      else if (type === REVOKE_BLOCK) this.#revocation(at, bytes, view)
      else if (type !== COMMIT_BLOCK || !this.#commit(at, bytes, view)) return
    }
  }

  /** The next block of the log. @throws FsError EIO where the log is longer than the journal */
  #take(): number {
    const { first, end } = this.#superblock
    const at = this.#at
    if (this.#left === 0) throw this.#log.damage(at, 'the log overtakes itself')
    this.#left -= 1
    this.#at = at + 1 === end ? first : at + 1
    return at
  }

  #descriptor(at: number, bytes: Uint8Array, view: DataView): void {
    if (!isBlockIntact(bytes, view, this.#superblock)) this.#suspect ??= at
    const { hasCommitSums } = this.#superblock
    if (hasCommitSums) this.#sum = crc32BigEndian(this.#sum, bytes)
    for (const tag of decodeTags(view, this.#superblock)) {
      const copy = { ...tag, at: this.#take(), sequence: this.sequence }
      if (hasCommitSums) this.#sum = crc32BigEndian(this.#sum, this.#log.read(copy.at).bytes)
      this.#count(at, 1)
      this.#copies.push(copy)
    }
  }

  #revocation(at: number, bytes: Uint8Array, view: DataView): void {
    const blocks = decodeRevocations(view, this.#superblock)
    if (!isBlockIntact(bytes, view, this.#superblock)) this.#suspect ??= at
    else if (blocks === undefined) throw this.#log.damage(at, 'more revocations than it has room for')
    this.#count(at, blocks?.length ?? 0)
    for (const block of blocks ?? []) this.#revoked.push(block)
  }

  /** @returns whether the log goes on. @throws FsError EIO */
  #commit(at: number, bytes: Uint8Array, view: DataView): boolean {
    const time = commitTime(view)
    // What an earlier use of the journal left behind is older than what was committed before it.
    const isOld = time < this.#lastCommit
    if (this.#suspect !== undefined) {
      if (isOld) return false
      throw this.#log.damage(this.#suspect, `transaction ${this.sequence}: wrong checksum`)
    }
    const { hasCommitSums } = this.#superblock
    const isIntact =
      (!hasCommitSums || isCommitSum(view, this.#sum)) && isCommitIntact(bytes, view, this.#superblock)
    if (!isIntact) {
      // With `journal_async_commit` it is written beside its transaction, and a crash may have kept only it.
      if (isOld || this.#superblock.isAsync) return false
      throw this.#log.damage(at, `commit of transaction ${this.sequence}: wrong checksum`)
    }
    for (const block of this.#revoked) this.revocations.set(block, this.sequence)
    for (const copy of this.#copies) this.copies.push(copy)
    this.#revoked = []
    this.#copies = []
    this.#sum = CRC_START
    this.#lastCommit = time
    this.sequence = (this.sequence + 1) >>> 0
    this.transactions += 1
    return true
  }

  #count(at: number, records: number): void {
    this.#records += records
    if (this.#records > RECORDS_MAX) throw this.#log.damage(at, `more than ${RECORDS_MAX} records`)
  }
}
