import type { Inode } from '../inodes/inode.ts'
import { INCOMPAT } from '../superblock/features.ts'
import type { Volume } from '../volume/volume.ts'
import { type DirectoryBlocks, recordsAt } from './directory-blocks.ts'
import { hashName } from './name-hash.ts'

/** Of `dx_root_info`, in the first block. */
const VERSION_AT = 28
const LEVELS_AT = 30
const FLAGS_AT = 31
/** Blocks of the index below the root; one more with the feature `large_dir`. */
const MAX_LEVELS = 2
const RECORD_SIZE = 8
/** `dx_get_block`: the upper bits have no meaning yet. */
const BLOCK_MASK = 0x0fff_ffff

/** A block of the index: records of a hash and the block in which names from that hash on are. The first hash counts as 0. */
interface IndexNode {
  readonly view: DataView
  readonly at: number
  readonly count: number
}

/**
 * The index of a directory (ext4: Hash Tree Directories; fs/ext4/namei.c:dx_probe).
 * @returns the blocks in which a name can be, nearly always one; undefined where the index is of a sort that is not known,
 *   and the directory must be read as a list
 * @throws FsError EIO
 */
export function leavesFor(blocks: DirectoryBlocks, inode: Inode, name: Buffer): Iterable<number> | undefined {
  const { volume } = blocks
  const { view } = blocks.indexBlock(inode, 0).content
  const { hashSeed: seed, hashIsUnsigned: isUnsigned, features } = volume.superblock
  const isLarge = (features.incompat & INCOMPAT.large_dir) !== 0
  const levels = view.getUint8(LEVELS_AT)
  const hash = hashName(name, { version: view.getUint8(VERSION_AT), seed, isUnsigned })
  if (recordsAt(view) === undefined || hash === undefined) return undefined
  if (levels > MAX_LEVELS + (isLarge ? 1 : 0) || (view.getUint8(FLAGS_AT) & 1) !== 0) return undefined
  return leavesBelow(blocks, inode, 0, levels, hash)
}

/** Names of one hash may go on in the next block, whose hash then is the same but for its lowest bit. */
function* leavesBelow(
  blocks: DirectoryBlocks,
  inode: Inode,
  index: number,
  levels: number,
  hash: number,
): Generator<number, void> {
  const node = nodeAt(blocks, inode, index)
  const first = lastNotAbove(node, hash)
  for (let i = first; i < node.count; i++) {
    if (i > first && (hashAt(node, i) & ~1) >>> 0 !== hash) return
    const child = node.view.getUint32(node.at + i * RECORD_SIZE + 4, true) & BLOCK_MASK
    if (levels === 0) yield child
    else yield* leavesBelow(blocks, inode, child, levels - 1, hash)
  }
}

function nodeAt(blocks: DirectoryBlocks, inode: Inode, index: number): IndexNode {
  const { volume } = blocks
  assertInside(volume, inode, index)
  const { block, content } = blocks.indexBlock(inode, index)
  const { view } = content
  const at = recordsAt(view)
  const limit = at === undefined ? 0 : view.getUint16(at, true)
  const count = at === undefined ? 0 : view.getUint16(at + 2, true)
  if (at === undefined || count === 0 || count > limit || at + limit * RECORD_SIZE > view.byteLength) {
    throw volume.damage(block, `directory ${inode.number}: index: ${count} of ${limit} records`)
  }
  return { view, at, count }
}

/** @throws DamageError for a block behind the end of the directory */
export function assertInside(volume: Volume, inode: Inode, index: number): void {
  const count = Math.ceil(inode.size / volume.superblock.blockSize)
  if (index < count) return
  throw volume.damage(0, `directory ${inode.number}: index names block ${index} of ${count}`)
}

function hashAt({ view, at }: IndexNode, i: number): number {
  return i === 0 ? 0 : view.getUint32(at + i * RECORD_SIZE, true)
}

function lastNotAbove(node: IndexNode, hash: number): number {
  let low = 1
  let high = node.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (hashAt(node, middle) <= hash) low = middle + 1
    else high = middle
  }
  return low - 1
}
