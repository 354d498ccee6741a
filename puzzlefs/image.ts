import {
  type ByteSource,
  type DirectoryCursor,
  direntType,
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
  NO_MARKS,
  type Ref,
  type SourceId,
  type Stat,
  type StatFs,
  type Whence,
} from '../src/base/index.ts'
import { FileMaps } from './chunks/file-map.ts'
import { CHUNK_END, PART_SIZE, partRef } from './chunks/part.ts'
import { PuzzleDirectoryCursor } from './directories/directory-cursor.ts'
import { numberAt } from './directories/entries.ts'
import { Links, UNIT } from './directories/links.ts'
import { NameIndex } from './directories/name-index.ts'
import { PageCache } from './message/pages.ts'
import { Attributes } from './rootfs/attributes.ts'
import { type Inode, targetOf } from './rootfs/inode.ts'
import { DELETED, InodeTable } from './rootfs/inode-table.ts'
import { Rootfs } from './rootfs/rootfs.ts'

const ROOT_NUMBER = 1
/** Longest target of a symbolic link, bytes (include/uapi/linux/limits.h, PATH_MAX). */
const TARGET_MAX = 4095
/** Inodes passed over until `following` gives up: a hint must stay cheap. */
const FOLLOWING_LIMIT = 16

/** What an image is read from. */
export interface PuzzleOptions {
  /** The rootfs blob, verified. */
  readonly source: ByteSource
  /** `BlockRef.source` of the blocks that `extents` describes. */
  readonly sourceId: SourceId
  /** Digest or path, for messages. */
  readonly label: string
  /** Shared by all images of a session; a cache of its own where absent. */
  readonly cache?: PageCache | undefined
  /** Called by long walks where they can go on later. It may throw `Postponed`. */
  readonly pause?: (() => void) | undefined
  /** Told of names that are not shown. */
  readonly warn?: ((message: string) => void) | undefined
}

/** One PuzzleFS image as a read-only layer: all its layers of metadata together. Synchronous, for one thread. */
export class PuzzleImage implements Layer {
  /** `.wh.` names, devices 0:0 and attributes of overlays are data here: deletions are inodes of their own. */
  readonly marks = NO_MARKS
  readonly sorted = false
  readonly attributes = 'all'
  readonly label: string
  readonly root: Ref
  readonly refSpan: number
  readonly inodes: { readonly count: number }
  readonly rootfs: Rootfs
  readonly #sourceId: SourceId
  readonly #table: InodeTable
  readonly #names: NameIndex
  readonly #maps: FileMaps
  readonly #links: Links
  readonly #attributes: Attributes
  readonly #pause: () => void
  readonly #generation: number

