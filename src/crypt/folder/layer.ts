import {
  type DirectoryCursor,
  direntType,
  type ExtentSink,
  FsError,
  type InodeSource,
  isDirectory,
  isRegular,
  isSymlink,
  type Layer,
  type LayerEntry,
  NAME_MAX,
  type Name,
  NO_MARKS,
  type OpenOptions,
  type Ref,
  type Stat,
  type StatFs,
  type Whence,
} from '../../base/index.ts'
import { decodeTree, type FolderNode } from './tree.ts'

/** Bytes of a file that are decrypted at once. */
export const PIECE_SIZE = 256 << 10

/**
 * An encrypted folder, decrypted: its tree as it was when the mount began. The contents of its files are images of the same
 * mount, which follow that of the tree in their order.
 */
export class FolderLayer implements Layer {
  readonly marks = NO_MARKS
  readonly attributes = 'none'
  readonly label: string
  readonly root: Ref = 0
  readonly refSpan: number
  readonly inodes: InodeSource
  readonly #nodes: readonly FolderNode[]
  readonly #children = new Map<Ref, LayerEntry[]>()
  readonly #firstFile: number

  constructor({ source, sourceId, label }: OpenOptions) {
    this.label = label
    this.#firstFile = sourceId + 1
    this.#nodes = decodeTree(source)
    this.refSpan = this.#nodes.length
    this.inodes = { count: this.#nodes.length }
    for (const [ref, { name, parent, stat }] of this.#nodes.entries()) {
      if (isDirectory(stat.mode)) this.#children.set(ref, [])
      // A directory stands before what is in it.
      if (ref !== 0)
        this.#children.get(parent)?.push({ name, ref, ino: stat.ino, type: direntType(stat.mode) })
    }
    for (const entries of this.#children.values()) entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  stat(ref: Ref): Stat {
    return this.#node(ref).stat
  }

  lookup(directory: Ref, name: Name): LayerEntry | undefined {
    const entries = this.#entries(directory)
    const entry = entries[indexOf(entries, name)]
    return entry?.name === name ? entry : undefined
  }

  openDirectory(directory: Ref, position: number): DirectoryCursor {
    return cursor(this.#entries(directory), position)
  }

  openDirectoryAt(directory: Ref, name: Name): DirectoryCursor {
    const entries = this.#entries(directory)
    return cursor(entries, indexOf(entries, name))
  }

  readlink(ref: Ref): Uint8Array {
    const { stat, target } = this.#node(ref)
    if (!isSymlink(stat.mode) || target === undefined) {
      throw new FsError('EINVAL', `${this.label}: inode ${ref} is no symbolic link`)
    }
    return Buffer.from(target, 'latin1')
  }

  listxattr(): readonly Name[] {
    return []
  }

  getxattr(): undefined {
    return undefined
  }

  /** @throws FsError what keeps the file from being read */
  extents(ref: Ref, offset: number, length: number, sink: ExtentSink): void {
    const { stat, file, fault } = this.#regular(ref)
    if (fault !== undefined) throw new FsError(fault, `${this.label}: inode ${ref} is no encrypted file`)
    if (offset < 0 || file === undefined) return
    const end = Math.min(offset + length, stat.size)
    for (let at = offset; at < end; ) {
      const position = at - (at % PIECE_SIZE)
      const storedSize = Math.min(PIECE_SIZE, stat.size - position)
      const taken = Math.min(end, position + storedSize) - at
      const source = this.#firstFile + file
      sink.block({ source, position, storedSize, kindBits: 0, maxSize: PIECE_SIZE }, at - position, taken)
      at += taken
    }
  }

  seek(ref: Ref, offset: number, whence: Whence): number {
    const { size } = this.#regular(ref).stat
    if (offset < size) return whence === 'data' ? offset : size
    throw new FsError('ENXIO', `${this.label}: inode ${ref}: no ${whence} from ${offset}`)
  }

  statfs(): StatFs {
    const blocks = this.#nodes.reduce((sum, { stat }) => sum + stat.blocks, 0)
    const none = { blocksFree: 0, blocksAvailable: 0, filesFree: 0 }
    return { blockSize: 512, blocks, files: this.#nodes.length, nameMax: NAME_MAX, ...none }
  }

  #node(ref: Ref): FolderNode {
    const node = this.#nodes[ref]
    if (node === undefined) throw new FsError('EIO', `${this.label}: no inode ${ref}`)
    return node
  }

  #entries(ref: Ref): readonly LayerEntry[] {
    const entries = this.#children.get(ref)
    if (entries === undefined) {
      this.#node(ref)
      throw new FsError('ENOTDIR', `${this.label}: inode ${ref} is no directory`)
    }
    return entries
  }

  #regular(ref: Ref): FolderNode {
    const node = this.#node(ref)
    if (isRegular(node.stat.mode)) return node
    const code = isDirectory(node.stat.mode) ? 'EISDIR' : 'EINVAL'
    throw new FsError(code, `${this.label}: inode ${ref} is no regular file`)
  }
}

/** Index of the first entry at or after a name. */
function indexOf(entries: readonly LayerEntry[], name: Name): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((entries[middle]?.name ?? '') < name) low = middle + 1
    else high = middle
  }
  return low
}

function cursor(entries: readonly LayerEntry[], start: number): DirectoryCursor {
  let at = start
  return {
    next: () => entries[at++],
    get position() {
      return Math.min(at, entries.length)
    },
  }
}
