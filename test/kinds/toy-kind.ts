import {
  ALL_MARKS,
  type BlockReader,
  type ByteSource,
  blobList,
  type DirectoryCursor,
  direntType,
  type ExtentSink,
  FsError,
  type ImageKind,
  type InodeSource,
  isDirectory,
  isRegular,
  isSymlink,
  type KindSession,
  type Layer,
  type LayerEntry,
  type OpenOptions,
  type Stat,
} from '../../src/base/index.ts'
import { registerKind } from '../../src/kinds/kinds.ts'
import { STICKY } from './toy-archive.ts'

/**
 * A whole image kind for tests: cpio archives in the `newc` format (cpio(5)), each entry an inode, read into memory. The
 * content of a file may be another blob of the layout.
 * Importing this file adds the kind to the thread that imports it; nothing else knows of it.
 */

const MAGIC = '070701'
const HEADER = 110
const BLOCK = 64 << 10
const TRAILER = 'TRAILER!!!'

interface Member {
  readonly stat: Stat
  /** Where its content begins, in the archive or in the blob. */
  readonly data: number
  /** Index of the blob that has its content. */
  readonly blob?: number
  readonly children: LayerEntry[]
}

interface Members {
  /** The root is the first. */
  readonly members: readonly Member[]
  /** Digests. */
  readonly blobs: readonly string[]
  /** Bytes of the archive. */
  readonly end: number
}

/** @throws FsError EIO */
function readMembers(source: ByteSource): Members {
  const read = (at: number, length: number): string => {
    const bytes = Buffer.alloc(length)
    source.readInto(at, bytes)
    return bytes.toString('latin1')
  }
  const members: Member[] = []
  const blobs: string[] = []
  const byPath = new Map<string, Member>()
  for (let at = 0; ; ) {
    const header = read(at, HEADER)
    if (!header.startsWith(MAGIC)) throw new FsError('EIO', `${source.label}: no header at ${at}`)
    const field = (i: number): number => Number.parseInt(header.slice(6 + 8 * i, 14 + 8 * i), 16)
    const path = read(at + HEADER, field(11) - 1)
    const data = (at + HEADER + field(11) + 3) & ~3
    if (path === TRAILER) return { members, blobs, end: data }
    const [mode, size, time] = [field(1), field(6), field(5)]
    const ino = members.length + 1
    const times = { atime: time, mtime: time, ctime: time, atimeNsec: 0, mtimeNsec: 0, ctimeNsec: 0 }
    const stat = {
      ino,
      mode,
      nlink: isDirectory(mode) ? 2 : 1,
      uid: field(2),
      gid: field(3),
      rdev: 0,
      size,
      ...times,
    }
    const stored = { stat: { ...stat, blocks: Math.ceil(size / 512), blksize: 4096 }, data, children: [] }
    const member: Member = isBlob(mode) ? inBlob(stored, read(data, size), blobs) : stored
    const slash = path.lastIndexOf('/')
    const parent = byPath.get(slash < 0 ? '.' : path.slice(0, slash))
    members.push(member)
    byPath.set(path, member)
    parent?.children.push({ name: path.slice(slash + 1), ref: ino - 1, ino, type: direntType(mode) })
    at = (data + size + 3) & ~3
  }
}

function isBlob(mode: number): boolean {
  return isRegular(mode) && (mode & STICKY) !== 0
}

function inBlob(member: Member, text: string, blobs: string[]): Member {
  const [digest = '', size = ''] = text.split(' ')
  blobs.push(digest)
  const stat = { ...member.stat, mode: member.stat.mode & ~STICKY, size: Number(size) }
  return { ...member, stat, data: 0, blob: blobs.length - 1 }
}

class ToyLayer implements Layer {
  readonly marks = ALL_MARKS
  readonly label: string
  readonly root = 0
  readonly refSpan: number
  readonly inodes: InodeSource
  readonly attributes = 'none'
  readonly #members: readonly Member[]
  readonly #image: OpenOptions

