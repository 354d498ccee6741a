import { closeSync, constants } from 'node:fs'
import { FsError, type Name } from '../../src/base/index.ts'
import { O_PATH, openAt, reopenFd } from '../../src/sys/at.ts'
import { type HostStat, statAt, statFd } from '../../src/sys/statx.ts'
import type { DirectoryNode, Node } from './nodes.ts'

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants

/** Directories kept open. A call below uses a few at once, so it must exceed `CLIMB_KEPT` several times. */
const OPEN_DIRECTORIES = 256
/** Directories kept of those opened on the way down a long path. */
const CLIMB_KEPT = 32
/** Regular files kept open for data. */
const OPEN_FILES = 256

export interface UpperFilesOptions {
  /** O_PATH descriptor of the upper directory. */
  readonly rootFd: number
  /** Where inodes are found that have no name in the tree itself: the index of hard links. */
  readonly indexFd: number
}

/**
 * Descriptors of what lies in the upper. They are opened one name at a time, below a descriptor of the parent, so
 * neither the length of a path matters nor who bends it; and each is checked to be the inode that was met before.
 * Those that are handed out stay open until some hundred others were asked for.
 */
export class UpperFiles {
  readonly rootFd: number
  readonly dev: number
  readonly #indexFd: number
  readonly #directories = new Map<Node, number>()
  readonly #files = new Map<Node, number>()
  /** Files whose data descriptor can only be read: the upper refused more. */
  readonly #readOnly = new Set<Node>()
  /** Nodes without a name whose descriptor is good for data as well. */
  readonly #heldData = new Set<Node>()

  constructor(options: UpperFilesOptions) {
    this.rootFd = options.rootFd
    this.#indexFd = options.indexFd
    this.dev = statFd(options.rootFd).dev
  }

