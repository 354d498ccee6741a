import { isUtf8 } from 'node:buffer'
import type { DirectorySink, FileSystem, Name, NodeId, Stat, StatFs } from '../../base/index.ts'

/** The file system's values as the package takes them: text and 32 bits. */

/** Distance of the inode numbers of two layers, where they do not all fit (`overlay/stored/inode-numbers.ts`). */
const LAYER_INODES = 2 ** 32

/**
 * Maps inode numbers to 32 bits, the same way at every mount. Numbers below 2^32 stay as they are. The ranges of larger
 * ones move together: two layers are as far apart as the file system has inodes.
 */
export function inodeNumbers(files: number): (ino: number) => number {
  const distance = files + 1
  return (ino) => (Math.floor(ino / LAYER_INODES) * distance + (ino % LAYER_INODES)) % LAYER_INODES
}

/** The package takes names as text. @returns undefined for a name that is not UTF-8 */
export function decodeName(name: Name): string | undefined {
  const bytes = Buffer.from(name, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined
}

/** The package has made U+FFFD of bytes that are not UTF-8, so they name nothing. */
export function encodeName(text: string): Name {
  return Buffer.from(text).toString('latin1')
}

/** Times in milliseconds, not before 1970. */
export function encodeStat(stat: Stat, shownInode: (ino: number) => number): object {
  const milliseconds = (seconds: number, nanoseconds: number): number =>
    Math.max(0, seconds * 1000 + Math.floor(nanoseconds / 1e6))
  return {
    ...stat,
    ino: shownInode(stat.ino),
    atime: milliseconds(stat.atime, stat.atimeNsec),
    mtime: milliseconds(stat.mtime, stat.mtimeNsec),
    ctime: milliseconds(stat.ctime, stat.ctimeNsec),
  }
}

/** `struct statvfs` with the field names that fuse-native wants. */
export function encodeStatFs({ blockSize, nameMax, files, filesFree, ...statfs }: StatFs): object {
  const { blocks, blocksFree: bfree, blocksAvailable: bavail } = statfs
  const inodes = { files, ffree: filesFree, favail: filesFree }
  return { bsize: blockSize, frsize: blockSize, blocks, bfree, bavail, ...inodes, namemax: nameMax }
}

/** All entries of a directory at once, as libfuse takes them. `left` counts names that are not UTF-8. */
export function listDirectory(fileSystem: FileSystem, node: NodeId, shownInode: (ino: number) => number) {
  const listing = { names: [] as string[], stats: [] as { mode: number; ino: number }[], left: 0 }
  let cookie = 0
  const sink: DirectorySink = {
    plus: false,
    add(name, ino, type, next) {
      cookie = next
      const text = decodeName(name)
      if (text === undefined) listing.left += 1
      else {
        listing.names.push(text)
        listing.stats.push({ mode: type << 12, ino: shownInode(ino) })
      }
      return true
    },
  }
  // An error behind entries that were added comes with the next call only.
  for (let before = -1; before !== cookie; ) {
    before = cookie
    fileSystem.readdir(node, cookie, sink)
  }
  return listing
}
