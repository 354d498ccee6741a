import { closeSync, openSync } from 'node:fs'
import { HostDirectoryLayer } from '../../../../overlay/index.ts'
import type { UpperPolicy } from '../../../../overlay/stored/policy.ts'
import { WorkDirectory } from '../../../../overlay/upper/disk/work-directory.ts'
import { WritableTree, type WritableTreeOptions } from '../../../../overlay/upper/writable-tree.ts'
import {
  type BlockStore,
  type Caller,
  type Entry,
  type ExtentSink,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Name,
  type NewTime,
  type NodeId,
  type RenameMode,
  ROOT_NODE_ID,
  S_IFIFO,
  S_IFREG,
  type Stat,
  type XattrMode,
} from '../../../../src/base/index.ts'
import { O_PATH } from '../../../../src/sys/files/at.ts'
import { pread } from '../../../../src/sys/files/file-io.ts'
import { ListSink } from '../../support/list.ts'
import { type Seen, type Side, split } from './side.ts'
import { SnapshotLayer, snapshotStore } from './snapshot-layer.ts'

export const CALLER: Caller = { uid: 0, gid: 0, umask: 0 }

export interface TreePlaces {
  /** Bottom first: directories, or layers that outlast a mount. */
  readonly lowers: readonly (string | SnapshotLayer)[]
  readonly upper: string
  readonly work: string
}

/** What is open for a tree over host directories. */
export class OpenTree {
  readonly tree: WritableTree
  readonly store: BlockStore
  readonly #layers: (HostDirectoryLayer | SnapshotLayer)[]
  readonly #fds: number[]
  readonly #work: WorkDirectory

  constructor(places: TreePlaces, policy: UpperPolicy, more: Partial<WritableTreeOptions> = {}) {
    this.#layers = places.lowers.map((one) =>
      typeof one === 'string' ? new HostDirectoryLayer(one, { followsRedirects: true }) : one,
    )
    this.store = snapshotStore(this.#layers.filter((layer) => layer instanceof SnapshotLayer))
    const upperFd = openSync(places.upper, O_PATH)
    const workFd = openSync(places.work, O_PATH)
    this.#fds = [upperFd, workFd]
    this.#work = new WorkDirectory(workFd, places.work)
    this.#work.clean()
    this.tree = new WritableTree({
      layers: this.#layers,
      store: this.store,
      readHostFile: pread,
      upperFd,
      label: places.upper,
      work: this.#work,
      policy,
      ...more,
    })
  }

