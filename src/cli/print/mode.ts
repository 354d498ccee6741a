import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
  S_ISUID,
} from '../../base/index.ts'

const TYPES: ReadonlyMap<number, readonly [letter: string, word: string]> = new Map([
  [S_IFREG, ['-', 'file']],
  [S_IFDIR, ['d', 'directory']],
  [S_IFLNK, ['l', 'symlink']],
  [S_IFCHR, ['c', 'character-device']],
  [S_IFBLK, ['b', 'block-device']],
  [S_IFIFO, ['p', 'fifo']],
  [S_IFSOCK, ['s', 'socket']],
])
const S_ISVTX = 0o1000

/** What a file is, in one word. */
export function typeWord(mode: number): string {
  return TYPES.get(mode & S_IFMT)?.[1] ?? 'unknown'
}

/** Type and permissions as ls(1) has them: `drwxr-sr-x`. */
export function formatMode(mode: number): string {
  const triple = (shift: number, special: number, letter: string): string => {
    const bits = (mode >>> shift) & 7
    const runs = (bits & 1) !== 0
    const last = (mode & special) === 0 ? (runs ? 'x' : '-') : runs ? letter : letter.toUpperCase()
    return `${(bits & 4) === 0 ? '-' : 'r'}${(bits & 2) === 0 ? '-' : 'w'}${last}`
  }
  const type = TYPES.get(mode & S_IFMT)?.[0] ?? '?'
  return `${type}${triple(6, S_ISUID, 's')}${triple(3, S_ISGID, 's')}${triple(0, S_ISVTX, 't')}`
}
