import { type ByteSource, DamageError, viewOf } from '../../src/base/index.ts'
import type { Superblock } from '../superblock/superblock.ts'
import { type JournalMap, NO_JOURNAL } from './journal-map.ts'
import { type CachedBlock, MetadataCache } from './metadata-cache.ts'

/** Where the bytes of a block lie in the source. */
export interface Place {
  readonly position: number
  /** Its first four bytes are zeros there, and stand for `JOURNAL_MAGIC`. */
  readonly isEscaped: boolean
}

/** The first bytes of blocks of the journal; a block of data that begins so is escaped there. Big-endian. */
export const JOURNAL_MAGIC = 0xc03b_3998

export interface VolumeOptions {
  readonly source: ByteSource
  readonly superblock: Superblock
  /** Digest or path, for messages. */
  readonly label: string
  readonly cache?: MetadataCache | undefined
  /** What its journal puts in the place of blocks. */
  readonly journal?: JournalMap | undefined
}

/** The blocks of one file system, as they are after the journal was replayed. */
export class Volume {
  readonly superblock: Superblock
  readonly label: string
  readonly journal: JournalMap
  readonly #source: ByteSource
  readonly #cache: ReturnType<MetadataCache['space']>

  constructor({ source, superblock, label, cache, journal }: VolumeOptions) {
    this.superblock = superblock
    this.label = label
    this.journal = journal ?? NO_JOURNAL
    this.#source = source
    this.#cache = (cache ?? new MetadataCache()).space()
  }

  /** @param block valid, see `assertBlocks` */
  place(block: number): Place {
    const { blockSize } = this.superblock
    const other = this.journal.find(block)
    return other ?? { position: block * blockSize, isEscaped: false }
  }

  /**
   * A block of metadata, from the cache or from the source.
   * @param user what the block is used as: `check` runs once for each
   * @param check throws where the block is damaged
   */
  block(number: number, user: string | number, check?: (block: CachedBlock) => void): CachedBlock {
    let content = this.#cache.get(number)
    if (content === undefined) {
      content = this.#read(number)
      this.#cache.set(number, content)
    }
    if (content.checkedFor !== user) {
      check?.(content)
      content.checkedFor = user
    }
    return content
  }

  /** Begins to read blocks that will soon be wanted. */
  willNeed(block: number, count: number): void {
    const { blockSize } = this.superblock
    this.#source.willNeed?.(block * blockSize, count * blockSize)
  }

  /** @throws DamageError where blocks lie outside the file system, or before its first group */
  assertBlocks(first: number, count: number, what: () => string): void {
    const { firstDataBlock, blockCount } = this.superblock
    if (first > firstDataBlock && first + count <= blockCount) return
    throw this.damage(0, `${what()}: blocks ${first}+${count} outside ${firstDataBlock}..${blockCount}`)
  }

  /** @param block number of the block where it was found; 0 for none */
  damage(block: number, what: string): DamageError {
    const position = block === 0 ? 0 : this.place(block).position
    const where = block === 0 ? '' : `block ${block} at byte ${position}: `
    return new DamageError(this.label, position, `${this.label}: ${where}${what}`)
  }

  /** The bytes of a block wherever it lies, past the cache. @throws FsError EIO */
  rawBlock(number: number): Buffer {
    const { position, isEscaped } = this.place(number)
    const bytes = Buffer.allocUnsafeSlow(this.superblock.blockSize)
    this.#source.readInto(position, bytes)
    if (isEscaped) bytes.writeUInt32BE(JOURNAL_MAGIC)
    return bytes
  }

  #read(number: number): CachedBlock {
    this.assertBlocks(number, 1, () => 'metadata')
    const bytes = this.rawBlock(number)
    return { bytes, view: viewOf(bytes), checkedFor: undefined }
  }
}