  close(): void {
    this.tree.close()
    this.#work.close()
    for (const fd of this.#fds) closeSync(fd)
    for (const layer of this.#layers) if (layer instanceof HostDirectoryLayer) layer.close()
  }
}

/** The bytes of a file. */
export function readFile(tree: WritableTree, node: NodeId, store?: BlockStore): string {
  const { size } = tree.getattr(node)
  const pieces: Buffer[] = []
  const sink: ExtentSink = {
    hole: (length) => pieces.push(Buffer.alloc(length)),
    block: (block, from, length) => {
      const bytes = Buffer.alloc(block.maxSize)
      const decoded = store?.readBlock(block, bytes) ?? 0
      if (decoded < from + length) throw new Error('short block')
      pieces.push(bytes.subarray(from, from + length))
    },
    file: (fd, position, length) => {
      const bytes = Buffer.alloc(length)
      if (pread(fd, position, bytes) !== length) throw new Error('short read')
      pieces.push(bytes)
    },
  }
  tree.read(node, 0, size, sink)
  return Buffer.concat(pieces).toString('latin1')
}

/** Lists in small pieces, as a program with a small buffer does, and checks that look-ups give the same. */
export function listNames(tree: WritableTree, node: NodeId, room = 3, plus = true): Name[] {
  const names: Name[] = []
  for (let cookie = 0; ; ) {
    const sink = new ListSink(plus, room)
    tree.readdir(node, cookie, sink)
    if (sink.taken.length === 0) break
    for (const one of sink.taken) {
      if (one.cookie <= cookie) throw new Error(`cookie ${one.cookie} after ${cookie}`)
      cookie = one.cookie
      if (one.name !== '.' && one.name !== '..') names.push(one.name)
      if (one.entry !== undefined) assertSameEntry(tree, node, one.name, one.entry)
    }
  }
  return names
}

/** The reference of the listed entry is given back. */
function assertSameEntry(tree: WritableTree, parent: NodeId, name: Name, listed: Entry): void {
  const found = tree.lookup(parent, name)
  tree.forget(listed.nodeId, 1)
  if (found !== undefined) tree.forget(found.nodeId, 1)
  // Without what the host changes by itself: it allocates blocks later.
  const [left, right] = [listed, found].map((entry) => {
    return entry && JSON.stringify({ id: entry.nodeId, ...entry.stat, blocks: 0, atime: 0, atimeNsec: 0 })
  })
  if (left !== right) throw new Error(`${name} is listed as ${left}, and found as ${right}`)
}

/** A `WritableTree` used as the kernel uses it: everything that was looked up is forgotten, some of it late. */
export class TreeSide implements Side {
  readonly #places: TreePlaces
  readonly #policy: UpperPolicy
  readonly #more: Partial<WritableTreeOptions>
  readonly #held = new Map<number, NodeId>()
  /** Nodes that stay known, as with names in the kernel's cache. */
  readonly #lingering: NodeId[] = []
  readonly #linger: (node: NodeId) => boolean
  #open: OpenTree

  constructor(
    places: TreePlaces,
    policy: UpperPolicy,
    more: Partial<WritableTreeOptions> = {},
    linger: (node: NodeId) => boolean = () => false,
  ) {
    this.#places = places
    this.#policy = policy
    this.#more = more
    this.#linger = linger
    this.#open = new OpenTree(places, policy, more)
  }

  get tree(): WritableTree {
    return this.#open.tree
  }

  remount(): void {
    this.forgetAll()
    this.#open.close()
    this.#open = new OpenTree(this.#places, this.#policy, this.#more)
  }

  forgetAll(): void {
    for (const node of this.#lingering.splice(0)) this.tree.forget(node, 1)
  }

  close(): void {
    for (const handle of [...this.#held.keys()]) this.release(handle)
    this.forgetAll()
    this.#open.close()
  }

  /** Looks every part up, and gives all of it back in the end. */
  #walk<T>(parts: readonly Name[], use: (node: NodeId, stat: Stat) => T): T {
    const taken: NodeId[] = []
    try {
      let [node, stat] = [ROOT_NODE_ID, this.tree.getattr(ROOT_NODE_ID)]
      for (const part of parts) {
        if (!isDirectory(stat.mode)) throw new FsError('ENOTDIR', part)
        const entry = this.tree.lookup(node, part)
        if (entry === undefined) throw new FsError('ENOENT', part)
        taken.push(entry.nodeId)
        node = entry.nodeId
        stat = entry.stat
      }
      return use(node, stat)
    } finally {
      for (const node of taken.reverse()) this.#drop(node)
    }
  }

  #drop(node: NodeId): void {
    if (this.#linger(node)) this.#lingering.push(node)
    else this.tree.forget(node, 1)
  }

  #at<T>(path: Name, use: (parent: NodeId, name: Name) => T): T {
    const { parents, name } = split(path)
    return this.#walk(parents, (node, stat) => {
      if (!isDirectory(stat.mode)) throw new FsError('ENOTDIR', path)
      return use(node, name)
    })
  }

  #file<T>(path: Name, use: (node: NodeId, stat: Stat) => T): T {
    return this.#walk(
      path.split('/').filter((part) => part !== ''),
      use,
    )
  }

  #data<T>(path: Name, use: (node: NodeId) => T): T {
    return this.#file(path, (node, stat) => {
      if (!isRegular(stat.mode)) throw new FsError('EINVAL', path)
      return use(node)
    })
  }

  create(path: Name, mode: number): void {
    this.#at(path, (parent, name) => {
      // As the kernel: what exists is known before anything is asked for.
      this.#assertFree(parent, name)
      this.#drop(this.tree.mknod(parent, name, S_IFREG | mode, 0, CALLER).nodeId)
    })
  }
  mkfifo(path: Name, mode: number): void {
    this.#at(path, (parent, name) => {
      this.#assertFree(parent, name)
      this.#drop(this.tree.mknod(parent, name, S_IFIFO | mode, 0, CALLER).nodeId)
    })
  }
  mkdir(path: Name, mode: number): void {
    this.#at(path, (parent, name) => {
      this.#drop(this.tree.mkdir(parent, name, mode & 0o1777, CALLER).nodeId)
    })
  }
  symlink(path: Name, target: string): void {
    this.#at(path, (parent, name) => {
      this.#drop(this.tree.symlink(parent, name, Buffer.from(target), CALLER).nodeId)
    })
  }
  link(from: Name, to: Name): void {
    this.#at(from, (_, last) =>
      this.#at(to, (parent, name) =>
        this.#file(from, (node, stat) => {
          if (isDirectory(stat.mode)) this.#assertFree(parent, name)
          this.#drop(this.tree.link(node, parent, name).nodeId)
          return last
        }),
      ),
    )
  }
  unlink(path: Name): void {
    this.#file(path, () => this.#at(path, (parent, name) => this.tree.unlink(parent, name)))
  }
  rmdir(path: Name): void {
    this.#file(path, () => this.#at(path, (parent, name) => this.tree.rmdir(parent, name)))
  }
  rename(from: Name, to: Name, mode: RenameMode): void {
    this.#at(from, (parent, name) =>
      this.#at(to, (newParent, newName) => {
        // fs/namei.c:do_renameat2: a directory that contains the source is not looked at further.
        const inside = from.startsWith(`${to}/`)
        if (inside && this.#exists(parent, name) && this.#exists(newParent, newName)) {
          const code = { replace: 'ENOTEMPTY', noreplace: 'EEXIST', exchange: 'EINVAL' } as const
          throw new FsError(code[mode], to)
        }
        this.tree.rename(parent, name, newParent, newName, mode, false)
      }),
    )
  }
  #exists(parent: NodeId, name: Name): boolean {
    const entry = this.tree.lookup(parent, name)
    if (entry !== undefined) this.#drop(entry.nodeId)
    return entry !== undefined
  }
  #assertFree(parent: NodeId, name: Name): void {
    if (this.#exists(parent, name)) throw new FsError('EEXIST', name)
  }
  chmod(path: Name, mode: number): void {
    this.#file(path, (node, stat) => {
      if (isSymlink(stat.mode)) throw new FsError('EOPNOTSUPP', path)
      this.tree.setattr(node, { mode })
    })
  }
  chown(path: Name, uid: number | undefined, gid: number | undefined): void {
    const changes = { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) }
    this.#file(path, (node) => this.tree.setattr(node, changes))
  }
  times(path: Name, atime: NewTime | undefined, mtime: NewTime | undefined): void {
    const changes = { ...(atime === undefined ? {} : { atime }), ...(mtime === undefined ? {} : { mtime }) }
    this.#file(path, (node) => this.tree.setattr(node, changes))
  }
  truncate(path: Name, size: number): void {
    this.#data(path, (node) => this.tree.setattr(node, { size }))
  }
  write(path: Name, offset: number, data: string): void {
    this.#data(path, (node) => this.tree.write(node, offset, Buffer.from(data), false))
  }
  setxattr(path: Name, name: Name, value: string, mode: XattrMode): void {
    this.#file(path, (node, stat) => {
      assertUserXattrs(stat, name)
      this.tree.setxattr(node, name, Buffer.from(value), mode)
    })
  }
  removexattr(path: Name, name: Name): void {
    this.#file(path, (node, stat) => {
      assertUserXattrs(stat, name)
      this.tree.removexattr(node, name)
    })
  }
  list(path: Name): Name[] {
    return this.#file(path, (node, stat) => {
      if (!isDirectory(stat.mode)) throw new FsError('ENOTDIR', path)
      return listNames(this.tree, node)
    })
  }
  look(path: Name): Seen {
    return this.#file(path, (node) => this.#look(node))
  }
  #look(node: NodeId): Seen {
    const stat = this.tree.getattr(node)
    const names = this.tree.listxattr(node).filter((name) => /^(user|trusted)\./.test(name))
    const pairs = [...names].sort().map((name) => {
      return [name, Buffer.from(this.tree.getxattr(node, name) ?? []).toString('latin1')] as const
    })
    const content = isSymlink(stat.mode)
      ? Buffer.from(this.tree.readlink(node)).toString('latin1')
      : isRegular(stat.mode)
        ? readFile(this.tree, node, this.#open.store)
        : undefined
    return { stat, content, xattrs: Object.fromEntries(pairs) }
  }
  hold(path: Name, handle: number): void {
    this.#data(path, (node) => {
      const { parents, name } = split(path)
      this.#walk(parents, (parent) => this.tree.lookup(parent, name))
      this.#held.set(handle, node)
    })
  }
  heldWrite(handle: number, offset: number, data: string): void {
    this.tree.write(this.#handle(handle), offset, Buffer.from(data), false)
  }
  heldTruncate(handle: number, size: number): void {
    this.tree.setattr(this.#handle(handle), { size })
  }
  heldChmod(handle: number, mode: number): void {
    this.tree.setattr(this.#handle(handle), { mode })
  }
  heldLook(handle: number): Seen {
    return this.#look(this.#handle(handle))
  }
  heldLink(handle: number, path: Name): void {
    this.#at(path, (parent, name) => {
      this.#drop(this.tree.link(this.#handle(handle), parent, name).nodeId)
    })
  }
  release(handle: number): void {
    this.tree.forget(this.#handle(handle), 1)
    this.#held.delete(handle)
  }
  tmpfile(parent: Name, mode: number, handle: number): void {
    this.#file(parent, (node, stat) => {
      if (!isDirectory(stat.mode)) throw new FsError('ENOTDIR', parent)
      this.#held.set(handle, this.tree.tmpfile(node, mode, CALLER).nodeId)
    })
  }
  #handle(handle: number): NodeId {
    const node = this.#held.get(handle)
    if (node === undefined) throw new Error(`handle ${handle} is not held`)
    return node
  }
}

/** fs/xattr.c:xattr_permission, which comes before the file system. */
function assertUserXattrs(stat: Stat, name: Name): void {
  if (!name.startsWith('user.') || isRegular(stat.mode) || isDirectory(stat.mode)) return
  throw new FsError('EPERM', name)
}
