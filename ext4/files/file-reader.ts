import {
  type ExtentSink,
  FsError,
  isDirectory,
  isRegular,
  ResumableWalks,
  type SourceId,
  type Whence,
} from '../../src/base/index.ts'
import { hasInlineData, readInlineData } from '../inodes/inline-data.ts'
import type { Inode } from '../inodes/inode.ts'
import type { InodeTable } from '../inodes/inode-table.ts'
import type { Volume } from '../volume/volume.ts'
import { type BlockRun, HOLE } from './block-run.ts'
import { findBlocks } from './file-blocks.ts'

/**
 * Data of files are cut into pieces at multiples of this, bytes: what is cached and read at once. Pieces end where the run
 * of blocks ends, too.
 */
export const PIECE_SIZE = 128 << 10
/** `BlockRef.kindBits` of a block in the journal whose first bytes are escaped. */
export const ESCAPED = 1
/** Runs after which others get their turn. */
const RUNS_AT_ONCE = 64

/** A search for data or a hole, and how far it came. */
interface Search {
  at: number
}

/** Describes the content of regular files. */
export class FileReader {
  readonly #volume: Volume
  readonly #table: InodeTable
  readonly #source: SourceId
  readonly #pause: () => void
  readonly #searches = new ResumableWalks<Search, number>()

  constructor(volume: Volume, table: InodeTable, source: SourceId, pause: () => void) {
    this.#volume = volume
    this.#table = table
    this.#source = source
    this.#pause = pause
  }

  /** @throws FsError EISDIR, EINVAL, EIO */
  extents(inode: Inode, offset: number, length: number, sink: ExtentSink): void {
    this.#assertFile(inode)
    const end = Math.min(offset + length, inode.size)
    if (offset >= end) return
    if (hasInlineData(inode)) this.#inline(inode, offset, end, sink)
    else this.#blocks(inode, offset, end, sink)
  }

  /** @throws FsError ENXIO, EISDIR, EINVAL, EIO */
  seek(inode: Inode, offset: number, whence: Whence): number {
    this.#assertFile(inode)
    if (offset >= inode.size) {
      throw new FsError('ENXIO', `inode ${inode.number}: ${offset} is at or past the end`)
    }
    if (hasInlineData(inode)) return whence === 'data' ? offset : inode.size
    return this.#searches.run(
      () => `${inode.number} ${whence} ${offset}`,
      () => ({ at: offset }),
      (search) => this.#search(inode, search, whence),
    )
  }

  #search(inode: Inode, search: Search, whence: Whence): number {
    const { blockSize } = this.#volume.superblock
    for (let runs = 1; search.at < inode.size; runs++) {
      const block = Math.floor(search.at / blockSize)
      const { first, count } = findBlocks(this.#volume, inode, block)
      if ((first === HOLE) === (whence === 'hole')) return search.at
      search.at = (block + count) * blockSize
      if (runs % RUNS_AT_ONCE === 0) this.#pause()
    }
    if (whence === 'hole') return inode.size
    throw new FsError('ENXIO', `inode ${inode.number}: no data behind`)
  }

  #assertFile({ number, mode }: Inode): void {
    if (isRegular(mode)) return
    const code = isDirectory(mode) ? 'EISDIR' : 'EINVAL'
    throw new FsError(code, `${this.#volume.label}: inode ${number} is no regular file`)
  }

  #inline(inode: Inode, offset: number, end: number, sink: ExtentSink): void {
    let from = 0
    for (const { bytes, block, start } of readInlineData(this.#volume, this.#table, inode)) {
      const begin = Math.max(offset, from)
      const stop = Math.min(end, from + bytes.length)
      if (begin < stop) {
        // The escape changes the beginning of a block, where no content lies.
        const position = this.#volume.place(block).position + start
        this.#piece(position, bytes.length, 0, begin - from, stop - begin, sink)
      }
      from += bytes.length
    }
  }

  /** A piece always begins where its run or a multiple of the piece size does, so that it is the same for every reader. */
  #blocks(inode: Inode, offset: number, end: number, sink: ExtentSink): void {
    const { blockSize } = this.#volume.superblock
    const last = Math.ceil(inode.size / blockSize)
    const perPiece = PIECE_SIZE / blockSize
    let at = offset
    while (at < end) {
      let block = Math.floor(at / PIECE_SIZE) * perPiece
      const behind = Math.min(block + perPiece, last)
      while (block < behind && at < end) {
        const run = findBlocks(this.#volume, inode, block)
        const runEnd = (block + run.count) * blockSize
        if (runEnd > at) {
          const stop = run.first === HOLE ? Math.min(runEnd, end) : Math.min(runEnd, behind * blockSize, end)
          if (run.first === HOLE) sink.hole(stop - at)
          else this.#run({ ...run, count: Math.min(run.count, behind - block) }, block, at, stop, sink)
          at = stop
        }
        block += run.count
      }
    }
  }

  /** @param block number in the file of the first block of the run. @param at position in the file, as is `stop` */
  #run({ first, count }: BlockRun, block: number, at: number, stop: number, sink: ExtentSink): void {
    const { blockSize } = this.#volume.superblock
    const { journal } = this.#volume
    for (let done = 0; done < count; ) {
      // What the journal has lies elsewhere, block by block.
      const next = journal.next(first + done) - first
      const length = next === done ? 1 : Math.min(next, count) - done
      const from = (block + done) * blockSize
      const begin = Math.max(at, from)
      const behind = Math.min(stop, from + length * blockSize)
      if (begin < behind) {
        const { position, isEscaped } = this.#volume.place(first + done)
        this.#piece(position, length * blockSize, isEscaped ? ESCAPED : 0, begin - from, behind - begin, sink)
      }
      done += length
    }
  }

  #piece(
    position: number,
    size: number,
    kindBits: number,
    from: number,
    length: number,
    sink: ExtentSink,
  ): void {
    sink.block({ source: this.#source, position, storedSize: size, kindBits, maxSize: size }, from, length)
  }
}
