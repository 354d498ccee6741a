import { createHash } from 'node:crypto'
import {
  accessSync,
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs'
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../../src/base/index.ts'
import { dataSegments, decodeDevice, readXattrs } from '../programs/native.ts'

/** One name of a tree. Names, targets and paths are "binary" strings, one character per byte. */
export interface TreeEntry {
  /** Relative, `.` for the root. */
  readonly path: string
  readonly type: 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket'
  /** Permission bits with set-id and sticky, octal text. */
  readonly mode: string
  readonly uid: number
  readonly gid: number
  /** Bytes; absent for directories, where every file system counts otherwise. */
  readonly size?: number
  /** Whole seconds. */
  readonly mtime: number
  readonly nlink: number
  /** The smallest path of the names of the same inode that the tree shows; absent where this is the only one. */
  readonly linkGroup?: string
  /** `major:minor`. */
  readonly rdev?: string
  readonly target?: string
  /** `st_blocks`, 512 bytes each; only where asked for, because it depends on the file system. */
  readonly blocks?: number
  /** Values in hex, names sorted. Absent where there are none. */
  readonly xattrs?: Readonly<Record<string, string>>
  /** SHA-256 of the content, see `hashContent`. */
  readonly sha256?: string
}

export interface WalkOptions {
  /** Do not read contents. */
  readonly noContent?: boolean
  /** Do not read extended attributes. */
  readonly noXattrs?: boolean
  /** Also `blocks`. */
  readonly blocks?: boolean
  /** Leave out what this user may not read: contents and attributes of files, names in directories. */
  readonly onlyReadable?: boolean
  /**
   * Leave out names that readdir gives but lookup does not know. Kernel overlayfs has such: a directory that merges
   * nothing is read as it is, with its whiteouts (overlayfs.rst, "whiteouts and opaque directories"). Not for ours.
   */
  readonly skipGhosts?: boolean
}

const TYPES: ReadonlyMap<number, TreeEntry['type']> = new Map([
  [S_IFREG, 'file'],
  [S_IFDIR, 'directory'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'char'],
  [S_IFBLK, 'block'],
  [S_IFIFO, 'fifo'],
  [S_IFSOCK, 'socket'],
])

/** Beyond this a file is hashed by its data only. */
const WHOLE_HASH_LIMIT = 2 ** 30
const PAGE = 4096
const AROUND = 2 << 20
const buffer = Buffer.alloc(1024 * 1024)
const zeroPage = Buffer.alloc(PAGE)

/**
 * Lists a tree: every name once, in byte order of the paths, with all that a reader can ask about it.
 * Synchronous: call it in the process of the test only on trees that cannot hang (`walkInChild` otherwise).
 */
export function walkTree(root: string, options: WalkOptions = {}): TreeEntry[] {
  const found: { readonly entry: TreeEntry; readonly inode: string }[] = []
  // A stack, not recursion: trees are as deep as the path limit allows.
  const pending = ['']
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const full =
      path === '' ? Buffer.from(root) : Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')])
    const stat = lstatSync(full, { bigint: true, throwIfNoEntry: false })
    if (stat === undefined) {
      if (options.skipGhosts && path !== '') continue
      throw new Error(`${JSON.stringify(path)}: listed, but lookup gives ENOENT`)
    }
    const { entry, inode, isRead } = describe(full, stat, path === '' ? '.' : path, options)
    found.push({ entry, inode })
    if (entry.type !== 'directory' || !isRead) continue
    for (const name of readdirSync(full, { encoding: 'buffer' })) {
      pending.push(path === '' ? name.toString('latin1') : `${path}/${name.toString('latin1')}`)
    }
  }
  found.sort((a, b) => (a.entry.path < b.entry.path ? -1 : a.entry.path > b.entry.path ? 1 : 0))
  const groups = new Map<string, string[]>()
  for (const { entry, inode } of found) {
    if (entry.type === 'directory' || entry.nlink < 2) continue
    groups.set(inode, [...(groups.get(inode) ?? []), entry.path])
  }
  return found.map(({ entry, inode }) => {
    const group = groups.get(inode)
    return group !== undefined && group.length > 1 ? { ...entry, linkGroup: group[0] ?? '' } : entry
  })
}

