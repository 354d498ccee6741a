import { ByteReader, FsError, viewOf } from '../../src/base/index.ts'

/**
 * The index of a layer (docs/adr/0035-tar-index.md): a header, the hash tree of the blob, a heap of what has no fixed size,
 * the checkpoints, the inodes, the directories. All numbers are little-endian. A hash tree of its own lies behind it.
 */

/** Bytes of the header, and the unit in which the index is hashed. */
export const PAGE = 4096
export const MAGIC = 'atomfsix'
export const VERSION = 3
/** Type of an entry whose file only the layers below have; others have those of DT_*. */
export const TYPE_BELOW = 0
/** Type of an entry of a directory in which there are marks alone. */
export const TYPE_HOLLOW = 15
/** Bytes of one checkpoint, inode, entry of a directory. */
export const CHECKPOINT_SIZE = 32
export const INODE_SIZE = 52
export const ENTRY_SIZE = 10
/** Bytes of one piece of a file with holes, and of the count before them. */
export const PIECE_SIZE = 24
export const MAP_HEAD = 8

/** How the blob is compressed. */
export const FORMS = ['plain', 'gzip', 'zstd'] as const
export type Form = (typeof FORMS)[number]

/** What the header says. Positions and sizes in bytes. */
export interface IndexHeader {
  readonly form: Form
  /** `algorithm:hex` of the blob. */
  readonly digest: string
  readonly blobSize: number
  /** Of the archive without compression. */
  readonly archiveSize: number
  /** Hex, of the blob: dm-verity of type 1 with SHA-256, blocks of 4096 bytes, no salt. */
  readonly blobRootHash: string
  readonly checkpoints: number
  readonly checkpointCount: number
  readonly inodes: number
  readonly inodeCount: number
  /** Bytes of the index. */
  readonly size: number
}

const DIGEST_MAX = 160
const HASH_BYTES = 32

/** @returns `PAGE` bytes */
export function encodeHeader(header: IndexHeader): Buffer {
  const page = Buffer.alloc(PAGE)
  page.write(MAGIC, 0, 'latin1')
  page.writeUInt32LE(VERSION, 8)
  page.writeUInt32LE(FORMS.indexOf(header.form), 12)
  const numbers = [
    header.blobSize,
    header.archiveSize,
    header.checkpoints,
    header.checkpointCount,
    header.inodes,
    header.inodeCount,
    header.size,
  ]
  numbers.forEach((value, i) => {
    page.writeBigUInt64LE(BigInt(value), 16 + i * 8)
  })
  page.write(header.blobRootHash, 72, HASH_BYTES, 'hex')
  page.writeUInt32LE(header.digest.length, 104)
  page.write(header.digest, 108, 'latin1')
  return page
}

/** Whether a file begins as an index of a tar layer does. */
export function hasMagic(head: Uint8Array): boolean {
  return Buffer.from(head.buffer, head.byteOffset, Math.min(8, head.length)).toString('latin1') === MAGIC
}

/** @throws FsError EINVAL for what is no index, and for one of another version; EIO where it contradicts itself */
export function decodeHeader(page: Uint8Array, label: string): IndexHeader {
  const what = `${label}: index of a layer`
  if (!hasMagic(page)) throw new FsError('EINVAL', `${what}: no such index`)
  const reader = new ByteReader(viewOf(page), 8, page.length, what)
  const version = reader.u32()
  if (version !== VERSION)
    throw new FsError('EINVAL', `${what}: version ${version}, only ${VERSION} is known`)
  const form = FORMS[reader.u32()]
  const [blobSize, archiveSize, checkpoints, checkpointCount] = [
    reader.offset64(),
    reader.offset64(),
    reader.offset64(),
    reader.offset64(),
  ]
  const [inodes, inodeCount, size] = [reader.offset64(), reader.offset64(), reader.offset64()]
  const blobRootHash = Buffer.from(reader.bytes(HASH_BYTES)).toString('hex')
  const length = reader.u32()
  const digest = Buffer.from(reader.bytes(Math.min(length, DIGEST_MAX))).toString('latin1')
  const fits =
    form !== undefined &&
    length <= DIGEST_MAX &&
    blobSize > 0 &&
    inodeCount > 0 &&
    inodeCount < 2 ** 32 &&
    checkpoints + checkpointCount * CHECKPOINT_SIZE <= inodes &&
    inodes + inodeCount * INODE_SIZE <= size
  if (!fits) throw new FsError('EIO', `${what}: its header contradicts itself`)
  return {
    form,
    digest,
    blobSize,
    archiveSize,
    blobRootHash,
    checkpoints,
    checkpointCount,
    inodes,
    inodeCount,
    size,
  }
}

