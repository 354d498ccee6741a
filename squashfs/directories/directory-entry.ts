import {
  direntType,
  type InodeNumber,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from '../../src/base/index.ts'

/** DT_* of the basic inode types 1..7; an entry never holds an extended type. */
export const DIRENT_TYPES = [S_IFDIR, S_IFREG, S_IFLNK, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK].map(direntType)

/** One name of a directory. Names are "binary" strings, one character for each byte; `type` is DT_*. */
export interface DirectoryEntry {
  readonly name: string
  readonly ref: number
  readonly ino: InodeNumber
  readonly type: number
  /** Set where a greater name was met before, so that this one may have stood before that: `lookup` tells. */
  readonly unsorted?: true
}

/** In byte order. Mostly decided by the first bytes: a loop is faster than a call into Buffer.compare. */
export function compareNames(
  a: Uint8Array,
  aStart: number,
  aSize: number,
  b: Uint8Array,
  bStart: number,
  bSize: number,
): number {
  const common = Math.min(aSize, bSize)
  for (let i = 0; i < common; i++) {
    const difference = (a[aStart + i] ?? 0) - (b[bStart + i] ?? 0)
    if (difference !== 0) return difference
  }
  return aSize - bSize
}
