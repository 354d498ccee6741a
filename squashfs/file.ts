import {
  type BlockRef,
  type ExtentSink,
  FsError,
  LruCache,
  Postponed,
  type SourceId,
  type Whence,
} from '../src/base/index.ts'
import {
  BlockIndexMemo,
  blockProblem,
  type DataBlock,
  type DataLimits,
  kindBitsOf,
  storedSizeOf,
} from './block-list.ts'
import type { LookupTable } from './lookup-table.ts'
import { blockCount, type Inode, NO_INDEX } from './metadata/inode.ts'
import { u64At } from './metadata/metadata-reference.ts'
import type { MetadataTable } from './metadata/metadata-table.ts'

export const FRAGMENT_ENTRY_SIZE = 16

/** Searches for data or holes that may go on later. */
const SEARCHES_MAX = 16

/** The parts of an image that its files need. */
export interface FileContext {
  readonly inodeTable: MetadataTable
  /** Undefined where the image has no fragments. */
  readonly fragments: LookupTable | undefined
  readonly blockSize: number
  readonly limits: DataLimits
  /** BlockRef.source of the image. */
  readonly sourceId: SourceId
  /** Called by long walks where they can go on later. @throws Postponed */
  readonly pause: () => void
}

/** Describes the content of files: blocks, holes and tail ends (squashfs: Data and Fragment Blocks). */
export class FileReader {
  readonly #context: FileContext
  readonly #memo = new BlockIndexMemo()
  /** Stretches of files without what was sought there, of searches that were postponed. */
  readonly #sought = new LruCache<string, { readonly from: number; readonly to: number }>(SEARCHES_MAX)

  constructor(context: FileContext) {
    this.#context = context
  }

  /**
   * The pieces of [offset, offset + length), clipped at the end of the file.
   * @throws FsError EIO where the block list or the fragment is damaged, EINVAL for a negative or fractional range
   */
  extents(inode: Inode, offset: number, length: number, sink: ExtentSink): void {
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
      throw new FsError('EINVAL', `range ${offset}+${length}`)
    }
    const end = Math.min(inode.size, offset + length)
    if (offset >= end) return
    const { blockSize } = this.#context
    const blocksEnd = Math.min(inode.size, blockCount(inode, blockSize) * blockSize)
    let at = offset
    if (at < blocksEnd) at = this.#blockExtents(inode, at, Math.min(end, blocksEnd), sink)
    if (at < end) {
      const fragment = this.#fragment(inode)
      sink.block(fragment, inode.fragmentOffset + (at - blocksEnd), end - at)
    }
  }

  /** @throws FsError ENXIO at or past the end, or where no data follows */
  seek(inode: Inode, offset: number, whence: Whence): number {
    if (!(offset >= 0 && offset < inode.size)) {
      throw new FsError('ENXIO', `offset ${offset} is not inside the ${inode.size} bytes of the file`)
    }
    const { blockSize } = this.#context
    const blocks = blockCount(inode, blockSize)
    const block = Math.floor(offset / blockSize)
    if (block < blocks) {
      const found = this.#find(inode, block, whence)
      if (found !== undefined) return Math.max(offset, found * blockSize)
    }
    // What is left is the tail end, which is data; behind it lies the hole that every file ends with.
    if (whence === 'hole') return inode.size
    if (inode.fragmentIndex === NO_INDEX) throw new FsError('ENXIO', `no data after offset ${offset}`)
    return Math.max(offset, blocks * blockSize)
  }

  /** The first block of the kind that is sought, from `block` on. A search that is postponed goes on where it was. */
  #find(inode: Inode, block: number, whence: Whence): number | undefined {
    const key = `${inode.ref}:${whence}`
    const known = this.#sought.get(key)
    const isKnown = known !== undefined && block >= known.from && block <= known.to
    const from = isKnown ? known.to : block
    const walk = this.#walkAt(inode, from)
    try {
      return walk.find(whence === 'hole')
    } catch (error) {
      if (error instanceof Postponed) {
        this.#sought.set(key, { from: isKnown ? known.from : block, to: walk.block }, 1)
      }
      throw error
    }
  }

  #walkAt(inode: Inode, block: number): ReturnType<BlockIndexMemo['walkAt']> {
    const { inodeTable, blockSize, limits, pause } = this.#context
    return this.#memo.walkAt(inodeTable, inode, block, blockSize, limits, pause)
  }

  /** @returns `end` */
  #blockExtents(inode: Inode, offset: number, end: number, sink: ExtentSink): number {
    const { blockSize } = this.#context
    let block = Math.floor(offset / blockSize)
    const walk = this.#walkAt(inode, block)
    let hole = 0
    for (let at = offset; at < end; block++) {
      const stored = walk.next()
      const from = at - block * blockSize
      const length = Math.min(blockSize - from, end - at)
      if (stored.storedSize === 0) hole += length
      else {
        if (hole > 0) sink.hole(hole)
        hole = 0
        sink.block(this.#blockRef(stored), from, length)
      }
      at += length
    }
    if (hole > 0) sink.hole(hole)
    return end
  }

  #blockRef(stored: DataBlock): BlockRef {
    return {
      source: this.#context.sourceId,
      position: stored.position,
      storedSize: stored.storedSize,
      kindBits: stored.kindBits,
      maxSize: this.#context.blockSize,
    }
  }

  #fragment(inode: Inode): BlockRef {
    const { fragments, blockSize, limits, inodeTable, sourceId } = this.#context
    const what = `${inodeTable.what}: file ${inode.inodeNumber}, fragment ${inode.fragmentIndex}`
    if (fragments === undefined) throw new FsError('EIO', `${what}: the image has no fragments`)
    const tail = inode.size % blockSize
    if (inode.fragmentOffset + tail > blockSize) {
      throw new FsError('EIO', `${what}: tail end ${inode.fragmentOffset}+${tail} exceeds ${blockSize} bytes`)
    }
    const cursor = fragments.record(inode.fragmentIndex)
    const at = cursor.take(FRAGMENT_ENTRY_SIZE)
    const { view } = cursor
    const position = u64At(view, at)
    const stored = view.getUint32(at + 8, true)
    const problem = blockProblem(position, stored, blockSize, limits)
    if (problem !== undefined) throw new FsError('EIO', `${what}: ${problem}`)
    return {
      source: sourceId,
      position,
      storedSize: storedSizeOf(stored),
      kindBits: kindBitsOf(stored),
      maxSize: blockSize,
    }
  }
}