  constructor(image: OpenOptions) {
    this.#image = image
    this.label = image.label
    this.#members = readMembers(image.source).members
    this.refSpan = this.#members.length
    this.inodes = { count: this.#members.length }
    for (const { children } of this.#members) children.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  stat = (ref: number): Stat => this.#member(ref).stat
  lookup = (directory: number, name: string): LayerEntry | undefined =>
    this.#children(directory).find((entry) => entry.name === name)
  openDirectory = (directory: number, position: number): DirectoryCursor =>
    cursor(this.#children(directory), position)
  openDirectoryAt(directory: number, name: string): DirectoryCursor {
    const children = this.#children(directory)
    const at = children.findIndex((entry) => entry.name >= name)
    return cursor(children, at < 0 ? children.length : at)
  }
  readlink(ref: number): Uint8Array {
    const { stat, data } = this.#member(ref)
    if (!isSymlink(stat.mode)) throw new FsError('EINVAL', `${this.label}: inode ${ref} is no symlink`)
    const target = new Uint8Array(stat.size)
    this.#image.source.readInto(data, target)
    return target
  }
  listxattr = (): readonly string[] => []
  getxattr = (): undefined => undefined
  extents(ref: number, offset: number, length: number, sink: ExtentSink): void {
    const { stat, data, blob = -1 } = this.#member(ref)
    const end = Math.min(offset + length, stat.size)
    for (let at = offset; at < end; ) {
      const start = at - (at % BLOCK)
      const storedSize = Math.min(BLOCK, stat.size - start)
      const take = Math.min(end, start + storedSize) - at
      const { sourceId: source } = this.#image
      sink.block(
        { source, position: data + start, storedSize, kindBits: blob + 1, maxSize: BLOCK },
        at - start,
        take,
      )
      at += take
    }
  }
  seek(ref: number, offset: number, whence: 'data' | 'hole'): number {
    const { size } = this.stat(ref)
    if (offset >= size) throw new FsError('ENXIO', `${offset} is at or past the end`)
    return whence === 'data' ? offset : size
  }
  statfs = () => {
    const used = { blockSize: 4096, blocks: 1, blocksFree: 0, blocksAvailable: 0 }
    return { ...used, files: this.#members.length, filesFree: 0, nameMax: 255 }
  }

  #member(ref: number): Member {
    const member = this.#members[ref]
    if (member === undefined) throw new FsError('EIO', `${this.label}: no inode ${ref}`)
    return member
  }

  #children(ref: number): readonly LayerEntry[] {
    const { stat, children } = this.#member(ref)
    if (!isDirectory(stat.mode)) throw new FsError('ENOTDIR', `${this.label}: inode ${ref} is no directory`)
    return children
  }
}

function cursor(entries: readonly LayerEntry[], position: number): DirectoryCursor {
  return {
    position,
    next(): LayerEntry | undefined {
      const entry = entries[this.position]
      if (entry !== undefined) (this as { position: number }).position += 1
      return entry
    },
  }
}

export const TOY_MEDIA_TYPE = 'application/vnd.example.layer.cpio'

export const TOY: ImageKind = {
  name: 'cpio',
  title: 'a cpio archive',
  mediaTypes: `cpio layers (${TOY_MEDIA_TYPE})`,
  isMediaType: (mediaType) => mediaType === TOY_MEDIA_TYPE,
  probe: (head) => Buffer.from(head.subarray(0, 6)).toString('latin1') === MAGIC,
  describe: (source) => ({
    bytesUsed: readMembers(source).end,
    blockSize: BLOCK,
    metadataStart: 0,
    detail: '',
  }),
  blobs: (source) => blobList(readMembers(source).blobs),
  open: (): KindSession => ({
    openLayer: (image): Layer => new ToyLayer(image),
    openBlocks: ({ source, blobs }): BlockReader => ({
      readBlock({ position, storedSize, kindBits }, target) {
        const place = target.subarray(0, storedSize)
        if (kindBits === 0) source.readInto(position, place)
        else blobs?.readInto(kindBits - 1, position, place)
        return storedSize
      },
      isAtHand: ({ position, storedSize, kindBits }) =>
        (kindBits === 0
          ? source.isAtHand?.(position, storedSize)
          : blobs?.isAtHand(kindBits - 1, position, storedSize)) !== false,
    }),
  }),
  summarize(source) {
    const { members, end } = readMembers(source)
    const counts = { blockSize: BLOCK, inodes: members.length, bytesUsed: end }
    return { kind: 'cpio', compressor: 'none', hasXattrs: false, ...counts }
  },
  regions: () => [],
}

registerKind(TOY)
