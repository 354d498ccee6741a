import {
  ALL_MARKS,
  type AttributeKinds,
  type ByteSource,
  type ExtentSink,
  FsError,
  fingerprint,
  type Layer,
  type SourceId,
  type Stat,
  type StatFs,
  type Whence,
} from '../src/base/index.ts'
import type { Codec, CompressorName } from '../src/codecs/index.ts'
import { type CompressorOptions, readCompressorOptions } from './compressor-options.ts'
import type { DirectoryEntry } from './directories/directory-entry.ts'
import { DirectoryOrder } from './directories/directory-order.ts'
import { DirectoryReader } from './directories/directory-reader.ts'
import type { DirectoryListing } from './directories/listing.ts'
import { SQUASHFS_NAME_LEN } from './directories/listing-range.ts'
import { FileReader } from './file.ts'
import {
  decodeInode,
  type Inode,
  type InodeContext,
  isDirectoryInode,
  isFileInode,
  isSymlinkInode,
  NO_INDEX,
  tailLength,
} from './metadata/inode.ts'
import { MetadataCache } from './metadata/metadata-cache.ts'
import { MetadataCursor } from './metadata/metadata-cursor.ts'
import { MetadataReader } from './metadata/metadata-reader.ts'
import { blockOf, offsetOf, refOf } from './metadata/metadata-reference.ts'
import { readSuperblock, SUPERBLOCK_SIZE, type Superblock } from './superblock.ts'
import { openTables, type Tables } from './tables.ts'

/** What an image is read from, and with what. */
export interface SquashfsOptions {
  readonly source: ByteSource
  /** `BlockRef.source` of the blocks that `extents` describes. */
  readonly sourceId: SourceId
  /** Digest or path, for messages. */
  readonly label: string
  /** The codec of the image's compressor, or how to open it (`openCodec`). */
  readonly codec: Codec | ((compressor: CompressorName) => Codec)
  /** Shared by all images of a mount; a cache of its own where absent. */
  readonly metadataCache?: MetadataCache
  /** Called by long walks where they can go on later. It may throw `Postponed`. Absent: walks are not interrupted. */
  readonly pause?: () => void
}

/**
 * Few: to decode an inode again takes a microsecond, and one that lives longer than V8's young generation costs several
 * in its collections. A prime, so that inodes at equal distances share no slot.
 */
const INODE_CACHE_SLOTS = 13
// Inodes passed over, and bytes between two of them, until `following` gives up: a hint must stay cheap.
const FOLLOWING_LIMIT = 64
const TAIL_LIMIT = 4096

/**
 * One squashfs image as a read-only layer. A ref is an
 * inode reference as block × METADATA_SIZE + offset, the block relative to the inode table. Synchronous, for one thread.
 */
export class SquashfsImage implements Layer {
  readonly marks = ALL_MARKS
  readonly label: string
  readonly superblock: Superblock
  readonly options: CompressorOptions
  readonly root: number
  readonly refSpan: number
  readonly inodes: { readonly count: number }
  readonly attributes: AttributeKinds
  readonly #generation: number
  readonly #metadataCache: MetadataCache
  readonly #tables: Tables
  readonly #context: InodeContext
  readonly #files: FileReader
  readonly #directories: DirectoryReader
  readonly #inodeCursor: MetadataCursor
  // Direct-mapped: lookup, getattr and read of one file decode its inode once.
  readonly #inodes: (Inode | undefined)[] = new Array<Inode | undefined>(INODE_CACHE_SLOTS).fill(undefined)

