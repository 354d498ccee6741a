import {
  ByteReader,
  type DirectoryCursor,
  DT_DIR,
  DT_REG,
  FsError,
  isDirectory,
  type LayerEntry,
  type Name,
} from '../../src/base/index.ts'
import { ENTRY_SIZE, type StoredInode, TYPE_BELOW, TYPE_HOLLOW } from '../format/layout.ts'
import type { IndexPages } from './index-pages.ts'

/** One directory: its entries stand in byte order of their names. */
export class Directory {
  readonly count: number
  readonly #pages: IndexPages
  readonly #start: number

  /** @throws FsError ENOTDIR, EIO */
  constructor(pages: IndexPages, inode: StoredInode) {
    if (!isDirectory(inode.mode)) throw new FsError('ENOTDIR', `${pages.label}: no directory`)
    this.#pages = pages
    this.#start = inode.data
    this.count = inode.size
    if (inode.data + inode.size * ENTRY_SIZE > pages.header.size) {
      throw pages.damage(inode.data, `a directory of ${inode.size} entries`)
    }
  }

  entry(row: number): LayerEntry {
    const reader = ByteReader.over(
      this.#pages.read(this.#start + row * ENTRY_SIZE, ENTRY_SIZE),
      `${this.#pages.label}: entry ${row} of a directory`,
    )
    const [inode, at, length, type] = [reader.u32(), reader.u32(), reader.u8(), reader.u8()]
    const names = this.#start + this.count * ENTRY_SIZE
    const name: Name = this.#pages.read(names + at, length).toString('latin1')
    const entry = { name, ref: inode, ino: inode + 1 }
    if (type === TYPE_BELOW) return { ...entry, type: DT_REG, isBelow: true }
    return type === TYPE_HOLLOW ? { ...entry, type: DT_DIR, isHollow: true } : { ...entry, type }
  }

  /** The inodes of all entries, by row. */
  inodes(): Uint32Array {
    const bytes = this.#pages.read(this.#start, this.count * ENTRY_SIZE)
    return Uint32Array.from({ length: this.count }, (_, row) => bytes.readUInt32LE(row * ENTRY_SIZE))
  }

  /** The row of the first name at or after `name`; `count` where there is none. */
  rowOf(name: Name): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (this.entry(middle).name < name) low = middle + 1
      else high = middle
    }
    return low
  }

  find(name: Name): LayerEntry | undefined {
    const row = this.rowOf(name)
    const entry = row < this.count ? this.entry(row) : undefined
    return entry?.name === name ? entry : undefined
  }

  open(row: number): DirectoryCursor {
    let next = Math.min(row, this.count)
    const read = (at: number): LayerEntry => this.entry(at)
    const { count } = this
    return {
      next() {
        if (next >= count) return undefined
        const entry = read(next)
        next += 1
        return entry
      },
      get position() {
        return next
      },
    }
  }
}
