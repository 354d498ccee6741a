import {
  type AttributeChanges,
  type Caller,
  type DirectorySink,
  direntType,
  type Entry,
  type ExtentSink,
  type FlagsForm,
  FsError,
  isDirectory,
  type Name,
  type NodeId,
  type RenameMode,
  ROOT_NODE_ID,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  type Stat,
  type StatFs,
  type Whence,
  type WritableFileSystem,
  type XattrMode,
} from '../../../src/base/index.ts'
import { copyRange, fallocateFd, pwrite, seekFd, syncFd } from '../../../src/sys/files/file-io.ts'
import { MemoryInode, timeOf } from './memory-inode.ts'

const FALLOC_FL_KEEP_SIZE = 1

/** A small, plain implementation of `WritableFileSystem`: what the protocol is tested with. */
export class MemoryTree implements WritableFileSystem {
  readonly attributes = 'all'
  readonly #folder: string
  readonly #inodes = new Map<NodeId, MemoryInode>()
  #lastId = ROOT_NODE_ID
  #timesOfData: readonly ('mtime' | 'ctime')[] = ['mtime', 'ctime']
  /** Names of the methods that were called, for tests that look at what the kernel asks. */
  readonly calls: string[] = []

  /** @param folder for the data of files, which have no names there */
  constructor(folder: string) {
    this.#folder = folder
    const root = new MemoryInode(folder, ROOT_NODE_ID, { mode: S_IFDIR | 0o755, uid: 0, gid: 0 })
    this.#inodes.set(ROOT_NODE_ID, root)
  }

