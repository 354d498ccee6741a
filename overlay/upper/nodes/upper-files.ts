import { closeSync, constants } from 'node:fs'
import { FsError, ignoring, isErrno, type Name } from '../../../src/base/index.ts'
import { linkAt, linkFd, O_PATH, openAt, reopenFd, unlinkAt } from '../../../src/sys/files/at.ts'
import { type HostStat, statAt, statFd } from '../../../src/sys/files/statx.ts'
import type { KeptDescriptors } from '../../../src/sys/process/kept-descriptors.ts'
import { openFilesLimit } from '../../../src/sys/process/limits.ts'
import type { WorkDirectory } from '../disk/work-directory.ts'
import { type DirectoryNode, isDirectoryNode, type Node } from './nodes.ts'

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants

/** Most directories kept open. One call uses a few at once, so it must be several times `CLIMB_KEPT`. */
const OPEN_DIRECTORIES = 256
/** Most directories kept of those opened on the way down a long path. */
const CLIMB_KEPT = 32
/** Most regular files kept open for data. */
const OPEN_FILES = 256

/** Most nodes without a name that hold a descriptor of their own. */
const HELD = 4096

/** A quarter of the process's limit. With the kept ones, half of 1024 is left for the layers. */
function mostHeld(): number {
  return Math.min(HELD, openFilesLimit() >>> 2)
}

export interface UpperFilesOptions {
  /** O_PATH descriptor of the upper directory. */
  readonly rootFd: number
  /** Directory in which inodes get a name that are in use but have none in the tree. */
  readonly work: WorkDirectory
  /** Most nodes without a name that may hold a descriptor. Default: as many as the limits of the process allow. */
  readonly mostHeld?: number | undefined
  /** Notes those that stay open for longer than a request. */
  readonly kept?: KeptDescriptors | undefined
}

/**
 * Descriptors of objects in the upper. They are opened one name at a time, below a descriptor of the parent: the length
 * of a path does not matter, and no other process can redirect it. Each one is checked to be the known inode. A
 * descriptor that was handed out stays open until some hundred others were opened.
 */
export class UpperFiles {
  readonly rootFd: number
  readonly dev: number
  readonly #work: WorkDirectory
  readonly #mostHeld: number
  readonly #kept: KeptDescriptors | undefined
  readonly #holders = new Set<Node>()
  readonly #directories = new Map<Node, number>()
  /** The newest of them: most requests after one for a directory are for the same one. */
  #newest: { readonly node: Node; readonly fd: number } | undefined
  readonly #files = new Map<Node, number>()
  /** Files whose descriptor is only for reading, because the upper refused more. */
  readonly #readOnly = new Set<Node>()
  /** Nodes without a name whose descriptor is for data as well. */
  readonly #heldData = new Set<Node>()
  /**
   * Nodes without a name and without a descriptor: their name in the work directory. After a crash, `clean` removes it.
   */
  readonly #aside = new Map<Node, Name>()
  /** Attributes of removed directories that hold no descriptor. */
  readonly #removed = new Map<Node, HostStat>()

  constructor(options: UpperFilesOptions) {
    this.rootFd = options.rootFd
    this.#work = options.work
    this.#mostHeld = options.mostHeld ?? mostHeld()
    this.#kept = options.kept
    this.dev = statFd(options.rootFd).dev
  }

