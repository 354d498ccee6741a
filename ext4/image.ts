import {
  ALL_MARKS,
  type ByteSource,
  type DirectoryCursor,
  DT_DIR,
  type ExtentSink,
  FsError,
  fingerprint,
  isDirectory,
  isRegular,
  isSymlink,
  type Layer,
  type LayerEntry,
  type Name,
  type Ref,
  type SourceId,
  type Stat,
  type StatFs,
  type Whence,
} from '../src/base/index.ts'
import { Attributes } from './attributes/attributes.ts'
import { DirectoryReader } from './directories/directory-reader.ts'
import { readMetadataFile } from './files/file-blocks.ts'
import { FileReader } from './files/file-reader.ts'
import { hasInlineData, readInlineData } from './inodes/inline-data.ts'
import { BLOCK_FIELD_SIZE, INODE_FLAGS, type Inode } from './inodes/inode.ts'
import { InodeTable } from './inodes/inode-table.ts'
import { openVolume, type Replay } from './journal/open-volume.ts'
import type { Superblock } from './superblock/superblock.ts'
import type { MetadataCache } from './volume/metadata-cache.ts'
import type { Volume } from './volume/volume.ts'

const ROOT_INODE = 2
const NAME_LEN = 255
/** In an image that was made as a writable overlay, the directory of its changes. */
const UPPER = 'upper'
/** Inodes passed over until `following` gives up: a hint must stay cheap. */
const FOLLOWING_LIMIT = 16

/** What an image is read from. */
export interface Ext4Options {
  readonly source: ByteSource
  /** `BlockRef.source` of the blocks that `extents` describes. */
  readonly sourceId: SourceId
  /** Digest or path, for messages. */
  readonly label: string
  /** Shared by all images of a session; a cache of its own where absent. */
  readonly cache?: MetadataCache | undefined
  /** Called by long walks where they can go on later. It may throw `Postponed`. */
  readonly pause?: (() => void) | undefined
  /** A part of a merge: of an overlay image, the directory `upper` is the layer. */
  readonly isMerged?: boolean | undefined
}

/** One ext2, ext3 or ext4 file system as a read-only layer. A ref is an inode number. Synchronous, for one thread. */
export class Ext4Image implements Layer {
  readonly marks = ALL_MARKS
  readonly sorted = false
  readonly attributes = 'all'
  readonly hasBirthTimes = true
  readonly label: string
  readonly root: Ref
  readonly refSpan: number
  readonly inodes: { readonly count: number }
  readonly superblock: Superblock
  readonly replay: Replay | undefined
  readonly #generation: number
  readonly #volume: Volume
  readonly #table: InodeTable
  readonly #directories: DirectoryReader
  readonly #files: FileReader
  readonly #attributes: Attributes