  /** Inodes held besides the root: those with names and those that the kernel knows. */
  left(): string[] {
    return [...this.#inodes.values()]
      .filter(({ nodeId }) => nodeId !== ROOT_NODE_ID)
      .map(({ nodeId, mode, nlink, nlookup }) => `${nodeId}:${mode.toString(8)}:${nlink}:${nlookup}`)
  }

  close(): void {
    for (const inode of this.#inodes.values()) inode.close()
  }

  clientKeepsTimes(): void {
    this.#timesOfData = ['ctime']
  }

  lookup(parent: NodeId, name: Name): Entry | undefined {
    const found = this.#children(parent).get(name)
    return found === undefined ? undefined : this.#entry(found)
  }

  forget(node: NodeId, nlookup: number): void {
    const inode = this.#inode(node)
    inode.nlookup -= nlookup
    if (inode.nlookup < 0) throw new Error(`node ${node}: forgotten more often than known`)
    this.#dropUnused(inode)
  }

  getattr(node: NodeId): Stat {
    this.calls.push('getattr')
    return this.#inode(node).stat()
  }

  readlink(node: NodeId): Uint8Array {
    return this.#inode(node).target
  }

  readdir(node: NodeId, cookie: number, sink: DirectorySink): void {
    const inode = this.#inode(node)
    const names = [...this.#children(node).keys()]
    for (let i = cookie; i < names.length + 2; i++) {
      const name = i === 0 ? '.' : i === 1 ? '..' : (names[i - 2] ?? '')
      const child = i === 0 ? inode : i === 1 ? (inode.parent ?? inode) : inode.children?.get(name)
      if (child === undefined) continue
      const entry = sink.plus && i > 1 ? { nodeId: child.nodeId, stat: child.stat() } : undefined
      if (!sink.add(name, child.stat().ino, direntType(child.mode), i + 1, entry)) return
      if (entry !== undefined) child.nlookup++
    }
  }

  statfs(): StatFs {
    return {
      blockSize: 4096,
      blocks: 100,
      blocksFree: 50,
      blocksAvailable: 50,
      files: 100,
      filesFree: 50,
      nameMax: 255,
    }
  }

  getxattr(node: NodeId, name: Name): Uint8Array | undefined {
    this.calls.push(`getxattr ${name}`)
    return this.#inode(node).xattrs.get(name)
  }

  listxattr(node: NodeId): readonly Name[] {
    return [...this.#inode(node).xattrs.keys()]
  }

  open(node: NodeId): void {
    this.calls.push(`open ${node}`)
  }

  inodeFlags(node: NodeId, form: FlagsForm): Uint8Array {
    const flags = new Uint8Array(form === 'flags' ? 4 : 28)
    new DataView(flags.buffer).setUint32(0, this.#inode(node).flags, true)
    return flags
  }

  setInodeFlags(node: NodeId, _: FlagsForm, flags: Uint8Array): void {
    this.#inode(node).flags = new DataView(flags.buffer, flags.byteOffset).getUint32(0, true)
  }

  seek(node: NodeId, offset: number, whence: Whence): number {
    const position = seekFd(this.#fd(node), offset, whence)
    if (position === undefined) throw new FsError('ENXIO', 'past the end')
    return position
  }

  read(node: NodeId, offset: number, length: number, sink: ExtentSink): void {
    const count = Math.min(length, this.#inode(node).size - offset)
    if (count > 0) sink.file(this.#fd(node), offset, count)
  }

  setattr(node: NodeId, changes: AttributeChanges): Stat {
    const inode = this.#inode(node)
    if (changes.killPrivileges === true) inode.killPrivileges()
    if (changes.size !== undefined) {
      inode.truncate(changes.size)
      inode.touch(...this.#timesOfData)
    }
    if (changes.uid !== undefined) inode.uid = changes.uid
    if (changes.gid !== undefined) inode.gid = changes.gid
    if (changes.mode !== undefined) inode.chmod(changes.mode)
    inode.touch('ctime')
    if (changes.atime !== undefined) inode.atime = timeOf(changes.atime)
    if (changes.mtime !== undefined) inode.mtime = timeOf(changes.mtime)
    if (changes.ctime !== undefined) inode.ctime = timeOf(changes.ctime)
    return inode.stat()
  }

  mknod(parent: NodeId, name: Name, mode: number, rdev: number, caller: Caller): Entry {
    this.calls.push('mknod')
    return this.#make(parent, name, () => this.#new(mode & ~caller.umask, caller, { rdev }))
  }

  mkdir(parent: NodeId, name: Name, mode: number, caller: Caller): Entry {
    const entry = this.#make(parent, name, () => this.#new(S_IFDIR | (mode & ~caller.umask), caller))
    this.#inode(parent).nlink++
    return entry
  }

  symlink(parent: NodeId, name: Name, target: Uint8Array, caller: Caller): Entry {
    const what = { target: Uint8Array.from(target) }
    return this.#make(parent, name, () => this.#new(S_IFLNK | 0o777, caller, what))
  }

  link(node: NodeId, parent: NodeId, name: Name): Entry {
    const inode = this.#inode(node)
    return this.#make(parent, name, () => {
      inode.nlink++
      inode.touch('ctime')
      return inode
    })
  }

  tmpfile(parent: NodeId, mode: number, caller: Caller): Entry {
    this.#children(parent)
    return this.#entry(this.#new(S_IFREG | (mode & 0o7777 & ~caller.umask), caller, { nlink: 0 }))
  }

  unlink(parent: NodeId, name: Name): void {
    this.#remove(parent, name)
  }

  rmdir(parent: NodeId, name: Name): void {
    if ((this.#child(parent, name).children?.size ?? 0) > 0) throw new FsError('ENOTEMPTY', name)
    this.#remove(parent, name)
  }

  rename(
    parent: NodeId,
    name: Name,
    newParent: NodeId,
    newName: Name,
    mode: RenameMode,
    whiteout: boolean,
  ): void {
    if (whiteout) throw new FsError('EINVAL', 'no whiteouts here')
    const inode = this.#child(parent, name)
    const over = this.#children(newParent).get(newName)
    if (over === inode) return
    if (over !== undefined && mode === 'noreplace') throw new FsError('EEXIST', newName)
    if (mode === 'exchange') {
      if (over === undefined) throw new FsError('ENOENT', newName)
      this.#put(parent, name, over)
    } else {
      if (over !== undefined && (over.children?.size ?? 0) > 0) throw new FsError('ENOTEMPTY', newName)
      if (over !== undefined) this.#remove(newParent, newName)
      this.#children(parent).delete(name)
      if (inode.children !== undefined && parent !== newParent) {
        this.#inode(parent).nlink--
        this.#inode(newParent).nlink++
      }
    }
    this.#put(newParent, newName, inode)
    for (const one of [parent, newParent]) this.#inode(one).touch('mtime', 'ctime')
    inode.touch('ctime')
  }

  write(node: NodeId, offset: number, data: Uint8Array, killPrivileges: boolean): number {
    const inode = this.#inode(node)
    this.calls.push(`write ${data.length}${killPrivileges ? ' kill' : ''}`)
    if (killPrivileges) inode.killPrivileges()
    const count = pwrite(this.#fd(node), offset, data)
    inode.size = Math.max(inode.size, offset + count)
    inode.touch(...this.#timesOfData)
    return count
  }

  fallocate(node: NodeId, mode: number, offset: number, length: number): void {
    const inode = this.#inode(node)
    fallocateFd(this.#fd(node), mode, offset, length)
    if ((mode & FALLOC_FL_KEEP_SIZE) === 0) inode.size = Math.max(inode.size, offset + length)
    inode.touch(...this.#timesOfData)
  }

  copyFileRange(from: NodeId, fromOffset: number, to: NodeId, toOffset: number, length: number): number {
    this.calls.push(`copyFileRange ${length}`)
    const count = copyRange(this.#fd(from), fromOffset, this.#fd(to), toOffset, length)
    const inode = this.#inode(to)
    inode.size = Math.max(inode.size, toOffset + count)
    inode.touch(...this.#timesOfData)
    return count
  }

  setxattr(node: NodeId, name: Name, value: Uint8Array, mode: XattrMode): void {
    const inode = this.#inode(node)
    const exists = inode.xattrs.has(name)
    if (mode === 'create' && exists) throw new FsError('EEXIST', name)
    if (mode === 'replace' && !exists) throw new FsError('ENODATA', name)
    inode.setxattr(name, value)
    inode.touch('ctime')
  }

  removexattr(node: NodeId, name: Name): void {
    if (!this.#inode(node).xattrs.delete(name)) throw new FsError('ENODATA', name)
  }

  fsync(node: NodeId, dataOnly: boolean): void {
    this.calls.push(dataOnly ? 'fdatasync' : 'fsync')
    const { fd } = this.#inode(node)
    if (fd === undefined) return
    syncFd(fd, dataOnly ? 'data' : 'all')
  }

  syncfs(): void {
    this.calls.push('syncfs')
  }

  #inode(node: NodeId): MemoryInode {
    const inode = this.#inodes.get(node)
    if (inode === undefined) throw new FsError('ESTALE', `node ${node}`)
    return inode
  }

  #fd(node: NodeId): number {
    const { fd } = this.#inode(node)
    if (fd === undefined) throw new FsError('EINVAL', `node ${node} has no data`)
    return fd
  }

  #children(node: NodeId): Map<Name, MemoryInode> {
    const { children } = this.#inode(node)
    if (children === undefined) throw new FsError('ENOTDIR', `node ${node}`)
    return children
  }

  #child(parent: NodeId, name: Name): MemoryInode {
    const child = this.#children(parent).get(name)
    if (child === undefined) throw new FsError('ENOENT', name)
    return child
  }

  #entry(inode: MemoryInode): Entry {
    inode.nlookup++
    return { nodeId: inode.nodeId, stat: inode.stat() }
  }

  #new(
    mode: number,
    caller: Caller,
    what: { rdev?: number; target?: Uint8Array; nlink?: number } = {},
  ): MemoryInode {
    const inode = new MemoryInode(this.#folder, ++this.#lastId, { ...caller, ...what, mode })
    this.#inodes.set(inode.nodeId, inode)
    return inode
  }

  #make(parent: NodeId, name: Name, make: () => MemoryInode): Entry {
    if (name.length > 255) throw new FsError('ENAMETOOLONG', name)
    if (this.#children(parent).has(name)) throw new FsError('EEXIST', name)
    const inode = make()
    this.#put(parent, name, inode)
    this.#inode(parent).touch('mtime', 'ctime')
    return this.#entry(inode)
  }

  #put(parent: NodeId, name: Name, inode: MemoryInode): void {
    this.#children(parent).set(name, inode)
    inode.parent = this.#inode(parent)
  }

  #remove(parent: NodeId, name: Name): void {
    const inode = this.#child(parent, name)
    this.#children(parent).delete(name)
    this.#inode(parent).touch('mtime', 'ctime')
    inode.touch('ctime')
    inode.nlink -= isDirectory(inode.mode) ? 2 : 1
    if (isDirectory(inode.mode)) this.#inode(parent).nlink--
    this.#dropUnused(inode)
  }

  #dropUnused(inode: MemoryInode): void {
    if (inode.nlink > 0 || inode.nlookup > 0) return
    this.#inodes.delete(inode.nodeId)
    inode.close()
  }
}
