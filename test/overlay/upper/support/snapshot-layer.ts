import { closeSync, constants, openSync } from 'node:fs'
import type { DirectoryCursor, Layer, LayerEntry, Ref } from '../../../../overlay/stored/layer-flags.ts'
import {
  ALL_MARKS,
  type BlockRef,
  type BlockStore,
  direntType,
  type ExtentSink,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Name,
  type Stat,
  type StatFs,
  type Whence,
} from '../../../../src/base/index.ts'
import { O_PATH, openAt, readlinkFd, reopenFd } from '../../../../src/sys/files/at.ts'
import { listNames } from '../../../../src/sys/files/directory-entries.ts'
import { pread } from '../../../../src/sys/files/file-io.ts'
import { statFd } from '../../../../src/sys/files/statx.ts'
import { getxattrFd, listxattrFd } from '../../../../src/sys/files/xattr.ts'

interface Inode {
  readonly stat: Stat
  readonly content: Uint8Array
  readonly xattrs: ReadonlyMap<Name, Uint8Array>
  readonly names: Map<Name, Ref>
}

const BLOCK_SIZE = 1024

/** A directory of this machine as it was, with inode numbers that outlast a mount, and data in blocks as in an image. */
export class SnapshotLayer implements Layer {
  readonly marks = ALL_MARKS
  readonly label: string
  readonly root: Ref = 0
  readonly refSpan = 2 ** 20
  readonly inodes = { count: 2 ** 20 }
  readonly attributes = 'all'
  readonly #source: number
  readonly #inodes: Inode[] = []
  readonly #refs = new Map<number, Ref>()

  /** @param source names the layer in the blocks it gives out */
  constructor(path: string, source: number) {
    this.label = path
    this.#source = source
    const fd = openSync(path, O_PATH)
    try {
      this.#read(fd)
    } finally {
      closeSync(fd)
    }
  }

  #read(fd: number): Ref {
    const stat = statFd(fd)
    const known = this.#refs.get(stat.ino)
    if (known !== undefined) return known
    const ref = this.#inodes.length
    this.#refs.set(stat.ino, ref)
    const xattrs = new Map(listxattrFd(fd).map((name) => [name, getxattrFd(fd, name) ?? new Uint8Array(0)]))
    const content = contentOf(fd, stat)
    const names = new Map<Name, Ref>()
    const { inode: _, ...shown } = stat
    this.#inodes.push({ stat: { ...shown, ino: ref + 1 }, content, xattrs, names })
    if (!isDirectory(stat.mode)) return ref
    for (const name of listNames(fd).sort()) {
      const child = openAt(fd, name, O_PATH)
      try {
        names.set(name, this.#read(child))
      } finally {
        closeSync(child)
      }
    }
    return ref
  }

  #at(ref: Ref): Inode {
    const inode = this.#inodes[ref]
    if (inode === undefined) throw new FsError('EIO', `no inode ${ref}`)
    return inode
  }

  stat(ref: Ref): Stat {
    return this.#at(ref).stat
  }

  lookup(directory: Ref, name: Name): LayerEntry | undefined {
    const { stat, names } = this.#at(directory)
    if (!isDirectory(stat.mode)) throw new FsError('ENOTDIR', `inode ${directory}`)
    const ref = names.get(name)
    return ref === undefined ? undefined : this.#entry(name, ref)
  }

  openDirectory(directory: Ref, position: number): DirectoryCursor {
    const names = [...this.#at(directory).names]
    let at = position
    return {
      next: () => {
        const found = names[at]
        if (found === undefined) return undefined
        at += 1
        return this.#entry(...found)
      },
      get position() {
        return at
      },
    }
  }

  openDirectoryAt(directory: Ref, name: Name): DirectoryCursor {
    const names = [...this.#at(directory).names.keys()]
    const at = names.findIndex((other) => other >= name)
    return this.openDirectory(directory, at < 0 ? names.length : at)
  }

  readlink(ref: Ref): Uint8Array {
    return this.#at(ref).content
  }

  listxattr(ref: Ref): readonly Name[] {
    return [...this.#at(ref).xattrs.keys()]
  }

  getxattr(ref: Ref, name: Name): Uint8Array | undefined {
    return this.#at(ref).xattrs.get(name)
  }

  extents(ref: Ref, offset: number, length: number, sink: ExtentSink): void {
    const { size } = this.#at(ref).stat
    const end = Math.min(offset + length, size)
    for (let at = offset; at < end; ) {
      const block = Math.floor(at / BLOCK_SIZE)
      const from = at - block * BLOCK_SIZE
      const piece = Math.min(BLOCK_SIZE - from, end - at)
      const position = ref * 2 ** 20 + block
      sink.block(
        { source: this.#source, position, storedSize: 1, kindBits: 0, maxSize: BLOCK_SIZE },
        from,
        piece,
      )
      at += piece
    }
  }

  /** Bytes of a block of `extents`. */
  block(position: number): Uint8Array {
    const start = (position % 2 ** 20) * BLOCK_SIZE
    return this.#at(Math.floor(position / 2 ** 20)).content.subarray(start, start + BLOCK_SIZE)
  }

  seek(ref: Ref, offset: number, whence: Whence): number {
    const { size } = this.#at(ref).stat
    if (offset >= size) throw new FsError('ENXIO', `inode ${ref}`)
    return whence === 'data' ? offset : size
  }

  /** The layer is the same at each mount. */
  generation(): number {
    return 5
  }

  statfs(): StatFs {
    return {
      blockSize: 1024,
      blocks: 1,
      blocksFree: 0,
      blocksAvailable: 0,
      files: 1,
      filesFree: 0,
      nameMax: 255,
    }
  }

  #entry(name: Name, ref: Ref): LayerEntry {
    return { name, ref, ino: ref + 1, type: direntType(this.#at(ref).stat.mode) }
  }
}

/** @param layers whose `source` is their index */
export function snapshotStore(layers: readonly SnapshotLayer[]): BlockStore {
  return {
    readBlock({ source, position }: BlockRef, target: Uint8Array): number {
      const bytes = layers[source]?.block(position) ?? new Uint8Array(0)
      target.set(bytes)
      return bytes.length
    },
  }
}

function contentOf(fd: number, stat: Stat): Uint8Array {
  if (isSymlink(stat.mode)) return readlinkFd(fd)
  if (!isRegular(stat.mode)) return new Uint8Array(0)
  const data = reopenFd(fd, constants.O_RDONLY)
  try {
    const bytes = Buffer.alloc(stat.size)
    return bytes.subarray(0, pread(data, 0, bytes))
  } finally {
    closeSync(data)
  }
}
