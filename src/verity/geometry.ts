import { FsError } from '../base/index.ts'
import { VERITY_SUPERBLOCK_SIZE } from './superblock.ts'
import type { VerityParameters } from './table.ts'

/** One level of the tree: consecutive hash blocks. */
export interface HashLevel {
  /** Byte position of its first block. */
  readonly start: number
  /** Number of hash blocks. */
  readonly blocks: number
}

/** Where everything of a hash tree lies. */
export interface HashTreeGeometry {
  readonly dataBlocks: number
  readonly dataBlockSize: number
  readonly hashBlockSize: number
  readonly digestSize: number
  /** Digests in one hash block: a power of two, at least 8. */
  readonly hashesPerBlock: number
  /** Bytes from one digest to the next. */
  readonly slotSize: number
  /**
   * Level 0 holds the digests of the data blocks, the last level is the single root block. On disk the root
   * comes first. Empty where there is only one data block: its digest is the root hash.
   */
  readonly levels: readonly HashLevel[]
  /** Byte position after the last hash block. */
  readonly treeEnd: number
  /** Data bytes that the tree covers. */
  readonly coveredBytes: number
}

/**
 * drivers/md/dm-verity-target.c:verity_ctr and cryptsetup's lib/verity/verity_hash.c:hash_levels. The number
 * of digests per block is rounded down to a power of two for both hash types. Type 1 spreads them evenly, so a
 * digest is padded to a power of two; type 0 packs them (a SHA-1 block: 128 slots of 20 bytes), and what
 * remains of the block is zero.
 * @param treeOffset byte position of the root block, a multiple of the hash block size
 * @throws FsError EIO where the offset is not such a multiple, or the tree would end beyond 2^53 bytes
 */
export function treeGeometry(
  parameters: VerityParameters,
  digestSize: number,
  treeOffset: number,
): HashTreeGeometry {
  const { hashType, dataBlocks, dataBlockSize, hashBlockSize } = parameters
  if (!Number.isSafeInteger(treeOffset) || treeOffset < 0 || treeOffset % hashBlockSize !== 0) {
    throw new FsError(
      'EIO',
      `hash tree at byte ${treeOffset}: no multiple of the hash block size ${hashBlockSize}`,
    )
  }
  const hashesPerBlock = 2 ** Math.floor(Math.log2(hashBlockSize / digestSize))
  const slotSize = hashType === 1 ? hashBlockSize / hashesPerBlock : digestSize
  const counts: number[] = []
  for (let blocks = dataBlocks; blocks > 1; ) {
    blocks = Math.ceil(blocks / hashesPerBlock)
    counts.push(blocks)
  }
  let end = treeOffset
  const levels = counts
    .reverse()
    .map((blocks) => {
      const start = end
      end += blocks * hashBlockSize
      return { start, blocks }
    })
    .reverse()
  if (!Number.isSafeInteger(end))
    throw new FsError('EIO', `hash tree at byte ${treeOffset} ends beyond 2^53 bytes`)
  const coveredBytes = dataBlocks * dataBlockSize
  return {
    dataBlocks,
    dataBlockSize,
    hashBlockSize,
    digestSize,
    hashesPerBlock,
    slotSize,
    levels,
    treeEnd: end,
    coveredBytes,
  }
}

/** Number of data blocks under one full hash block of a level. */
export function dataBlocksUnder(geometry: HashTreeGeometry, level: number): number {
  return geometry.hashesPerBlock ** (level + 1)
}

/** Where the tree of a superblock begins: the next hash block, counted from the start of the file. */
export function treeOffsetAfter(hashOffset: number, hashBlockSize: number): number {
  return roundUp(hashOffset + VERITY_SUPERBLOCK_SIZE, hashBlockSize)
}

/** The next multiple of `unit`, which is positive; exact up to 2^53. */
export function roundUp(value: number, unit: number): number {
  const rest = value % unit
  return rest === 0 ? value : value + (unit - rest)
}