  /** @throws FsError EINVAL for another version of the format; EIO for damage */
  constructor(options: PuzzleOptions) {
    const { source, sourceId, label, cache = new PageCache(), pause = () => {}, warn = () => {} } = options
    this.label = label
    this.rootfs = new Rootfs(source, cache)
    const { message } = this.rootfs
    this.#sourceId = sourceId
    this.#pause = pause
    this.#table = new InodeTable(this.rootfs)
    this.#names = new NameIndex(message, pause)
    this.#maps = new FileMaps(message, pause)
    this.#links = new Links(this.rootfs, this.#table, this.#maps, pause, warn)
    this.#attributes = new Attributes(message)
    this.#generation = fingerprint(Buffer.from(label))
    this.refSpan = Math.max(1, this.rootfs.inodeCount)
    this.inodes = { count: this.#table.largest }
    const root = this.#table.find(ROOT_NUMBER)
    if (root < 0) throw message.damage(0, 'no root directory')
    if (!isDirectory(this.#table.read(root).mode)) throw message.damage(0, 'the root is no directory')
    this.root = root
  }

  generation(): number {
    return this.#generation
  }

  /** What people should know of the image; undefined where all is well. */
  remark(): string | undefined {
    return this.#links.remark(this.root)
  }

  stat(ref: Ref): Stat {
    const inode = this.#table.read(ref)
    const { mode, uid, gid, rdev } = inode
    const size = this.#size(inode)
    return {
      ino: this.#table.shown(ref),
      mode,
      nlink: this.#links.of(ref, this.root),
      uid,
      gid,
      rdev,
      size,
      blocks: isRegular(mode) ? Math.ceil(size / 512) : 0,
      blksize: UNIT,
      // The format has no times.
      atime: 0,
      mtime: 0,
      ctime: 0,
      atimeNsec: 0,
      mtimeNsec: 0,
      ctimeNsec: 0,
    }
  }

  lookup(directory: Ref, name: Name): LayerEntry | undefined {
    const { list } = this.#directory(directory)
    const { message } = this.rootfs
    const entry = this.#names.find(directory, list, name)
    if (entry === undefined) return undefined
    const number = numberAt(message, list, entry)
    const ref = this.#table.find(number)
    if (ref === DELETED) return undefined
    if (ref < 0)
      throw message.damage(list.at, `directory ${directory}: ${JSON.stringify(name)} has no inode ${number}`)
    return { name, ref, ino: this.#table.shown(ref), type: direntType(this.#table.type(ref)) }
  }

  openDirectory(directory: Ref, position: number): DirectoryCursor {
    const { list } = this.#directory(directory)
    return new PuzzleDirectoryCursor(this.rootfs.message, this.#table, list, position, this.#pause)
  }

  openDirectoryAt(directory: Ref): DirectoryCursor {
    throw new FsError('EIO', `${this.label}: directory ${directory} has no order`)
  }

  readlink(ref: Ref): Uint8Array {
    const inode = this.#table.read(ref)
    if (!isSymlink(inode.mode)) throw new FsError('EINVAL', `${this.label}: inode ${ref} is no symbolic link`)
    const { message } = this.rootfs
    const data = targetOf(message, inode)
    if (data.length < 1 || data.length > TARGET_MAX) {
      throw message.damage(data.at, `inode ${ref}: a link of ${data.length} bytes`)
    }
    const target = message.bytes(data)
    if (target.includes(0)) throw message.damage(data.at, `inode ${ref}: a NUL in the target of a link`)
    return target
  }

  listxattr(ref: Ref): readonly Name[] {
    return this.#attributes.names(this.#table.read(ref))
  }

  getxattr(ref: Ref, name: Name): Uint8Array | undefined {
    return this.#attributes.value(this.#table.read(ref), name)
  }

  extents(ref: Ref, offset: number, length: number, sink: ExtentSink): void {
    const inode = this.#file(ref)
    const end = Math.min(offset + length, this.#maps.size(inode))
    if (offset >= end) return
    const { message, chunks } = this.rootfs
    this.#maps.pieces(inode, offset, end, (piece, from, wanted) => {
      const chunk = chunks.find(piece.digest)
      if (chunk === undefined) {
        const digest = Buffer.from(piece.digest, 'latin1').toString('hex')
        throw message.damage(inode.list.at, `inode ${ref}: chunk ${digest} is not in the list of chunks`)
      }
      let at = piece.offset + from
      const stop = at + wanted
      if (stop > CHUNK_END) throw message.damage(inode.list.at, `inode ${ref}: byte ${stop} of a chunk`)
      while (at < stop) {
        const part = Math.floor(at / PART_SIZE)
        const inside = at - part * PART_SIZE
        const take = Math.min(stop - at, PART_SIZE - inside)
        sink.block(partRef(this.#sourceId, chunk, part, piece.isCompressed), inside, take)
        at += take
      }
    })
  }

  /** Nothing is known of holes: they are stored as zeros. */
  seek(ref: Ref, offset: number, whence: Whence): number {
    const size = this.#maps.size(this.#file(ref))
    if (offset >= size)
      throw new FsError('ENXIO', `${this.label}: ${offset} is at or past the end of inode ${ref}`)
    return whence === 'data' ? offset : size
  }

  statfs(): StatFs {
    const { files, units } = this.#links.totals(this.root)
    return {
      blockSize: UNIT,
      blocks: units,
      blocksFree: 0,
      blocksAvailable: 0,
      files,
      filesFree: 0,
      nameMax: NAME_MAX,
    }
  }

  /** The regular file with the next number: their data were stored in this order. */
  following(ref: Ref): Ref | undefined {
    const last = Math.min(ref + FOLLOWING_LIMIT, this.rootfs.inodeCount - 1)
    for (let next = ref + 1; next <= last; next++) if (isRegular(this.#table.type(next))) return next
    return undefined
  }

  #size(inode: Inode): number {
    const { mode } = inode
    if (isRegular(mode)) return this.#maps.size(inode)
    if (isSymlink(mode)) return targetOf(this.rootfs.message, inode).length
    return isDirectory(mode) ? inode.list.count * inode.list.step : 0
  }

  #directory(ref: Ref): Inode {
    const inode = this.#table.read(ref)
    if (!isDirectory(inode.mode)) throw new FsError('ENOTDIR', `${this.label}: inode ${ref} is no directory`)
    if (!inode.looksBelow) return inode
    throw new FsError(
      'EOPNOTSUPP',
      `${this.label}: directory ${ref} is to be merged with one below it, which no builder writes and no reader knows`,
    )
  }

  #file(ref: Ref): Inode {
    const inode = this.#table.read(ref)
    if (isRegular(inode.mode)) return inode
    const code = isDirectory(inode.mode) ? 'EISDIR' : 'EINVAL'
    throw new FsError(code, `${this.label}: inode ${ref} is no regular file`)
  }
}
