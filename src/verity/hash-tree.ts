import { type ByteSource, LruCache } from '../base/index.ts'
import { type BlockDigest, blockDigest, toHex } from './block-digest.ts'
import type { VerityCounters, VerityFailure } from './failure.ts'
import { type HashTreeGeometry, treeGeometry } from './geometry.ts'
import { checkParameters, parseRootHash, type VerityTable } from './table.ts'

/** Bytes of verified hash blocks kept by default: with 4 KiB blocks and SHA-256 they cover 128 MiB of data. */
export const DEFAULT_CACHE_BYTES = 1 << 20

/**
 * The hash tree of one image, read from its source as needed. A hash block is used only after its own digest
 * was found in its parent, and so on up to the root hash. Verified blocks are kept as binary strings, which
 * nothing can change afterwards. Not for use by several threads.
 */
export class HashTree {
  readonly geometry: HashTreeGeometry
  readonly counters: VerityCounters
  readonly #source: ByteSource
  readonly #label: string
  readonly #root: string
  readonly #dataDigest: BlockDigest
  readonly #hashDigest: BlockDigest
  /** By byte position, which is unique in all levels. */
  readonly #cache: LruCache<number, string>
  readonly #scratch: Buffer
  // The hash block of the previous data block: a sequential reader asks 127 of 128 times for the same.
  #leafIndex = -1
  #leaf = ''

  /**
   * @param source where the hash blocks are
   * @param label named in failures
   * @param counters where to count: for instance memory that other threads see
   * @throws FsError EIO, EINVAL for values outside the format; nothing is read
   */
  constructor(
    source: ByteSource,
    table: VerityTable,
    label: string,
    cacheBytes = DEFAULT_CACHE_BYTES,
    counters: VerityCounters = { blocksChecked: 0, hashBlocksChecked: 0, failures: 0 },
  ) {
    this.counters = counters
    const algorithm = checkParameters(table, `layer ${label}: verity parameters`)
    this.geometry = treeGeometry(table, algorithm.digestSize, table.treeOffset)
    this.#source = source
    this.#label = label
    this.#root = parseRootHash(table.rootHash, algorithm, `layer ${label}`)
    this.#dataDigest = blockDigest(algorithm, table.hashType, table.salt, table.dataBlockSize)
    this.#hashDigest = blockDigest(algorithm, table.hashType, table.salt, table.hashBlockSize)
    this.#cache = new LruCache(cacheBytes)
    this.#scratch = Buffer.alloc(table.hashBlockSize)
  }

  /** Bytes of verified hash blocks held; at most the limit given. */
  get cachedBytes(): number {
    return this.#cache.cost
  }

  /**
   * Compares the bytes of one data block with the tree.
   * @param block its number, below `geometry.dataBlocks`
   * @returns the first mismatch on the way from the root hash to the data, or undefined where all is well
   * @throws FsError EIO where a hash block cannot be read
   */
  checkData(block: number, bytes: Uint8Array): VerityFailure | undefined {
    const { dataBlockSize, hashesPerBlock, slotSize, levels } = this.geometry
    let digests = this.#root
    let slot = 0
    if (levels.length > 0) {
      const index = Math.floor(block / hashesPerBlock)
      if (index !== this.#leafIndex) {
        const leaf = this.#hashBlock(0, index)
        if (typeof leaf !== 'string') return leaf
        this.#leaf = leaf
        this.#leafIndex = index
      }
      digests = this.#leaf
      slot = (block - index * hashesPerBlock) * slotSize
    }
    this.counters.blocksChecked += 1
    const actual = this.#dataDigest(bytes)
    if (digests.startsWith(actual, slot)) return undefined
    return this.#failure(undefined, block, block * dataBlockSize, digests, slot, actual)
  }

  /**
   * Compares the root block of the tree with the root hash. A tree without levels has none.
   * @throws FsError EIO where it cannot be read
   */
  checkRoot(): VerityFailure | undefined {
    const top = this.geometry.levels.length - 1
    if (top < 0) return undefined
    const root = this.#hashBlock(top, 0)
    return typeof root === 'string' ? undefined : root
  }

  /** Whether `checkData` of these data blocks would not have to wait for a hash block. @param first number of a block */
  isAtHand(first: number, count: number): boolean {
    if (this.geometry.levels.length === 0) return true
    const { hashesPerBlock } = this.geometry
    const last = Math.floor((first + count - 1) / hashesPerBlock)
    for (let index = Math.floor(first / hashesPerBlock); index <= last; index++) {
      if (!this.#isHashBlockAtHand(index)) return false
    }
    return true
  }

  /** Begins to read the lowest hash blocks of these data blocks: those above them are few and soon kept. */
  willNeed(first: number, count: number): void {
    const { hashBlockSize, hashesPerBlock, levels } = this.geometry
    const start = levels[0]?.start
    if (start === undefined || count < 1) return
    const from = Math.floor(first / hashesPerBlock)
    const to = Math.floor((first + count - 1) / hashesPerBlock)
    this.#source.willNeed?.(start + from * hashBlockSize, (to - from + 1) * hashBlockSize)
  }

  /** @param leaf index of a hash block of the lowest level: it, and what it is checked with up to a kept one */
  #isHashBlockAtHand(leaf: number): boolean {
    const { hashBlockSize, hashesPerBlock, levels } = this.geometry
    if (leaf === this.#leafIndex) return true
    let index = leaf
    for (const level of levels) {
      const position = level.start + index * hashBlockSize
      if (this.#cache.has(position)) return true
      if (this.#source.isAtHand?.(position, hashBlockSize) === false) return false
      index = Math.floor(index / hashesPerBlock)
    }
    return true
  }

  #hashBlock(level: number, index: number): string | VerityFailure {
    const { hashBlockSize, hashesPerBlock, slotSize, levels } = this.geometry
    const position = (levels[level]?.start ?? 0) + index * hashBlockSize
    const cached = this.#cache.get(position)
    if (cached !== undefined) return cached

    let digests = this.#root
    let slot = 0
    if (level + 1 < levels.length) {
      const parentIndex = Math.floor(index / hashesPerBlock)
      const parent = this.#hashBlock(level + 1, parentIndex)
      if (typeof parent !== 'string') return parent
      digests = parent
      slot = (index - parentIndex * hashesPerBlock) * slotSize
    }
    this.#source.readInto(position, this.#scratch)
    this.counters.hashBlocksChecked += 1
    const actual = this.#hashDigest(this.#scratch)
    if (!digests.startsWith(actual, slot)) {
      return this.#failure(level, index, position, digests, slot, actual)
    }
    const verified = this.#scratch.toString('latin1')
    this.#cache.set(position, verified, hashBlockSize)
    return verified
  }

  #failure(
    level: number | undefined,
    block: number,
    position: number,
    digests: string,
    slot: number,
    actual: string,
  ): VerityFailure {
    this.counters.failures += 1
    return {
      kind: level === undefined ? 'data' : 'hash',
      label: this.#label,
      level,
      block,
      position,
      expected: toHex(digests.slice(slot, slot + actual.length)),
      actual: toHex(actual),
    }
  }
}
