import {
  isDirectory,
  isRegular,
  isSymlink,
  majorOf,
  minorOf,
  type Name,
  PERMISSIONS,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../src/base/index.ts'
import { MessageWriter, type NewStruct, type StructSizes } from './message-writer.ts'

/** A piece of a file in a chunk. */
export interface NewChunk {
  /** The sha256 of the chunk as it is stored. */
  readonly digest: Uint8Array
  /** Where the piece begins in the chunk, decoded. */
  readonly offset: number
  readonly length: number
  readonly compressed: boolean
}

/** An inode to be written. */
export interface NewInode {
  readonly ino: number
  /** Type and permissions; 0 for a deletion. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly rdev: number
  /** Of a directory. */
  readonly entries?: readonly (readonly [name: Name, ino: number])[] | undefined
  /** Of a file. */
  readonly chunks?: readonly NewChunk[] | undefined
  /** Of a symbolic link. */
  readonly target?: Uint8Array | undefined
  /** Full names. */
  readonly xattrs?: readonly (readonly [name: Name, value: Uint8Array])[] | undefined
}

/** The metadata of an image. */
export interface NewRootfs {
  /** Topmost first, each in the order of numbers. */
  readonly layers: readonly (readonly NewInode[])[]
  /** All chunks, in the order of their digests, with their fs-verity digests. */
  readonly chunks: readonly (readonly [digest: Uint8Array, verity: Uint8Array])[]
}

const VERSION = 3
const TAGS: Readonly<Record<number, number>> = {
  [S_IFIFO]: 1,
  [S_IFCHR]: 2,
  [S_IFDIR]: 3,
  [S_IFBLK]: 4,
  [S_IFREG]: 5,
  [S_IFLNK]: 6,
  [S_IFSOCK]: 7,
}
const DELETED = 8
const DELETED_PERMISSIONS = 0o644

const SIZES = {
  rootfs: { data: 1, pointers: 2 },
  vector: { data: 0, pointers: 1 },
  inode: { data: 3, pointers: 2 },
  device: { data: 2, pointers: 0 },
  directory: { data: 1, pointers: 1 },
  entry: { data: 1, pointers: 1 },
  chunk: { data: 1, pointers: 1 },
  blob: { data: 2, pointers: 1 },
  additional: { data: 0, pointers: 2 },
  xattr: { data: 0, pointers: 2 },
  verity: { data: 0, pointers: 2 },
} as const satisfies Readonly<Record<string, StructSizes>>

/** The metadata as one blob. @throws FsError EFBIG */
export function encodeRootfs({ layers, chunks }: NewRootfs): Buffer {
  const to = new MessageWriter()
  const root = to.root(SIZES.rootfs)
  to.u64(root, 0, VERSION)
  const vectors = to.list(root, 0, layers.length, SIZES.vector)
  layers.forEach((inodes, i) => {
    const list = to.list(to.element(vectors, SIZES.vector, i), 0, inodes.length, SIZES.inode)
    for (const [j, inode] of inodes.entries()) putInode(to, to.element(list, SIZES.inode, j), inode)
  })
  const table = to.list(root, 1, chunks.length, SIZES.verity)
  chunks.forEach(([digest, verity], i) => {
    const one = to.element(table, SIZES.verity, i)
    to.data(one, 0, digest)
    to.data(one, 1, verity)
  })
  return to.finish()
}

function putInode(to: MessageWriter, at: NewStruct, inode: NewInode): void {
  const { ino, mode, uid, gid, rdev, target, xattrs = [] } = inode
  const type = mode & S_IFMT
  to.u64(at, 0, ino)
  to.u16(at, 8, TAGS[type] ?? DELETED)
  to.u16(at, 10, type === 0 ? DELETED_PERMISSIONS : mode & PERMISSIONS)
  to.u32(at, 12, uid)
  to.u32(at, 16, gid)
  if (type === S_IFCHR || type === S_IFBLK) {
    const device = to.struct(at, 0, SIZES.device)
    to.u64(device, 0, majorOf(rdev))
    to.u64(device, 8, minorOf(rdev))
  } else if (isDirectory(mode)) putEntries(to, at, inode)
  else if (isRegular(mode)) putChunks(to, at, inode)
  if (xattrs.length === 0 && !isSymlink(mode)) return
  const additional = to.struct(at, 1, SIZES.additional)
  const list = to.list(additional, 0, xattrs.length, SIZES.xattr)
  xattrs.forEach(([name, value], i) => {
    const one = to.element(list, SIZES.xattr, i)
    to.data(one, 0, Buffer.from(name, 'latin1'))
    to.data(one, 1, value)
  })
  if (target !== undefined) to.data(additional, 1, target)
}

function putEntries(to: MessageWriter, at: NewStruct, { entries = [] }: NewInode): void {
  const directory = to.struct(at, 0, SIZES.directory)
  const list = to.list(directory, 0, entries.length, SIZES.entry)
  entries.forEach(([name, ino], i) => {
    const entry = to.element(list, SIZES.entry, i)
    to.u64(entry, 0, ino)
    to.data(entry, 0, Buffer.from(name, 'latin1'))
  })
}

function putChunks(to: MessageWriter, at: NewStruct, { chunks = [] }: NewInode): void {
  const list = to.list(at, 0, chunks.length, SIZES.chunk)
  chunks.forEach(({ digest, offset, length, compressed }, i) => {
    const chunk = to.element(list, SIZES.chunk, i)
    to.u64(chunk, 0, length)
    const blob = to.struct(chunk, 0, SIZES.blob)
    to.u64(blob, 0, offset)
    to.u64(blob, 8, compressed ? 1 : 0)
    to.data(blob, 0, digest)
  })
}