  /** Closes all descriptors except those of the options and those that nodes hold. */
  close(): void {
    for (const fd of [...this.#directories.values(), ...this.#files.values()]) this.#close(fd)
    this.#directories.clear()
    this.#newest = undefined
    this.#files.clear()
    this.#readOnly.clear()
  }

  /** Open descriptors, for tests. */
  get size(): number {
    return this.#directories.size + this.#files.size
  }

  /** Descriptors of inodes that may have no name in the upper any more. */
  *held(): Generator<number> {
    for (const { descriptor } of this.#holders) yield descriptor
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

  /** Takes over an O_PATH descriptor of the node's directory. */
  keepDirectory(node: Node, fd: number): void {
    this.#kept?.add(fd)
    this.#directories.set(node, fd)
    this.#newest = { node, fd }
    for (const [oldest, oldFd] of this.#directories) {
      if (this.#directories.size <= OPEN_DIRECTORIES) break
      this.#directories.delete(oldest)
      this.#close(oldFd)
    }
  }

  /**
   * A descriptor of a regular file for reading and writing, or only for reading where the upper refuses more.
   * @param writable true: throw instead of falling back to a descriptor that is only for reading
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
      const refused = isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ETXTBSY')
      if (writable || !refused) throw error
      fd = this.#openChecked(node, dir, name, O_RDONLY | O_NONBLOCK)
      this.#readOnly.add(node)
    }
    this.keepData(node, fd)
    return fd
  }

  /** Takes over a descriptor of the node's file, open for reading and writing. */
  keepData(node: Node, fd: number): void {
    this.#kept?.add(fd)
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
    this.#close(fd)
  }

  /** The name of the inode in the upper or in the work directory. @throws FsError ESTALE where it has neither */
  locate(node: Node): { readonly dir: number; readonly name: Name } {
    const aside = this.#aside.get(node)
    if (aside !== undefined) return { dir: this.#work.fd, name: aside }
    if (node.place !== undefined) return { dir: this.directory(node.place.parent), name: node.place.name }
    throw stale(node)
  }

  /** Attributes as the upper has them. @throws FsError ESTALE */
  stat(node: Node): HostStat {
    const removed = isDirectoryNode(node) && node.dead ? this.#removed.get(node) : undefined
    if (removed !== undefined) return removed
    const open = this.#opened(node)
    if (open !== undefined) return statFd(open)
    const { dir, name } = this.locate(node)
    const stat = statAt(dir, name)
    if (stat === undefined || stat.inode !== node.upperIno || stat.dev !== this.dev) throw stale(node)
    return stat
  }

  /** Links of the inode that are no names in the tree, so users must not see them. */
  ownLinks(node: Node): number {
    return this.#aside.has(node) ? 1 : 0
  }

  /**
   * Calls `use` with a descriptor of the inode, perhaps O_PATH, which is valid during the call.
   * @throws FsError ESTALE
   */
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

  /**
   * To be called before the last name is removed: from then on the node holds its inode by itself. A file must have been
   * looked up in the same request.
   */
  detach(node: Node): void {
    if (node.descriptor >= 0 || this.#aside.has(node)) return
    if (isDirectoryNode(node)) {
      // A removed directory only needs its attributes.
      if (this.#isFull()) this.#removed.set(node, this.stat(node))
      else this.hold(node, this.open(node))
      this.#closeDirectory(node)
      return
    }
    const { dir, name } = this.locate(node)
    if (this.#setAside(node, (aside) => linkAt(dir, name, this.#work.fd, aside))) return
    const data = this.#files.get(node)
    if (data !== undefined && !this.#readOnly.has(node)) {
      this.#files.delete(node)
      this.holdData(node, data)
      return
    }
    this.hold(node, openAt(dir, name, O_PATH))
  }

  /**
   * Makes a node without a name hold its inode by this descriptor, or by a link where too many descriptors are held.
   */
  hold(node: Node, fd: number): void {
    if (this.#setAside(node, (aside) => linkFd(fd, this.#work.fd, aside))) {
      closeSync(fd)
      return
    }
    this.#kept?.add(fd)
    node.descriptor = fd
    this.#holders.add(node)
  }

  /** As `hold`, for a descriptor that is open for reading and writing. */
  holdData(node: Node, fd: number): void {
    if (this.#setAside(node, (aside) => linkFd(fd, this.#work.fd, aside))) {
      this.keepData(node, fd)
      return
    }
    this.#kept?.add(fd)
    node.descriptor = fd
    this.#holders.add(node)
    this.#heldData.add(node)
  }

  /** To be called when the node has a name again. */
  attach(node: Node): void {
    this.#dropAside(node)
    if (node.descriptor < 0) return
    const fd = this.#release(node)
    if (this.#heldData.delete(node)) this.keepData(node, fd)
    else this.#close(fd)
  }

  /** To be called when the node is dropped. */
  forget(node: Node): void {
    this.closeData(node)
    this.#closeDirectory(node)
    this.#removed.delete(node)
    this.#dropAside(node)
    if (node.descriptor >= 0) this.#close(this.#release(node))
    this.#heldData.delete(node)
  }

  #isFull(): boolean {
    return this.#holders.size >= this.#mostHeld
  }

  #release(node: Node): number {
    const fd = node.descriptor
    node.descriptor = -1
    this.#holders.delete(node)
    return fd
  }

  /**
   * Gives the node a link instead of a descriptor, if too many are held.
   * @param link gives the inode one more name in the work directory
   * @returns false where the node has to hold a descriptor, because one is free or the host refuses the link
   */
  #setAside(node: Node, link: (aside: Name) => void): boolean {
    if (!this.#isFull()) return false
    const aside = this.#work.temporaryName()
    if (!ignoring(['EMLINK', 'EPERM', 'EOPNOTSUPP'], () => link(aside))) return false
    this.#aside.set(node, aside)
    return true
  }

  #dropAside(node: Node): void {
    const aside = this.#aside.get(node)
    if (aside === undefined) return
    this.#aside.delete(node)
    unlinkAt(this.#work.fd, aside)
  }

  #closeDirectory(node: Node): void {
    const fd = this.#directories.get(node)
    this.#directories.delete(node)
    if (this.#newest?.node === node) this.#newest = undefined
    if (fd !== undefined) this.#close(fd)
  }

  /** Closes one that was kept. */
  #close(fd: number): void {
    this.#kept?.delete(fd)
    closeSync(fd)
  }

  /** A descriptor for the data of a file without a name. */
  #orphanData(node: Node): number {
    if (this.#heldData.has(node)) return node.descriptor
    const open = this.#files.get(node)
    if (open !== undefined) return open
    const fd = reopenFd(node.descriptor, O_RDWR | O_NONBLOCK)
    this.keepData(node, fd)
    return fd
  }

  /** Any open descriptor of the inode. */
  #opened(node: Node): number | undefined {
    if (node.descriptor >= 0) return node.descriptor
    return this.#files.get(node) ?? this.#openDirectory(node)
  }

  #openDirectory(node: Node): number | undefined {
    if (node.descriptor >= 0) return node.descriptor
    if (this.#newest?.node === node) return this.#newest.fd
    const fd = this.#directories.get(node)
    if (fd === undefined) return node.place === undefined && node.id === 1 ? this.rootFd : undefined
    this.#directories.delete(node)
    this.#directories.set(node, fd)
    this.#newest = { node, fd }
    return fd
  }

  #openChecked(node: Node, dir: number, name: Name, flags: number): number {
    let fd: number
    try {
      fd = openAt(dir, name, flags | O_NOFOLLOW)
    } catch (error) {
      if (isErrno(error, 'ENOENT')) throw stale(node)
      throw error
    }
    try {
      const stat = statFd(fd)
      if (stat.inode !== node.upperIno || stat.dev !== this.dev) throw stale(node)
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
