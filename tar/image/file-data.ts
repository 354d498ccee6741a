import { ByteReader, type ExtentSink, FsError, type SourceId, type Whence } from '../../src/base/index.ts'
import { MAP_HEAD, PIECE_SIZE, type StoredInode } from '../format/layout.ts'
import type { IndexPages } from './index-pages.ts'
import { partAt } from './spans.ts'

/** A piece of a file: `length` bytes at `offset` of it, which are at `archiveAt`; a hole where that is absent. */
interface Piece {
  readonly offset: number
  readonly length: number
  readonly archiveAt?: number
}

/** Where the contents of the files of a layer are. */
export class FileData {
  readonly #pages: IndexPages
  readonly #sourceId: SourceId

  constructor(pages: IndexPages, sourceId: SourceId) {
    this.#pages = pages
    this.#sourceId = sourceId
  }

  /** Describes [offset, offset + length) of a regular file. @throws FsError EIO */
  extents(inode: StoredInode, offset: number, length: number, sink: ExtentSink): void {
    const end = Math.min(offset + length, inode.size)
    for (let at = offset; at < end; ) {
      const piece = this.#pieceAt(inode, at)
      const skip = at - piece.offset
      const count = Math.min(piece.length - skip, end - at)
      if (piece.archiveAt === undefined) sink.hole(count)
      else this.#describe(piece.archiveAt + skip, count, sink)
      at += count
    }
  }

  /** @throws FsError ENXIO */
  seek(inode: StoredInode, offset: number, whence: Whence): number {
    if (!(offset >= 0 && offset < inode.size))
      throw new FsError('ENXIO', `seek to ${offset} of ${inode.size} bytes`)
    for (let at = offset; at < inode.size; ) {
      const piece = this.#pieceAt(inode, at)
      if ((piece.archiveAt === undefined) === (whence === 'hole')) return at
      at = piece.offset + piece.length
    }
    if (whence === 'hole') return inode.size
    throw new FsError('ENXIO', `no data behind byte ${offset}`)
  }

  /** Bytes that are stored. */
  storedSize(inode: StoredInode): number {
    if (!inode.isSparse) return inode.size
    const count = this.#count(inode)
    let sum = 0
    // A few pieces are counted; of many, what the archive holds between the first and the end of the last one.
    if (count === 0) return 0
    const first = this.#piece(inode, 0)
    const last = this.#piece(inode, count - 1)
    sum = (last.archiveAt ?? 0) + last.length - (first.archiveAt ?? 0)
    return Math.max(0, Math.min(sum, inode.size))
  }

  #describe(archiveAt: number, length: number, sink: ExtentSink): void {
    for (let done = 0; done < length; ) {
      const at = archiveAt + done
      const { start, end } = partAt(this.#pages, at)
      const count = Math.min(end - at, length - done)
      const maxSize = end - start
      const block = { source: this.#sourceId, position: start, storedSize: maxSize, kindBits: 0, maxSize }
      sink.block(block, at - start, count)
      done += count
    }
  }

  #pieceAt(inode: StoredInode, offset: number): Piece {
    if (!inode.isSparse) return { offset: 0, length: inode.size, archiveAt: inode.data }
    let low = 0
    let high = this.#count(inode)
    // The first piece that ends behind the offset.
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const piece = this.#piece(inode, middle)
      if (piece.offset + piece.length > offset) high = middle
      else low = middle + 1
    }
    const before = low === 0 ? undefined : this.#piece(inode, low - 1)
    const start = before === undefined ? 0 : before.offset + before.length
    const next = low < this.#count(inode) ? this.#piece(inode, low) : undefined
    if (next !== undefined && next.offset <= offset) return next
    const end = Math.min(next?.offset ?? inode.size, inode.size)
    if (!(start <= offset && offset < end))
      throw this.#pages.damage(inode.data, 'map of a sparse file out of order')
    return { offset: start, length: end - start }
  }

  #count({ data, size }: StoredInode): number {
    const count = ByteReader.over(this.#pages.read(data, MAP_HEAD), 'map of a sparse file').offset64()
    // Pieces are not empty.
    if (count > size) throw this.#pages.damage(data, `${count} pieces of a file of ${size} bytes`)
    return count
  }

  #piece({ data, size }: StoredInode, row: number): Required<Piece> {
    const bytes = this.#pages.read(data + MAP_HEAD + row * PIECE_SIZE, PIECE_SIZE)
    const reader = ByteReader.over(bytes, 'map of a sparse file')
    const [offset, length, archiveAt] = [reader.offset64(), reader.offset64(), reader.offset64()]
    if (length === 0 || offset + length > size) throw this.#pages.damage(data, `a piece ${offset}+${length}`)
    return { offset, length, archiveAt }
  }
}
