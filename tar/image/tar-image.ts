import {
  type ByteSource,
  type DirectoryCursor,
  type ExtentSink,
  FsError,
  fingerprint,
  isDirectory,
  isRegular,
  isSymlink,
  type Layer,
  type LayerEntry,
  NAME_MAX,
  type Name,
  type Ref,
  type SourceId,
  type Stat,
  type StatFs,
  type Whence,
} from '../../src/base/index.ts'
import type { StoredInode } from '../format/layout.ts'
import { attributeNames, attributeValue } from './attributes.ts'
import { Directory } from './directory.ts'
import { FileData } from './file-data.ts'
import { IndexPages, type PageCache } from './index-pages.ts'
import { StoredOrder } from './stored-order.ts'

const BLOCK = 4096
const TARGET_MAX = 4096
/** Inodes passed over until `following` gives up: a hint must stay cheap. */
const FOLLOWING_LIMIT = 16

/** What a layer is read from. */
export interface TarImageOptions {
  /** The index. */
  readonly source: ByteSource
  readonly sourceId: SourceId
  readonly label: string
  readonly cache?: PageCache
}

/**
 * The layer of an archive, by its index. A ref is the number of an inode. Attributes and devices are data: the only marks
 * are names (image-spec, layer.md, "Whiteouts").
 */
export class TarImage implements Layer {
  readonly label: string
  readonly root: Ref = 0
  readonly refSpan: number
  readonly inodes: { readonly count: number }
  readonly marks = { devices: false, attributes: false, names: true, plainNames: true } as const
  readonly attributes = 'all'
  readonly #pages: IndexPages
  readonly #files: FileData
  readonly #order = new StoredOrder()
  readonly #generation: number

  /** @throws FsError EINVAL, EIO */
  constructor({ source, sourceId, label, cache }: TarImageOptions) {
    this.label = label
    this.#pages = new IndexPages(source, label, cache)
    this.#files = new FileData(this.#pages, sourceId)
    const { inodeCount, inodes, digest } = this.#pages.header
    if (!isDirectory(this.#pages.inode(this.root).mode))
      throw this.#pages.damage(inodes, 'its root is no directory')
    this.refSpan = inodeCount
    this.inodes = { count: inodeCount }
    this.#generation = fingerprint(Buffer.from(digest, 'latin1'))
  }

  generation(): number {
    return this.#generation
  }

  stat(ref: Ref): Stat {
    const inode = this.#pages.inode(ref)
    const { mode, nlink, uid, gid, rdev, seconds, nanoseconds } = inode
    const size = isDirectory(mode) ? BLOCK : inode.isBelow ? 0 : inode.size
    const blocks = isRegular(mode) && !inode.isBelow ? Math.ceil(this.#files.storedSize(inode) / 512) : 0
    return {
      ino: ref + 1,
      mode,
      nlink: Math.max(1, nlink),
      uid,
      gid,
      rdev,
      size,
      blocks,
      blksize: BLOCK,
      atime: seconds,
      mtime: seconds,
      ctime: seconds,
      atimeNsec: nanoseconds,
      mtimeNsec: nanoseconds,
      ctimeNsec: nanoseconds,
    }
  }

  isImplied(ref: Ref): boolean {
    return this.#pages.inode(ref).isImplied
  }

  pathBelow(ref: Ref): Name | undefined {
    const { isBelow, size, data } = this.#pages.inode(ref)
    if (!isBelow) return undefined
    if (size > TARGET_MAX) throw this.#pages.damage(data, `a path of ${size} bytes`)
    return this.#pages.read(data, size).toString('latin1')
  }

  lookup(directory: Ref, name: Name): LayerEntry | undefined {
    return this.#directory(directory).find(name)
  }

  openDirectory(directory: Ref, position: number): DirectoryCursor {
    return this.#directory(directory).open(position)
  }

  openUnordered(directory: Ref, position: number): DirectoryCursor {
    return this.#order.open(directory, this.#directory(directory), position)
  }

  openDirectoryAt(directory: Ref, name: Name): DirectoryCursor {
    const found = this.#directory(directory)
    return found.open(found.rowOf(name))
  }

  readlink(ref: Ref): Uint8Array {
    const { mode, size, data } = this.#pages.inode(ref)
    if (!isSymlink(mode)) throw new FsError('EINVAL', `${this.label}: inode ${ref} is no symbolic link`)
    if (size > TARGET_MAX) throw this.#pages.damage(data, `a link of ${size} bytes`)
    return this.#pages.read(data, size)
  }

  listxattr(ref: Ref): readonly Name[] {
    return attributeNames(this.#pages, this.#pages.inode(ref))
  }

  getxattr(ref: Ref, name: Name): Uint8Array | undefined {
    return attributeValue(this.#pages, this.#pages.inode(ref), name)
  }

  extents(ref: Ref, offset: number, length: number, sink: ExtentSink): void {
    this.#files.extents(this.#regular(ref), offset, length, sink)
  }

  seek(ref: Ref, offset: number, whence: Whence): number {
    return this.#files.seek(this.#regular(ref), offset, whence)
  }

  statfs(): StatFs {
    const { archiveSize, inodeCount } = this.#pages.header
    const blocks = Math.ceil(archiveSize / BLOCK)
    return {
      blockSize: BLOCK,
      blocks,
      blocksFree: 0,
      blocksAvailable: 0,
      files: inodeCount,
      filesFree: 0,
      nameMax: NAME_MAX,
    }
  }

  /** Inodes are numbered as their files stand in the archive. */
  following(ref: Ref): Ref | undefined {
    const last = Math.min(ref + FOLLOWING_LIMIT, this.refSpan - 1)
    for (let next = ref + 1; next <= last; next++) {
      const { mode, size, nlink, isBelow } = this.#pages.inode(next)
      if (isRegular(mode) && !isBelow && size > 0 && nlink > 0) return next
    }
    return undefined
  }

  #directory(ref: Ref): Directory {
    return new Directory(this.#pages, this.#pages.inode(ref))
  }

  /** @throws FsError EISDIR, EINVAL */
  #regular(ref: Ref): StoredInode {
    const inode = this.#pages.inode(ref)
    if (inode.isBelow) return { ...inode, size: 0 }
    if (isRegular(inode.mode)) return inode
    const code = isDirectory(inode.mode) ? 'EISDIR' : 'EINVAL'
    throw new FsError(code, `${this.label}: inode ${ref} is no regular file`)
  }
}
