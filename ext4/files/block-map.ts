import { viewOf } from '../../src/base/index.ts'
import type { Inode } from '../inodes/inode.ts'
import type { Volume } from '../volume/volume.ts'
import { ALL_BLOCKS, type BlockRun, HOLE } from './block-run.ts'

/** Pointers of `i_block`: to blocks of the file, then to a block of pointers, and on over two and three of them. */
const DIRECT = 12
const MAX_LEVELS = 3
const POINTER_SIZE = 4
/** Pointers of one run that are looked at: enough for the largest request. */
const RUN_MAX = 2048

/**
 * Finds blocks of a file by direct and indirect pointers (ext4: Direct/Indirect Block Addressing).
 * @param wanted number of a block in the file
 * @returns a run that begins with that block
 * @throws DamageError
 */
export function findByPointers(volume: Volume, inode: Inode, wanted: number): BlockRun {
  const root = viewOf(inode.blockField)
  if (wanted < DIRECT) return runOf(volume, inode, root, wanted, DIRECT, 0)
  const perBlock = volume.superblock.blockSize / POINTER_SIZE
  let left = wanted - DIRECT
  for (let levels = 1, span = perBlock; levels <= MAX_LEVELS; levels++, span *= perBlock) {
    if (left < span)
      return below(volume, inode, root.getUint32((DIRECT + levels - 1) * POINTER_SIZE, true), left, span)
    left -= span
  }
  return { first: HOLE, count: ALL_BLOCKS - wanted }
}

/** @param span blocks of the file below the pointer. @param wanted number of a block among them */
function below(volume: Volume, inode: Inode, pointer: number, wanted: number, span: number): BlockRun {
  const perBlock = volume.superblock.blockSize / POINTER_SIZE
  let block = pointer
  let left = wanted
  for (let share = span / perBlock; ; share /= perBlock) {
    if (block === HOLE) return { first: HOLE, count: share * perBlock - left }
    volume.assertBlocks(block, 1, () => `inode ${inode.number}: block of pointers`)
    const { view } = volume.block(block, 'pointers')
    if (share === 1) return runOf(volume, inode, view, left, perBlock, block)
    block = view.getUint32(Math.floor(left / share) * POINTER_SIZE, true)
    left %= share
  }
}

/** The pointers from one on that lead to blocks one after the other, or all to none. */
function runOf(
  volume: Volume,
  inode: Inode,
  view: DataView,
  from: number,
  end: number,
  block: number,
): BlockRun {
  const first = view.getUint32(from * POINTER_SIZE, true)
  const step = first === HOLE ? 0 : 1
  const most = Math.min(end, from + RUN_MAX)
  let at = from + 1
  while (at < most && view.getUint32(at * POINTER_SIZE, true) === first + (at - from) * step) at++
  const count = at - from
  if (first !== HOLE) {
    volume.assertBlocks(
      first,
      count,
      () => `inode ${inode.number}: pointer ${from}${block === 0 ? '' : ` of block ${block}`}`,
    )
  }
  return { first, count }
}
