import {
  FsError,
  PERMISSIONS,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from '../../src/base/index.ts'
import type { MetadataCursor } from './metadata-cursor.ts'
import { describeRef, METADATA_SIZE, metadataCapacity, u64At } from './metadata-reference.ts'

/** Inode types as stored (squashfs: Common Inode Header). An extended type is the basic one plus 7. */
export const INODE_TYPE = {
  directory: 1,
  file: 2,
  symlink: 3,
  blockDevice: 4,
  charDevice: 5,
  fifo: 6,
  socket: 7,
  extendedDirectory: 8,
  extendedFile: 9,
  extendedSymlink: 10,
  extendedBlockDevice: 11,
  extendedCharDevice: 12,
  extendedFifo: 13,
  extendedSocket: 14,
} as const

/** File type bits of each stored inode type, basic and extended. */
const MODE_OF_TYPE: readonly number[] = (() => {
  const basic = [S_IFDIR, S_IFREG, S_IFLNK, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK]
  return [0, ...basic, ...basic]
})()

/** `fragmentIndex` and `xattrIndex` of an inode that has none. Small, so that V8 needs no object of its own for it. */
export const NO_INDEX = -1
/** The same as stored. */
const STORED_NO_INDEX = 0xffff_ffff
/** Longest link target: the kernel calls a longer one corrupt (fs/squashfs/inode.c, PAGE_SIZE). */
const SYMLINK_MAX = 4096
const BASE_SIZE = 16
const DIRECTORY_INDEX_ENTRY_MIN = 13

/** One inode. All types have the same fields, so that the code that reads them stays fast; unused ones are 0. */
export interface Inode {
  /** Its inode reference: block relative to the inode table × 8192 + offset. */
  readonly ref: number
  /** INODE_TYPE, 1..14. */
  readonly type: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: number
  readonly inodeNumber: number
  readonly nlink: number
  /** Bytes of a file, of a link target, or the directory's `file_size`, which is its listing plus 3. */
  readonly size: number
  /** Devices: as the kernel encodes it in 32 bits. */
  readonly rdev: number
  readonly xattrIndex: number
  /** Files: position of the first data block in the image. */
  readonly blocksStart: number
  /** Files: bytes saved by holes, for accounting only. */
  readonly sparse: number
  readonly fragmentIndex: number
  readonly fragmentOffset: number
  /** Directories: block of the listing, relative to the directory table, and offset in the decoded block. */
  readonly directoryBlock: number
  readonly directoryOffset: number
  readonly parentInode: number
  readonly indexCount: number
  /** What follows the fixed fields (block list, target, directory index, the next inode): block position in the image. */
  readonly tailPosition: number
  readonly tailOffset: number
}

type Fields = { -readonly [K in keyof Inode]: Inode[K] }

/** What the decoder must know of the image. */
export interface InodeContext {
  readonly ids: Uint32Array
  readonly blockSize: number
}

/** Of either form, basic or extended. */
export function isDirectoryInode(inode: Inode): boolean {
  return inode.type === INODE_TYPE.directory || inode.type === INODE_TYPE.extendedDirectory
}

/** Of either form, basic or extended: a regular file. */
export function isFileInode(inode: Inode): boolean {
  return inode.type === INODE_TYPE.file || inode.type === INODE_TYPE.extendedFile
}

/** Of either form, basic or extended. */
export function isSymlinkInode(inode: Inode): boolean {
  return inode.type === INODE_TYPE.symlink || inode.type === INODE_TYPE.extendedSymlink
}

/** Blocks in the block list of a file; a tail end in a fragment is not among them. */
export function blockCount(inode: Inode, blockSize: number): number {
  const blocks = inode.size / blockSize
  return inode.fragmentIndex === NO_INDEX ? Math.ceil(blocks) : Math.floor(blocks)
}

/** Bytes between the fixed fields of an inode and the next one; undefined for a directory with an index. */
export function tailLength(inode: Inode, blockSize: number): number | undefined {
  if (isFileInode(inode)) return blockCount(inode, blockSize) * 4
  if (inode.type === INODE_TYPE.symlink) return inode.size
  if (inode.type === INODE_TYPE.extendedSymlink) return inode.size + 4
  return inode.indexCount === 0 ? 0 : undefined
}

/**
 * Decodes the inode at the cursor (squashfs: Inode Table; fs/squashfs/inode.c:squashfs_read_inode).
 * @throws FsError EIO
 */
export function decodeInode(cursor: MetadataCursor, ref: number, context: InodeContext): Inode {
  const at = cursor.take(BASE_SIZE)
  const view = cursor.view
  const type = view.getUint16(at, true)
  const permissions = view.getUint16(at + 2, true)
  const uidIndex = view.getUint16(at + 4, true)
  const gidIndex = view.getUint16(at + 6, true)
  const inode: Fields = {
    ref,
    type,
    mode: (MODE_OF_TYPE[type] ?? 0) | (permissions & PERMISSIONS),
    uid: context.ids[uidIndex] ?? -1,
    gid: context.ids[gidIndex] ?? -1,
    mtime: view.getUint32(at + 8, true),
    inodeNumber: view.getUint32(at + 12, true),
    nlink: 1,
    size: 0,
    rdev: 0,
    xattrIndex: NO_INDEX,
    blocksStart: 0,
    sparse: 0,
    fragmentIndex: NO_INDEX,
    fragmentOffset: 0,
    directoryBlock: 0,
    directoryOffset: 0,
    parentInode: 0,
    indexCount: 0,
    tailPosition: 0,
    tailOffset: 0,
  }
  if (inode.inodeNumber === 0) fail(cursor, ref, 'inode number 0')
  if (inode.uid < 0 || inode.gid < 0) {
    fail(cursor, ref, `uid index ${uidIndex} or gid index ${gidIndex}, but ${context.ids.length} ids`)
  }
  switch (type) {
    case INODE_TYPE.directory:
      decodeDirectory(cursor, inode)
      break
    case INODE_TYPE.extendedDirectory:
      decodeExtendedDirectory(cursor, inode)
      break
    case INODE_TYPE.file:
    case INODE_TYPE.extendedFile:
      decodeFile(cursor, inode, context.blockSize)
      break
    case INODE_TYPE.symlink:
    case INODE_TYPE.extendedSymlink:
      decodeSymlink(cursor, inode)
      break
    case INODE_TYPE.blockDevice:
    case INODE_TYPE.charDevice:
    case INODE_TYPE.extendedBlockDevice:
    case INODE_TYPE.extendedCharDevice:
      decodeDevice(cursor, inode)
      break
    case INODE_TYPE.fifo:
    case INODE_TYPE.socket:
    case INODE_TYPE.extendedFifo:
    case INODE_TYPE.extendedSocket:
      decodeIpc(cursor, inode)
      break
    default:
      fail(cursor, ref, `type ${type}, expected 1..14`)
  }
  return inode
}

function fail(cursor: MetadataCursor, ref: number, message: string): never {
  throw new FsError('EIO', `${cursor.table.what}: inode ${describeRef(ref)}: ${message}`)
}

function markTail(cursor: MetadataCursor, inode: Fields): void {
  inode.tailPosition = cursor.blockPosition
  inode.tailOffset = cursor.offset
}

/** Decoded bytes that the table can still hold after the cursor: no list from the image can be longer. */
function capacityLeft(cursor: MetadataCursor): number {
  return metadataCapacity(cursor.table.end - cursor.blockPosition + METADATA_SIZE)
}

function decodeDirectory(cursor: MetadataCursor, inode: Fields): void {
  const at = cursor.take(16)
  const view = cursor.view
  inode.directoryBlock = view.getUint32(at, true)
  inode.nlink = view.getUint32(at + 4, true)
  inode.size = view.getUint16(at + 8, true)
  inode.directoryOffset = view.getUint16(at + 10, true)
  inode.parentInode = view.getUint32(at + 12, true)
  markTail(cursor, inode)
}

function decodeExtendedDirectory(cursor: MetadataCursor, inode: Fields): void {
  const at = cursor.take(24)
  const view = cursor.view
  inode.nlink = view.getUint32(at, true)
  inode.size = view.getUint32(at + 4, true)
  inode.directoryBlock = view.getUint32(at + 8, true)
  inode.parentInode = view.getUint32(at + 12, true)
  inode.indexCount = view.getUint16(at + 16, true)
  inode.directoryOffset = view.getUint16(at + 18, true)
  inode.xattrIndex = indexAt(view, at + 20)
  markTail(cursor, inode)
  if (inode.indexCount * DIRECTORY_INDEX_ENTRY_MIN > capacityLeft(cursor)) {
    fail(cursor, inode.ref, `${inode.indexCount} directory index entries do not fit the table`)
  }
}

function decodeFile(cursor: MetadataCursor, inode: Fields, blockSize: number): void {
  if (inode.type === INODE_TYPE.file) {
    const at = cursor.take(16)
    const view = cursor.view
    inode.blocksStart = view.getUint32(at, true)
    inode.fragmentIndex = indexAt(view, at + 4)
    inode.fragmentOffset = view.getUint32(at + 8, true)
    inode.size = view.getUint32(at + 12, true)
  } else {
    const at = cursor.take(40)
    const view = cursor.view
    inode.blocksStart = u64(cursor, inode, view, at, 'blocks start')
    inode.size = u64(cursor, inode, view, at + 8, 'file size')
    inode.sparse = u64(cursor, inode, view, at + 16, 'sparse')
    inode.nlink = view.getUint32(at + 24, true)
    inode.fragmentIndex = indexAt(view, at + 28)
    inode.fragmentOffset = view.getUint32(at + 32, true)
    inode.xattrIndex = indexAt(view, at + 36)
  }
  markTail(cursor, inode)
  // A fragment holds what is left over after whole blocks, so there must be something left over.
  if (inode.fragmentIndex !== NO_INDEX && inode.size % blockSize === 0) {
    fail(cursor, inode.ref, `has a fragment, but its size ${inode.size} is a multiple of the block size`)
  }
  if (blockCount(inode, blockSize) * 4 > capacityLeft(cursor)) {
    fail(cursor, inode.ref, `size ${inode.size} needs a block list that does not fit the inode table`)
  }
}

function u64(cursor: MetadataCursor, inode: Fields, view: DataView, at: number, field: string): number {
  const value = u64At(view, at)
  if (value > Number.MAX_SAFE_INTEGER) fail(cursor, inode.ref, `${field} exceeds 2^53`)
  return value
}

function decodeSymlink(cursor: MetadataCursor, inode: Fields): void {
  const at = cursor.take(8)
  inode.nlink = cursor.view.getUint32(at, true)
  inode.size = cursor.view.getUint32(at + 4, true)
  // An empty target no program can make, but some writers of images do, and the kernel shows it.
  if (inode.size > SYMLINK_MAX) {
    fail(cursor, inode.ref, `link target of ${inode.size} bytes, at most ${SYMLINK_MAX} are allowed`)
  }
  markTail(cursor, inode)
  // Skipping shows that the whole target lies in the table.
  cursor.skip(inode.size)
  if (inode.type === INODE_TYPE.extendedSymlink) inode.xattrIndex = trailingXattrIndex(cursor)
}

function decodeDevice(cursor: MetadataCursor, inode: Fields): void {
  const at = cursor.take(8)
  inode.nlink = cursor.view.getUint32(at, true)
  inode.rdev = cursor.view.getUint32(at + 4, true)
  if (inode.type > INODE_TYPE.socket) inode.xattrIndex = trailingXattrIndex(cursor)
  markTail(cursor, inode)
}

function decodeIpc(cursor: MetadataCursor, inode: Fields): void {
  const at = cursor.take(4)
  inode.nlink = cursor.view.getUint32(at, true)
  if (inode.type > INODE_TYPE.socket) inode.xattrIndex = trailingXattrIndex(cursor)
  markTail(cursor, inode)
}

function trailingXattrIndex(cursor: MetadataCursor): number {
  const at = cursor.take(4)
  return indexAt(cursor.view, at)
}

function indexAt(view: DataView, at: number): number {
  const index = view.getUint32(at, true)
  return index === STORED_NO_INDEX ? NO_INDEX : index
}
