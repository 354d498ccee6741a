import { viewOf } from '../../src/base/index.ts'
import { crc32c } from '../common/checksums.ts'
import type { Inode } from '../inodes/inode.ts'
import type { CachedBlock } from '../volume/metadata-cache.ts'
import type { Volume } from '../volume/volume.ts'
import { ALL_BLOCKS, type BlockRun, HOLE } from './block-run.ts'

/** `eh_magic`, and sizes of the header, of the records of both sorts, and of the checksum behind the last of them. */
const MAGIC = 0xf30a
const HEADER_SIZE = 12
const RECORD_SIZE = 12
const TAIL_SIZE = 4
/** The deepest tree (fs/ext4/extents.c: EXT4_MAX_EXTENT_DEPTH). */
const MAX_DEPTH = 5
/** `ee_len` above this is of an extent that was allocated and never written: it reads as zeros. */
const MAX_LENGTH = 0x8000
/** Blocks of a file have numbers below this. */
const FILE_BLOCKS = 2 ** 32

/** A node of the tree, valid. */
interface Node {
  readonly view: DataView
  readonly count: number
  readonly depth: number
  /** Number of its block; 0 for the root, which lies in the inode. */
  readonly block: number
}

/**
 * Finds blocks of a file by its tree of extents (ext4: Extent Tree).
 * @param wanted number of a block in the file
 * @returns a run that begins with that block
 * @throws DamageError
 */
export function findByExtents(volume: Volume, inode: Inode, wanted: number): BlockRun {
  let end = ALL_BLOCKS
  let node = rootOf(volume, inode)
  for (;;) {
    const { view, count, depth } = node
    const at = lastNotAbove(view, count, wanted)
    const next = at + 1 < count ? firstBlockAt(view, at + 1) : end
    end = Math.min(end, next)
    if (at < 0) return { first: HOLE, count: end - wanted }
    const record = HEADER_SIZE + at * RECORD_SIZE
    if (depth === 0) return inExtent(view, record, wanted, end)
    const child = view.getUint16(record + 8, true) * 2 ** 32 + view.getUint32(record + 4, true)
    node = childOf(volume, inode, child, depth - 1)
  }
}

function inExtent(view: DataView, record: number, wanted: number, end: number): BlockRun {
  const { first, length, isWritten, start } = extentAt(view, record)
  const behind = first + length
  if (wanted >= behind) return { first: HOLE, count: end - wanted }
  return { first: isWritten ? start + (wanted - first) : HOLE, count: behind - wanted }
}

function extentAt(view: DataView, record: number) {
  const stored = view.getUint16(record + 4, true)
  const isWritten = stored <= MAX_LENGTH
  return {
    first: view.getUint32(record, true),
    length: isWritten ? stored : stored - MAX_LENGTH,
    isWritten,
    start: view.getUint16(record + 6, true) * 2 ** 32 + view.getUint32(record + 8, true),
  }
}

function firstBlockAt(view: DataView, index: number): number {
  return view.getUint32(HEADER_SIZE + index * RECORD_SIZE, true)
}

/** The last record that begins at or before a block; -1 where all begin behind it. */
function lastNotAbove(view: DataView, count: number, wanted: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (firstBlockAt(view, middle) <= wanted) low = middle + 1
    else high = middle
  }
  return low - 1
}

function rootOf(volume: Volume, inode: Inode): Node {
  const view = viewOf(inode.blockField)
  const depth = view.getUint16(6, true)
  if (depth > MAX_DEPTH) throw wrong(volume, inode, 0, `depth ${depth}, at most ${MAX_DEPTH}`)
  assertNode(volume, inode, view, depth, 0)
  return { view, count: view.getUint16(2, true), depth, block: 0 }
}

function childOf(volume: Volume, inode: Inode, block: number, depth: number): Node {
  volume.assertBlocks(block, 1, () => `inode ${inode.number}: extent tree`)
  const { view } = volume.block(block, `extents ${inode.number} ${depth}`, (content) => {
    assertNode(volume, inode, content.view, depth, block)
    assertChecksum(volume, inode, content, block)
  })
  return { view, count: view.getUint16(2, true), depth, block }
}

/** fs/ext4/extents.c:__ext4_ext_check. */
function assertNode(volume: Volume, inode: Inode, view: DataView, depth: number, block: number): void {
  const magic = view.getUint16(0, true)
  if (magic !== MAGIC) throw wrong(volume, inode, block, `magic number 0x${magic.toString(16)}`)
  const count = view.getUint16(2, true)
  const max = view.getUint16(4, true)
  const most = Math.floor((view.byteLength - HEADER_SIZE) / RECORD_SIZE)
  if (count > max || max > most)
    throw wrong(volume, inode, block, `${count} of ${max} records, room for ${most}`)
  const found = view.getUint16(6, true)
  if (found !== depth) throw wrong(volume, inode, block, `depth ${found}, expected ${depth}`)
  if (count === 0 && depth > 0) throw wrong(volume, inode, block, 'no records')
  let least = 0
  for (let i = 0; i < count; i++) {
    const first = firstBlockAt(view, i)
    if (first < least)
      throw wrong(volume, inode, block, `record ${i} begins at ${first}, expected ${least} or more`)
    if (depth > 0) {
      least = first + 1
      continue
    }
    const { length, start } = extentAt(view, HEADER_SIZE + i * RECORD_SIZE)
    if (length === 0 || first + length > FILE_BLOCKS) {
      throw wrong(volume, inode, block, `extent ${i} of ${length} blocks at ${first}`)
    }
    volume.assertBlocks(start, length, () => `inode ${inode.number}: extent ${i}`)
    least = first + length
  }
}

/** fs/ext4/extents.c:ext4_extent_block_csum. It stands behind the last record that there is room for. */
function assertChecksum(volume: Volume, inode: Inode, { bytes, view }: CachedBlock, block: number): void {
  if (inode.checksumSeed === undefined) return
  const at = HEADER_SIZE + view.getUint16(4, true) * RECORD_SIZE
  if (at + TAIL_SIZE > bytes.length) throw wrong(volume, inode, block, 'no room for its checksum')
  const stored = view.getUint32(at, true)
  const expected = crc32c(inode.checksumSeed, bytes, 0, at)
  if (stored === expected) return
  throw wrong(volume, inode, block, `checksum 0x${stored.toString(16)}, expected 0x${expected.toString(16)}`)
}

function wrong(volume: Volume, { number }: Inode, block: number, what: string): Error {
  return volume.damage(block, `inode ${number}: extent tree: ${what}`)
}