  /** Reads superblock, ids and the root inode. @throws FsError EINVAL: no squashfs 4.0 image; EIO: damaged */
  constructor(options: SquashfsOptions) {
    const { source, sourceId, label, pause = () => {} } = options
    this.label = label
    const superblock = readSuperblock(source)
    this.superblock = superblock
    // It has the time at which the image was made, and the places of all tables.
    this.#generation = fingerprint(Object.values(superblock).filter((value) => typeof value === 'number'))
    const codec = typeof options.codec === 'function' ? options.codec(superblock.compressor) : options.codec
    if (codec.name !== superblock.compressor) {
      throw new FsError(
        'EINVAL',
        `${label}: compressed with ${superblock.compressor}, codec is ${codec.name}`,
      )
    }
    this.options = readCompressorOptions(source, superblock)
    this.#metadataCache = options.metadataCache ?? new MetadataCache()
    const reader = new MetadataReader(source, codec, this.#metadataCache, label)
    this.#tables = openTables(source, reader, superblock, pause)
    this.#context = { ids: this.#tables.ids, blockSize: superblock.blockSize }
    this.root = refOf(superblock.rootBlock, superblock.rootOffset)
    // The format has numbers for `user.`, `trusted.` and `security.` only (fs/squashfs/xattr.c:squashfs_xattr_handler).
    this.attributes = this.#tables.xattrs === undefined ? 'none' : 'no-acls'
    this.inodes = { count: superblock.inodeCount }
    this.refSpan = refOf(superblock.directoryTable - superblock.inodeTable, 0)
    this.#files = new FileReader({
      inodeTable: this.#tables.inodes,
      fragments: this.#tables.fragments,
      blockSize: superblock.blockSize,
      limits: { start: SUPERBLOCK_SIZE, end: superblock.inodeTable },
      sourceId,
      pause,
    })
    this.#inodeCursor = new MetadataCursor(
      this.#tables.inodes,
      superblock.inodeTable + superblock.rootBlock,
      superblock.rootOffset,
    )
    const root = this.inode(this.root)
    if (!isDirectoryInode(root)) throw new FsError('EIO', `${label}: root inode is no directory`)
    this.#directories = new DirectoryReader(
      {
        table: this.#tables.directories,
        refSpan: this.refSpan,
        order: new DirectoryOrder(this.root, this.#isLast(root)),
        inodeNumber: (ref) => this.inode(ref).inodeNumber,
      },
      this.#tables.inodes,
      pause,
    )
  }

  giveBack(): void {
    this.#metadataCache.clear()
  }

  generation(): number {
    return this.#generation
  }

  /** @throws FsError EIO */
  inode(ref: number): Inode {
    const slot = ref % INODE_CACHE_SLOTS
    const cached = this.#inodes[slot]
    if (cached !== undefined && cached.ref === ref) return cached
    return this.#decodeAt(ref)
  }

  /** Leaves the cursor behind the fields of the inode. */
  #decodeAt(ref: number): Inode {
    if (!(ref >= 0 && ref < this.refSpan)) {
      throw new FsError('EIO', `${this.label}: inode ${ref} outside the inode table`)
    }
    this.#inodeCursor.seek(this.superblock.inodeTable + blockOf(ref), offsetOf(ref))
    const inode = decodeInode(this.#inodeCursor, ref, this.#context)
    this.#inodes[ref % INODE_CACHE_SLOTS] = inode
    return inode
  }

  /** As the kernel's squashfs shows it (fs/squashfs/inode.c). */
  stat(ref: number): Stat {
    const inode = this.inode(ref)
    const { mtime } = inode
    return {
      ino: inode.inodeNumber,
      mode: inode.mode,
      nlink: inode.nlink,
      uid: inode.uid,
      gid: inode.gid,
      rdev: inode.rdev,
      size: inode.size,
      blocks: this.#blocks(inode),
      blksize: this.superblock.blockSize,
      atime: mtime,
      mtime,
      ctime: mtime,
      atimeNsec: 0,
      mtimeNsec: 0,
      ctimeNsec: 0,
    }
  }

  lookup(directory: number, name: string): DirectoryEntry | undefined {
    return this.#directories.lookup(this.#directory(directory), name)
  }

  openDirectory(directory: number, position: number): DirectoryListing {
    return this.#directories.open(this.#directory(directory), position)
  }

  openDirectoryAt(directory: number, name: string): DirectoryListing {
    return this.#directories.openAt(this.#directory(directory), name)
  }

  readlink(ref: number): Uint8Array {
    const inode = this.inode(ref)
    if (!isSymlinkInode(inode)) throw new FsError('EINVAL', `${this.label}: inode ${ref} is no symbolic link`)
    // There may be nothing behind the last inode of the table, so that no cursor can stand there.
    if (inode.size === 0) return new Uint8Array(0)
    return new MetadataCursor(this.#tables.inodes, inode.tailPosition, inode.tailOffset).copy(inode.size)
  }

  attributeNames(): ReadonlySet<string> | undefined {
    return this.#tables.xattrs?.allNames()
  }

  listxattr(ref: number): readonly string[] {
    const { xattrIndex } = this.inode(ref)
    const table = this.#tables.xattrs
    // An index without a table counts as none, as in the kernel.
    return table === undefined || xattrIndex === NO_INDEX ? [] : table.names(xattrIndex)
  }

  getxattr(ref: number, name: string): Uint8Array | undefined {
    const { xattrIndex } = this.inode(ref)
    const table = this.#tables.xattrs
    return table === undefined || xattrIndex === NO_INDEX ? undefined : table.value(xattrIndex, name)
  }

  extents(ref: number, offset: number, length: number, sink: ExtentSink): void {
    this.#files.extents(this.#file(ref), offset, length, sink)
  }

  seek(ref: number, offset: number, whence: Whence): number {
    return this.#files.seek(this.#file(ref), offset, whence)
  }

  /**
   * The regular file whose inode is stored after this one. Builders store inodes and data in the order of a walk,
   * so it is what a reader of the whole tree wants next. @throws FsError EIO
   */
  following(ref: number): number | undefined {
    let inode = this.inode(ref)
    for (let passed = 0; passed < FOLLOWING_LIMIT; passed++) {
      const next = this.#refBehind(inode)
      if (next === undefined) return undefined
      inode = this.inode(next)
      if (isFileInode(inode)) return next
    }
    return undefined
  }

  /** @returns undefined behind the last inode, and where much lies between. @throws FsError EIO */
  #refBehind(inode: Inode): number | undefined {
    const { end } = this.#tables.inodes
    const length = tailLength(inode, this.superblock.blockSize)
    if (length === undefined || length > TAIL_LIMIT || inode.tailPosition >= end) return undefined
    const cursor = this.#inodeCursor
    cursor.seek(inode.tailPosition, inode.tailOffset)
    cursor.skip(length)
    const { blockPosition, offset } = cursor
    return blockPosition < end ? refOf(blockPosition - this.superblock.inodeTable, offset) : undefined
  }

  statfs(): StatFs {
    const { blockSize, bytesUsed, inodeCount } = this.superblock
    return {
      blockSize,
      blocks: Math.ceil(bytesUsed / blockSize),
      blocksFree: 0,
      blocksAvailable: 0,
      files: inodeCount,
      filesFree: 0,
      nameMax: SQUASHFS_NAME_LEN,
    }
  }

  /**
   * The directory or file at a path below the root; "." and empty components are skipped, links not followed.
   * @throws FsError ENOENT, ENOTDIR, EINVAL for ".."
   */
  resolve(path: string): number {
    let ref = this.root
    for (const component of path.split('/')) {
      if (component === '' || component === '.') continue
      if (component === '..') throw new FsError('EINVAL', `${path}: ".." is not allowed here`)
      const entry = this.lookup(ref, Buffer.from(component, 'utf8').toString('latin1'))
      if (entry === undefined) throw new FsError('ENOENT', `${this.label}: no ${path} in the image`)
      ref = entry.ref
    }
    return ref
  }

  #directory(ref: number): Inode {
    const inode = this.inode(ref)
    if (!isDirectoryInode(inode)) throw new FsError('ENOTDIR', `${this.label}: inode ${ref} is no directory`)
    return inode
  }

  #file(ref: number): Inode {
    const inode = this.inode(ref)
    if (isFileInode(inode)) return inode
    const code = isDirectoryInode(inode) ? 'EISDIR' : 'EINVAL'
    throw new FsError(code, `${this.label}: inode ${ref} is no regular file`)
  }

  #blocks(inode: Inode): number {
    let blocks = isFileInode(inode) ? Math.ceil(Math.max(0, inode.size - inode.sparse) / 512) : 0
    const table = this.#tables.xattrs
    if (inode.xattrIndex !== NO_INDEX && table !== undefined) {
      blocks += Math.ceil(table.size(inode.xattrIndex) / 512)
    }
    return blocks
  }

  /** Whether the root is the last inode of the table, as the common writers put it. */
  #isLast(root: Inode): boolean {
    const cursor = this.#inodeCursor
    try {
      for (let i = 0; i < root.indexCount; i++) {
        const at = cursor.take(12)
        const nameSize = cursor.view.getUint32(at + 8, true) + 1
        if (nameSize > SQUASHFS_NAME_LEN) return false
        cursor.skip(nameSize)
      }
    } catch (error) {
      // The lookup that uses a damaged index reports it; here it only means not to rely on the order.
      if (error instanceof FsError) return false
      throw error
    }
    return cursor.blockPosition === this.#tables.inodes.end
  }
}