  /** Closes everything but the descriptors it was given, and those that nodes hold. */
  close(): void {
    for (const fd of [...this.#directories.values(), ...this.#files.values()]) closeSync(fd)
    this.#directories.clear()
    this.#files.clear()
    this.#readOnly.clear()
  }

  /** Open descriptors, for tests. */
  get size(): number {
    return this.#directories.size + this.#files.size
  }

  /** An O_PATH descriptor of a directory that is in the upper. @throws FsError ESTALE where it is not there */
  directory(node: DirectoryNode): number {
    if (node.descriptor >= 0) return node.descriptor
    const missing: { readonly child: Node; readonly name: Name }[] = []
    let at: DirectoryNode = node
    let fd = this.#openDirectory(at)
    while (fd === undefined) {
      if (at.place === undefined) throw stale(node)
      missing.push({ child: at, name: at.place.name })
      at = at.place.parent
      fd = this.#openDirectory(at)
    }
    let passing = false
    for (let next = missing.pop(); next !== undefined; next = missing.pop()) {
      const parent = fd
      try {
        fd = this.#openChecked(next.child, parent, next.name, O_PATH | O_DIRECTORY)
      } finally {
        if (passing) closeSync(parent)
      }
      passing = missing.length >= CLIMB_KEPT
      if (!passing) this.keepDirectory(next.child, fd)
    }
    return fd
  }

  /** Takes an O_PATH descriptor of the node's directory over. */
  keepDirectory(node: Node, fd: number): void {
    this.#directories.set(node, fd)
    for (const [oldest, oldFd] of this.#directories) {
      if (this.#directories.size <= OPEN_DIRECTORIES) break
      this.#directories.delete(oldest)
      closeSync(oldFd)
    }
  }

  /**
   * A descriptor of a regular file for reading and writing; for reading alone where the upper refuses more.
   * @param writable refuse that
   * @throws FsError EACCES, EROFS, ETXTBSY, …
   */
  data(node: Node, writable: boolean): number {
    if (node.descriptor >= 0) return this.#orphanData(node)
    const open = this.#files.get(node)
    if (open !== undefined && !(writable && this.#readOnly.has(node))) {
      this.#files.delete(node)
      this.#files.set(node, open)
      return open
    }
    this.closeData(node)
    const { dir, name } = this.locate(node)
    let fd: number
    try {
      fd = this.#openChecked(node, dir, name, O_RDWR | O_NONBLOCK)
    } catch (error) {
      const refused = error instanceof FsError && ['EACCES', 'EPERM', 'EROFS', 'ETXTBSY'].includes(error.code)
      if (writable || !refused) throw error
      fd = this.#openChecked(node, dir, name, O_RDONLY | O_NONBLOCK)
      this.#readOnly.add(node)
    }
    this.keepData(node, fd)
    return fd
  }

  /** Takes a descriptor of the node's file, open for reading and writing, over. */
  keepData(node: Node, fd: number): void {
    this.#files.set(node, fd)
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= OPEN_FILES) break
      this.closeData(oldest)
    }
  }

  closeData(node: Node): void {
    const fd = this.#files.get(node)
    if (fd === undefined) return
    this.#files.delete(node)
    this.#readOnly.delete(node)
    closeSync(fd)
  }

  /** Where the upper has the inode by name. @throws FsError ESTALE where it has it by none */
  locate(node: Node): { readonly dir: number; readonly name: Name } {
    if (node.place !== undefined) return { dir: this.directory(node.place.parent), name: node.place.name }
    if (node.group !== undefined) return { dir: this.#indexFd, name: node.group.key }
    throw stale(node)
  }

  /** Attributes as the upper has them. @throws FsError ESTALE */
  stat(node: Node): HostStat {
    const open = this.#opened(node)
    if (open !== undefined) return statFd(open)
    const { dir, name } = this.locate(node)
    const stat = statAt(dir, name)
    if (stat === undefined || stat.ino !== node.upperIno || stat.dev !== this.dev) throw stale(node)
    return stat
  }

  /** Calls with a descriptor of the inode, perhaps O_PATH, that is valid for that long. @throws FsError ESTALE */
  with<T>(node: Node, use: (fd: number) => T): T {
    const open = this.#opened(node)
    if (open !== undefined) return use(open)
    const fd = this.open(node)
    try {
      return use(fd)
    } finally {
      closeSync(fd)
    }
  }

  /** A new O_PATH descriptor of the inode, which the caller closes. @throws FsError ESTALE */
  open(node: Node): number {
    if (node.descriptor >= 0) return reopenFd(node.descriptor, O_PATH)
    const root = this.#openDirectory(node)
    if (root !== undefined) return reopenFd(root, O_PATH)
    const { dir, name } = this.locate(node)
    return this.#openChecked(node, dir, name, O_PATH)
  }

  /** Before the last name goes: from now on the node holds its inode by itself. */
  detach(node: Node): void {
    if (node.descriptor >= 0) return
    const data = this.#files.get(node)
    if (data !== undefined && !this.#readOnly.has(node)) {
      this.#files.delete(node)
      this.holdData(node, data)
      return
    }
    node.descriptor = this.open(node)
    const directory = this.#directories.get(node)
    this.#directories.delete(node)
    if (directory !== undefined) closeSync(directory)
  }

  /** The node holds its inode by a descriptor that is open for reading and writing. */
  holdData(node: Node, fd: number): void {
    node.descriptor = fd
    this.#heldData.add(node)
  }

  /** A name was found again. */
  attach(node: Node): void {
    if (node.descriptor < 0) return
    if (this.#heldData.delete(node)) {
      this.keepData(node, node.descriptor)
      node.descriptor = -1
      return
    }
    closeSync(node.descriptor)
    node.descriptor = -1
  }

  /** The node is no more. */
  forget(node: Node): void {
    this.closeData(node)
    const directory = this.#directories.get(node)
    this.#directories.delete(node)
    if (directory !== undefined) closeSync(directory)
    if (node.descriptor >= 0) closeSync(node.descriptor)
    node.descriptor = -1
    this.#heldData.delete(node)
  }

  /** Data of a file without a name. */
  #orphanData(node: Node): number {
    if (this.#heldData.has(node)) return node.descriptor
    const open = this.#files.get(node)
    if (open !== undefined) return open
    const fd = reopenFd(node.descriptor, O_RDWR | O_NONBLOCK)
    this.keepData(node, fd)
    return fd
  }

  /** Any descriptor of the inode that is open already. */
  #opened(node: Node): number | undefined {
    if (node.descriptor >= 0) return node.descriptor
    return this.#files.get(node) ?? this.#openDirectory(node)
  }

  #openDirectory(node: Node): number | undefined {
    if (node.descriptor >= 0) return node.descriptor
    const fd = this.#directories.get(node)
    if (fd === undefined) return node.place === undefined && node.id === 1 ? this.rootFd : undefined
    this.#directories.delete(node)
    this.#directories.set(node, fd)
    return fd
  }

  #openChecked(node: Node, dir: number, name: Name, flags: number): number {
    let fd: number
    try {
      fd = openAt(dir, name, flags | O_NOFOLLOW)
    } catch (error) {
      if (error instanceof FsError && error.code === 'ENOENT') throw stale(node)
      throw error
    }
    try {
      const stat = statFd(fd)
      if (stat.ino !== node.upperIno || stat.dev !== this.dev) throw stale(node)
      return fd
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }
}

function stale(node: Node): FsError {
  const name = node.place === undefined ? 'without a name' : JSON.stringify(node.place.name)
  return new FsError('ESTALE', `upper: ${name} is no longer inode ${node.upperIno}`)
}