/** An inode as it is stored. */
export interface StoredInode {
  /** Type and permission bits. */
  readonly mode: number
  /** `data` is a position in the heap: the map of a file with holes. */
  readonly isSparse: boolean
  /** A directory without an entry of its own: its attributes are those of the layer below, where that has it. */
  readonly isImplied: boolean
  /** A hard link to a file that only the layers below have: `data` and `size` are those of its path there. */
  readonly isBelow: boolean
  readonly uid: number
  readonly gid: number
  readonly seconds: number
  readonly nanoseconds: number
  readonly nlink: number
  readonly rdev: number
  /** Bytes of a file or of the target of a link; entries of a directory. */
  readonly size: number
  /** Regular files: byte of the archive, or of the heap. Links: of the heap. Directories: where its entries are. */
  readonly data: number
  /** Where its extended attributes are; 0 for none. */
  readonly attributes: number
}

const FLAG = { isSparse: 1, isImplied: 2, isBelow: 4 } as const

/** The bits of an inode's flags. */
export function flagsOf(inode: Pick<StoredInode, keyof typeof FLAG>): number {
  return (
    (inode.isSparse ? FLAG.isSparse : 0) +
    (inode.isImplied ? FLAG.isImplied : 0) +
    (inode.isBelow ? FLAG.isBelow : 0)
  )
}

/** The flags of an inode by their bits. */
export function readFlags(bits: number): Pick<StoredInode, keyof typeof FLAG> {
  return {
    isSparse: (bits & FLAG.isSparse) !== 0,
    isImplied: (bits & FLAG.isImplied) !== 0,
    isBelow: (bits & FLAG.isBelow) !== 0,
  }
}

/** A device has no data, so its number stands in that place. */
export function encodeInode(inode: StoredInode, to: Buffer, at: number): void {
  to.writeUInt16LE(inode.mode, at)
  to.writeUInt16LE(flagsOf(inode), at + 2)
  to.writeUInt32LE(inode.uid, at + 4)
  to.writeUInt32LE(inode.gid, at + 8)
  to.writeBigInt64LE(BigInt(inode.seconds), at + 12)
  to.writeUInt32LE(inode.nanoseconds, at + 20)
  to.writeUInt32LE(inode.nlink, at + 24)
  to.writeBigUInt64LE(BigInt(inode.size), at + 28)
  to.writeBigUInt64LE(BigInt(inode.data + inode.rdev), at + 36)
  to.writeBigUInt64LE(BigInt(inode.attributes), at + 44)
}

/** @throws FsError EIO for numbers that no file can have */
export function decodeInode(bytes: Uint8Array, what: string): StoredInode {
  const reader = ByteReader.over(bytes, what)
  const mode = reader.u16()
  const flags = reader.u16()
  const [uid, gid] = [reader.u32(), reader.u32()]
  const seconds = Number(BigInt.asIntN(64, reader.u64()))
  const [nanoseconds, nlink] = [reader.u32(), reader.u32()]
  const [size, data, attributes] = [reader.offset64(), reader.offset64(), reader.offset64()]
  const type = mode & 0o170000
  const isDevice = type === 0o020000 || type === 0o060000
  return {
    mode,
    ...readFlags(flags),
    uid,
    gid,
    seconds,
    nanoseconds,
    nlink,
    rdev: isDevice ? data : 0,
    size,
    data: isDevice ? 0 : data,
    attributes,
  }
}

/** A checkpoint as it is stored: without its window, and where that lies. */
export interface StoredCheckpoint {
  readonly archiveAt: number
  readonly blobAt: number
  readonly bits: number
  /** Where the window is, deflated. */
  readonly window: number
  /** Its bytes there; 0 for none. */
  readonly windowSize: number
}

/** The reverse of `decodeCheckpoint`: 32 bytes at `at`. */
export function encodeCheckpoint(point: StoredCheckpoint, to: Buffer, at: number): void {
  to.writeBigUInt64LE(BigInt(point.archiveAt), at)
  to.writeBigUInt64LE(BigInt(point.blobAt), at + 8)
  to.writeBigUInt64LE(BigInt(point.window), at + 16)
  to.writeUInt32LE(point.windowSize, at + 24)
  to.writeUInt32LE(point.bits, at + 28)
}

/** @throws FsError EIO */
export function decodeCheckpoint(bytes: Uint8Array, what: string): StoredCheckpoint {
  const reader = ByteReader.over(bytes, what)
  const [archiveAt, blobAt, window] = [reader.offset64(), reader.offset64(), reader.offset64()]
  const [windowSize, bits] = [reader.u32(), reader.u32()]
  if (bits > 7) throw new FsError('EIO', `${what}: ${bits} bits of a byte`)
  return { archiveAt, blobAt, bits, window, windowSize }
}