function describe(
  full: Buffer,
  stat: BigIntStats,
  path: string,
  options: WalkOptions,
): { entry: TreeEntry; inode: string; isRead: boolean } {
  const mode = Number(stat.mode)
  const type = TYPES.get(mode & S_IFMT)
  if (type === undefined) throw new Error(`${JSON.stringify(path)}: unknown type in mode ${mode.toString(8)}`)
  const isRead = options.onlyReadable !== true || isReadable(full, type)
  const xattrs = options.noXattrs || !isRead ? {} : readXattrs(full)
  const entry: TreeEntry = {
    path,
    type,
    mode: (mode & 0o7777).toString(8),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    ...(type === 'directory' ? {} : { size: Number(stat.size) }),
    // Floor also before 1970, where the nanoseconds still count upwards.
    mtime: Number(
      (stat.mtimeNs - (((stat.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n)) / 1_000_000_000n,
    ),
    nlink: Number(stat.nlink),
    ...(options.blocks ? { blocks: Number(stat.blocks) } : {}),
    ...(type === 'char' || type === 'block' ? { rdev: decodeDevice(stat.rdev) } : {}),
    ...(type === 'symlink' ? { target: readlinkSync(full, { encoding: 'buffer' }).toString('latin1') } : {}),
    ...(Object.keys(xattrs).length === 0 ? {} : { xattrs }),
    ...(type === 'file' && !options.noContent && isRead
      ? { sha256: hashContent(full, Number(stat.size)) }
      : {}),
  }
  return { entry, inode: `${stat.dev}:${stat.ino}`, isRead }
}

function isReadable(path: Buffer, type: TreeEntry['type']): boolean {
  if (type !== 'file' && type !== 'directory') return true
  try {
    accessSync(path, constants.R_OK | (type === 'directory' ? constants.X_OK : 0))
    return true
  } catch {
    return false
  }
}

/**
 * Files of up to 1 GiB are read whole. Of a larger one we hash every page that is not all zeros, with its
 * position, within the segments that SEEK_DATA reports, and then 64 KiB at each of 64 evenly spaced positions and
 * at the end: the same value however the file system divides data and holes. Where it divides nothing (squashfs), only
 * what lies around whole GiB is read, where numbers of 32 bits end; with ATOMFS_STRESS all of it.
 */
export function hashContent(path: Buffer, size: number): string {
  const hash = createHash('sha256')
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    if (size <= WHOLE_HASH_LIMIT) {
      let position = 0
      for (let count = -1; count !== 0; position += count) {
        count = readSync(fd, buffer, 0, buffer.length, position)
        hash.update(buffer.subarray(0, count))
      }
      if (position !== size)
        throw new Error(`${path.toString('latin1')}: read ${position} bytes, size is ${size}`)
      return hash.digest('hex')
    }
    for (const [start, end] of parts([...dataSegments(fd, size)])) {
      const first = Math.floor(start / PAGE) * PAGE
      for (let position = first; position < end; position += buffer.length) {
        const length = Math.min(buffer.length, Math.ceil(end / PAGE) * PAGE - position, size - position)
        readAt(fd, position, length)
        for (let at = 0; at < length; at += PAGE) {
          const page = buffer.subarray(at, Math.min(at + PAGE, length))
          if (page.compare(zeroPage, 0, page.length) !== 0) hash.update(`${position + at}:`).update(page)
        }
      }
    }
    for (let i = 0; i <= 64; i += 1) {
      const position = Math.floor(((size - 65536) * i) / 64)
      readAt(fd, position, 65536)
      hash.update(buffer.subarray(0, 65536))
    }
    return hash.digest('hex')
  } finally {
    closeSync(fd)
  }
}

/** The parts of segments that lie around whole GiB. */
function parts(segments: readonly (readonly [number, number])[]): readonly (readonly [number, number])[] {
  if (process.env['ATOMFS_STRESS'] !== undefined) return segments
  return segments.flatMap(([start, end]) => {
    const found: [number, number][] = []
    for (let at = 0; at - AROUND < end; at += WHOLE_HASH_LIMIT) {
      const [from, to] = [Math.max(start, at - AROUND), Math.min(end, at + AROUND)]
      if (from < to) found.push([from, to])
    }
    return found
  })
}

function readAt(fd: number, position: number, length: number): void {
  for (let filled = 0; filled < length; ) {
    const count = readSync(fd, buffer, filled, length - filled, position + filled)
    if (count === 0)
      throw new Error(`end of file at ${position + filled}, expected ${length - filled} bytes more`)
    filled += count
  }
}
