import type { DirectoryCursor, Ref } from '../../src/base/index.ts'
import type { Directory } from './directory.ts'

/** Entries of a directory that are brought into order; larger ones are listed by name. */
const ENTRIES_MAX = 1 << 16

/**
 * Lists directories in the order in which their files stand in the archive: who then reads all of them decodes each part
 * of it once. Inodes are numbered in that order. The order of the last directory is kept for the rest of its listing.
 */
export class StoredOrder {
  #directory: Ref = -1
  /** Rows by place; undefined where names are in the same order, or too many. */
  #rows: Uint32Array | undefined

  /** @param position place at which to go on */
  open(ref: Ref, directory: Directory, position: number): DirectoryCursor {
    if (ref !== this.#directory) {
      this.#rows = directory.count > ENTRIES_MAX ? undefined : rowsByInode(directory)
      this.#directory = ref
    }
    const rows = this.#rows
    if (rows === undefined) return directory.open(position)
    let next = Math.min(position, rows.length)
    return {
      next() {
        const row = rows[next]
        if (row === undefined) return undefined
        const entry = directory.entry(row)
        next += 1
        return entry
      },
      get position() {
        return next
      },
    }
  }
}

function rowsByInode(directory: Directory): Uint32Array | undefined {
  const inodes = directory.inodes()
  if (inodes.every((inode, row) => row === 0 || (inodes[row - 1] ?? 0) <= inode)) return undefined
  // Exact: 32 bits of the inode, 16 of the row.
  const keys = Float64Array.from(inodes, (inode, row) => inode * ENTRIES_MAX + row).sort()
  return Uint32Array.from(keys, (key) => key % ENTRIES_MAX)
}
