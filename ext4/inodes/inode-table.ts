import { direntType, S_IFMT, unlessFailed } from '../../src/base/index.ts'
import { crc32c, crc32cOfWord } from '../common/checksums.ts'
import { OLD_INODE_SIZE } from '../superblock/superblock.ts'
import type { CachedBlock } from '../volume/metadata-cache.ts'
import type { Volume } from '../volume/volume.ts'
import { GroupTable } from './group-table.ts'
import { decodeInode, type Inode } from './inode.ts'

/** Decoded inodes kept, some 500 bytes each. */
const INODES_KEPT = 4093
/** Blocks of an inode table that are read ahead at once: as many as the kernel does (`inode_readahead_blks`). */
const READ_AHEAD = 32

/** Most blocks of a file: searches in it pass over holes up to its size. */
const FILE_BLOCKS = 2 ** 32

const GENERATION_AT = 0x64
const CHECKSUM_LOW_AT = 0x7c
const EXTRA_SIZE_AT = 0x80
const CHECKSUM_HIGH_AT = 0x82
const NO_BYTES = new Uint8Array(2)

/** Where the record of an inode lies. */
export interface InodeRecord {
  readonly blockNumber: number
  readonly block: CachedBlock
  /** Of the record in the block. */
  readonly start: number
}

/** The inodes of one file system, by their numbers. */
export class InodeTable {
  readonly #volume: Volume
  readonly #groups: GroupTable
  // Direct-mapped: lookup, getattr and read of one file decode its inode once.
  readonly #inodes: (Inode | undefined)[] = new Array<Inode | undefined>(INODES_KEPT).fill(undefined)
  /** Which stretch of blocks was read ahead last. */
  #ahead = -1

  constructor(volume: Volume) {
    this.#volume = volume
    this.#groups = new GroupTable(volume)
  }

  /** @throws DamageError for a number that is none, an inode that is not in use, and a wrong checksum */
  read(number: number): Inode {
    const slot = number % INODES_KEPT
    const known = this.#inodes[slot]
    if (known?.number === number) return known
    const inode = this.#decode(number)
    if (inode.nlink === 0 || !isType(inode.mode)) {
      const { blockNumber } = this.record(number)
      const found = `mode 0${inode.mode.toString(8)}, ${inode.nlink} links`
      throw this.#volume.damage(blockNumber, `inode ${number} is not in use: ${found}`)
    }
    this.#inodes[slot] = inode
    return inode
  }

  /** The inode where it is one in use. Damage is not told: those that were never used are not even checksummed. */
  peek(number: number): Inode | undefined {
    return unlessFailed(() => this.read(number))
  }

  /** @throws DamageError for a number that is none */
  record(number: number): InodeRecord {
    const { inodeCount, inodesPerGroup, inodeSize, blockSize } = this.#volume.superblock
    if (!(number >= 1 && number <= inodeCount)) {
      throw this.#volume.damage(0, `inode ${number} of ${inodeCount}`)
    }
    const group = Math.floor((number - 1) / inodesPerGroup)
    const offset = ((number - 1) % inodesPerGroup) * inodeSize
    const index = Math.floor(offset / blockSize)
    const blockNumber = this.#groups.inodeTable(group) + index
    this.#readAhead(blockNumber, Math.ceil((inodesPerGroup * inodeSize) / blockSize) - index)
    return { blockNumber, block: this.#volume.block(blockNumber, 'inodes'), start: offset % blockSize }
  }

  #decode(number: number): Inode {
    const { blockNumber, block, start } = this.record(number)
    const { superblock } = this.#volume
    const { view } = block
    const room = superblock.inodeSize - OLD_INODE_SIZE
    const extraSize = room === 0 ? 0 : view.getUint16(start + EXTRA_SIZE_AT, true)
    if (extraSize > room || extraSize % 4 !== 0) {
      throw this.#volume.damage(
        blockNumber,
        `inode ${number}: ${extraSize} of ${room} bytes of further fields`,
      )
    }
    const seed = this.#seed(number, view.getUint32(start + GENERATION_AT, true))
    if (seed !== undefined) this.#verify(seed, number, extraSize, blockNumber, block, start)
    const inode = decodeInode(view, start, number, superblock, extraSize, seed)
    if (inode.size > superblock.blockSize * FILE_BLOCKS) {
      throw this.#volume.damage(blockNumber, `inode ${number}: a size of ${inode.size} bytes`)
    }
    return inode
  }

  #seed(number: number, generation: number): number | undefined {
    const { checksumSeed } = this.#volume.superblock
    return checksumSeed === undefined
      ? undefined
      : crc32cOfWord(crc32cOfWord(checksumSeed, number), generation)
  }

  /** fs/ext4/inode.c:ext4_inode_csum. */
  #verify(
    seed: number,
    number: number,
    extraSize: number,
    blockNumber: number,
    { bytes, view }: CachedBlock,
    start: number,
  ): void {
    const end = start + this.#volume.superblock.inodeSize
    const isWide = OLD_INODE_SIZE + extraSize >= CHECKSUM_HIGH_AT + 2
    let sum = crc32c(seed, bytes, start, start + CHECKSUM_LOW_AT)
    sum = crc32c(sum, NO_BYTES)
    let from = start + CHECKSUM_LOW_AT + 2
    if (isWide) {
      sum = crc32c(sum, bytes, from, start + CHECKSUM_HIGH_AT)
      sum = crc32c(sum, NO_BYTES)
      from = start + CHECKSUM_HIGH_AT + 2
    }
    sum = crc32c(sum, bytes, from, end)
    const low = view.getUint16(start + CHECKSUM_LOW_AT, true)
    const stored = isWide ? view.getUint16(start + CHECKSUM_HIGH_AT, true) * 0x1_0000 + low : low
    const expected = isWide ? sum : sum & 0xffff
    if (stored === expected) return
    const sums = `checksum 0x${stored.toString(16)}, expected 0x${expected.toString(16)}`
    throw this.#volume.damage(blockNumber, `inode ${number}: ${sums}`)
  }

  #readAhead(block: number, rest: number): void {
    const stretch = Math.floor(block / READ_AHEAD)
    if (stretch === this.#ahead) return
    this.#ahead = stretch
    const count = Math.min(READ_AHEAD - (block % READ_AHEAD), rest)
    if (count > 1) this.#volume.willNeed(block, count)
  }
}

/** The types of files that there are. */
const TYPES = [0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000].map(direntType)

function isType(mode: number): boolean {
  return TYPES.includes((mode & S_IFMT) >>> 12)
}
