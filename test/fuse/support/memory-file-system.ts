import {
  type AttributeKinds,
  type BlockRef,
  type BlockStore,
  type DirectorySink,
  type Entry,
  type ExtentSink,
  type FileSystem,
  FsError,
  type NodeId,
  ROOT_NODE_ID,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  type Stat,
  type StatFs,
  type Whence,
} from '../../../src/base/index.ts'

/** Bytes of one block of the fixed file system below. */
export const BLOCK = 4096

/** What a block of the file system below decodes to: its position decides, so that a swap shows. */
export function blockBytes(position: number, length = BLOCK): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (position * 31 + i * 7) & 0xff)
}

/** Makes blocks from their position; positions in `damaged` fail. Counts what was decoded. */
export class MemoryBlockStore implements BlockStore {
  readonly damaged = new Set<number>()
  readonly decoded: number[] = []

  readBlock(block: BlockRef, target: Uint8Array): number {
    this.decoded.push(block.position)
    if (this.damaged.has(block.position)) throw new FsError('EIO', `block ${block.position} is damaged`)
    target.set(blockBytes(block.position))
    return BLOCK
  }
}

export function statOf(ino: number, mode: number, size: number): Stat {
  return {
    ino,
    mode,
    nlink: 1,
    uid: 0x11121314,
    gid: 0x21222324,
    rdev: 0,
    size,
    blocks: Math.ceil(size / 512),
    blksize: BLOCK,
    atime: 0x31323334,
    mtime: -2,
    ctime: 0x51525354,
    atimeNsec: 7,
    mtimeNsec: 8,
    ctimeNsec: 9,
  }
}

export const FILE_NODE = 0x1_0000_0002
export const LINK_NODE = 3
export const HOLE_AT = 2

/**
 * The root holds `file` (block 2 a hole, the last one partial) and `link`, a symbolic link.
 * Forgets are recorded.
 */
export class MemoryFileSystem implements FileSystem {
  attributes: AttributeKinds = 'no-acls'
  hasBirthTimes = true
  readonly fileSize: number
  readonly forgotten: [NodeId, number][] = []
  readonly #stats: ReadonlyMap<NodeId, Stat>

  /** @param blocks whole blocks of `file`; 100 bytes more follow */
  constructor(blocks = 4) {
    this.fileSize = blocks * BLOCK + 100
    this.#stats = new Map([
      [ROOT_NODE_ID, statOf(10, S_IFDIR | 0o755, 3)],
      [FILE_NODE, statOf(11, S_IFREG | 0o644, this.fileSize)],
      [LINK_NODE, statOf(12, S_IFLNK | 0o777, 4)],
    ])
  }

  lookup(parent: NodeId, name: string): Entry | undefined {
    if (parent !== ROOT_NODE_ID) throw new FsError('ENOTDIR', 'not a directory')
    if (name === 'bug') throw new TypeError('a bug in a handler')
    if (name === 'damaged') throw new FsError('EIO', 'inode at 7: damaged')
    const nodeId = name === 'file' ? FILE_NODE : name === 'link' ? LINK_NODE : undefined
    return nodeId === undefined ? undefined : { nodeId, stat: this.getattr(nodeId) }
  }

  forget(node: NodeId, nlookup: number): void {
    this.forgotten.push([node, nlookup])
  }

  getattr(node: NodeId): Stat {
    const stat = this.#stats.get(node)
    if (stat === undefined) throw new FsError('ESTALE', `node ${node}`)
    return stat
  }

  readlink(): Uint8Array {
    return Buffer.from('goal')
  }

  readdir(_: NodeId, cookie: number, sink: DirectorySink): void {
    const names = ['.', '..', 'file', 'link']
    for (let i = cookie; i < names.length; i++) {
      const name = names[i]!
      const entry = sink.plus && i > 1 ? this.lookup(ROOT_NODE_ID, name) : undefined
      if (!sink.add(name, 10 + i, i > 1 ? 8 : 4, i + 1, entry)) return
    }
  }

  statfs(): StatFs {
    return {
      blockSize: BLOCK,
      blocks: 2,
      blocksFree: 3,
      blocksAvailable: 4,
      files: 5,
      filesFree: 6,
      nameMax: 255,
    }
  }

  getxattr(_: NodeId, name: string): Uint8Array | undefined {
    return name === 'user.a' ? Buffer.from('value') : undefined
  }

  neverHas?: (name: string) => boolean

  names: readonly string[] = ['user.a', 'user.bc']

  listxattr(): readonly string[] {
    return this.names
  }

  seek(_: NodeId, offset: number, whence: Whence): number {
    return whence === 'hole' ? HOLE_AT * BLOCK : offset
  }

  read(_: NodeId, offset: number, length: number, sink: ExtentSink): void {
    const end = Math.min(offset + length, this.fileSize)
    for (let at = offset; at < end; ) {
      const from = at % BLOCK
      const n = Math.min(BLOCK - from, end - at)
      const index = (at - from) / BLOCK
      if (index === HOLE_AT) sink.hole(n)
      else
        sink.block(
          { source: 0, position: index * BLOCK, storedSize: 100, kindBits: 1, maxSize: BLOCK },
          from,
          n,
        )
      at += n
    }
  }

  /** The bytes that `read` describes. */
  content(): Uint8Array {
    const blocks = Array.from({ length: Math.ceil(this.fileSize / BLOCK) }, (_, i) =>
      i === HOLE_AT ? new Uint8Array(BLOCK) : blockBytes(i * BLOCK),
    )
    return Buffer.concat(blocks).subarray(0, this.fileSize)
  }
}