  /** Replays the journal. @throws FsError EINVAL for what is no such file system, or has unknown features; EIO for damage */
  constructor({ source, sourceId, label, cache, pause = () => {}, isMerged = false }: Ext4Options) {
    const { volume, replay } = openVolume(source, label, cache)
    const { superblock } = volume
    this.label = label
    this.superblock = superblock
    this.replay = replay
    this.#generation = generationOf(superblock)
    this.#volume = volume
    this.#table = new InodeTable(volume)
    this.#directories = new DirectoryReader(volume, this.#table, pause)
    this.#files = new FileReader(volume, this.#table, sourceId, pause)
    this.#attributes = new Attributes(volume, this.#table)
    this.inodes = { count: superblock.inodeCount }
    this.refSpan = superblock.inodeCount + 1
    const { mode } = this.#table.read(ROOT_INODE)
    if (!isDirectory(mode)) throw volume.damage(0, 'the root is no directory')
    this.root = isMerged ? (this.#upper() ?? ROOT_INODE) : ROOT_INODE
  }

  generation(): number {
    return this.#generation
  }

  stat(ref: Ref): Stat {
    const inode = this.#table.read(ref)
    const { atime, mtime, ctime, crtime } = inode
    const birth = crtime === undefined ? {} : { btime: crtime.seconds, btimeNsec: crtime.nanoseconds }
    return {
      ino: inode.number,
      mode: inode.mode,
      nlink: inode.nlink,
      uid: inode.uid,
      gid: inode.gid,
      rdev: inode.rdev,
      size: inode.size,
      blocks: inode.blocks + inlineBlocks(inode),
      blksize: this.superblock.blockSize,
      atime: atime.seconds,
      mtime: mtime.seconds,
      ctime: ctime.seconds,
      atimeNsec: atime.nanoseconds,
      mtimeNsec: mtime.nanoseconds,
      ctimeNsec: ctime.nanoseconds,
      ...birth,
    }
  }

  lookup(directory: Ref, name: Name): LayerEntry | undefined {
    return this.#directories.lookup(this.#table.read(directory), name)
  }

  openDirectory(directory: Ref, position: number): DirectoryCursor {
    return this.#directories.open(this.#table.read(directory), position)
  }

  openDirectoryAt(directory: Ref): DirectoryCursor {
    throw new FsError('EIO', `${this.label}: directory ${directory} has no order`)
  }

  readlink(ref: Ref): Uint8Array {
    const inode = this.#table.read(ref)
    if (!isSymlink(inode.mode)) throw new FsError('EINVAL', `${this.label}: inode ${ref} is no symbolic link`)
    const target = this.#target(inode)
    if (target.includes(0)) throw this.#volume.damage(0, `inode ${ref}: a NUL in the target of a link`)
    return target
  }

  listxattr(ref: Ref): readonly Name[] {
    return this.#attributes.names(this.#table.read(ref))
  }

  getxattr(ref: Ref, name: Name): Uint8Array | undefined {
    return this.#attributes.value(this.#table.read(ref), name)
  }

  extents(ref: Ref, offset: number, length: number, sink: ExtentSink): void {
    this.#files.extents(this.#table.read(ref), offset, length, sink)
  }

  seek(ref: Ref, offset: number, whence: Whence): number {
    return this.#files.seek(this.#table.read(ref), offset, whence)
  }

  statfs(): StatFs {
    const { blockSize, blockCount, freeBlocks, reservedBlocks, inodeCount, freeInodes } = this.superblock
    return {
      blockSize,
      blocks: blockCount,
      blocksFree: freeBlocks,
      blocksAvailable: Math.max(0, freeBlocks - reservedBlocks),
      files: inodeCount,
      filesFree: freeInodes,
      nameMax: NAME_LEN,
    }
  }

  /** The regular file with the next number: files of one directory mostly got theirs one after the other. */
  following(ref: Ref): Ref | undefined {
    const last = Math.min(ref + FOLLOWING_LIMIT, this.superblock.inodeCount)
    for (let number = ref + 1; number <= last; number++) {
      const inode = this.#table.peek(number)
      if (inode !== undefined && isRegular(inode.mode)) return number
    }
    return undefined
  }

  /** The layer of an image that is more than a directory tree: what `work` and `lost+found` hold is no part of it. */
  #upper(): Ref | undefined {
    const root = this.#table.read(ROOT_INODE)
    const entry = this.#directories.lookup(root, UPPER)
    const work = this.#directories.lookup(root, 'work')
    return entry?.type === DT_DIR && work?.type === DT_DIR ? entry.ref : undefined
  }

  #target(inode: Inode): Uint8Array {
    const { blockSize } = this.superblock
    const { size, blockField, number } = inode
    if (hasInlineData(inode)) {
      const pieces = readInlineData(this.#volume, this.#table, inode)
      return Buffer.concat(pieces.map(({ bytes }) => bytes)).subarray(0, size)
    }
    // Short targets stand where others have their blocks (fs/ext4/inode.c:ext4_inode_is_fast_symlink).
    if (size < BLOCK_FIELD_SIZE && (inode.flags & INODE_FLAGS.hasExtents) === 0)
      return blockField.slice(0, size)
    if (size > blockSize) {
      throw this.#volume.damage(0, `inode ${number}: a link of ${size} bytes, at most ${blockSize}`)
    }
    return readMetadataFile(this.#volume, inode, size)
  }
}

/** Content in the inode takes no blocks, and is counted all the same (fs/ext4/inode.c:ext4_file_getattr). */
function inlineBlocks(inode: Inode): number {
  return isRegular(inode.mode) && hasInlineData(inode) ? Math.ceil(inode.size / 512) : 0
}

/** It has the identity of the file system, and what changes with every writing mount of it. */
function generationOf({ uuid, mkfsTime, writeTime, mountTime, written, freeInodes }: Superblock): number {
  return fingerprint([...uuid, mkfsTime, writeTime, mountTime, written % 2 ** 53, freeInodes])
}
