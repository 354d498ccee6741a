import {
  type AttributeChanges,
  type Background,
  type BlockStore,
  type Caller,
  type DirectorySink,
  DT_LNK,
  type Entry,
  type ExtentSink,
  type FlagsForm,
  FsError,
  type HostFileReader,
  isDirectory,
  isSymlink,
  NAME_MAX,
  type Name,
  type NodeId,
  PERMISSIONS,
  type RenameMode,
  ROOT_NODE_ID,
  S_IFDIR,
  S_IFLNK,
  type Stat,
  type StatFs,
  unlessFailed,
  type Whence,
  type WritableFileSystem,
  type XattrMode,
} from '../../src/base/index.ts'
import { readlinkFd } from '../../src/sys/files/at.ts'
import { statfsFd } from '../../src/sys/files/file-io.ts'
import { type HostStat, statFd } from '../../src/sys/files/statx.ts'
import type { KeptDescriptors } from '../../src/sys/process/kept-descriptors.ts'
import { numberOfPart, stackOf } from '../merge/directory.ts'
import { listShown } from '../merge/listing.ts'
import { rootDirectory } from '../merge/root.ts'
import { Whereabouts } from '../merge/whereabouts.ts'
import { escapedFileName } from '../stored/file-names.ts'
import type { Layer } from '../stored/layer-flags.ts'
import { shownValue, storedValue } from '../stored/owned-values.ts'
import type { IdRule } from '../stored/owner.ts'
import { readRecordedTarget } from '../stored/owner-record.ts'
import type { UpperPolicy } from '../stored/policy.ts'
import { upperOpacity } from './disk/markers.ts'
import { hasMarks } from './disk/names-form.ts'
import { measureBelow, Space } from './disk/space.ts'
import type { WorkDirectory } from './disk/work-directory.ts'
import { Lister } from './nodes/list.ts'
import { ModificationTimes } from './nodes/modification-times.ts'
import { DirectoryNode, isDirectoryNode, type Node, NodeTable } from './nodes/nodes.ts'
import { layerOf, partOf, shownStat, toldStat } from './nodes/present.ts'
import { Resolver } from './nodes/resolve.ts'
import { SyncCost } from './nodes/sync-cost.ts'
import type { Upper } from './nodes/upper.ts'
import { UpperFiles } from './nodes/upper-files.ts'
import { WalkedNodes } from './nodes/walked-nodes.ts'
import { AttributeWriter } from './operations/attributes.ts'
import { CopyUp } from './operations/copy-up.ts'
import { Creator } from './operations/create.ts'
import { FileData } from './operations/data.ts'
import { ExtendedAttributes } from './operations/extended-attributes.ts'
import { setFlags, shownFlags } from './operations/inode-flags.ts'
import { Remover } from './operations/remove.ts'
import { Renamer } from './operations/rename.ts'

/** The parts of a writable tree: layers, upper and work directory, and the rules of the upper. */
export interface WritableTreeOptions {
  /** Bottom first, as an OCI manifest lists them. Without layers the tree begins empty. */
  readonly layers: readonly Layer[]
  /** Decodes the blocks of the layers, for copy-up. */
  readonly store: BlockStore
  readonly readHostFile: HostFileReader
  /**
   * Other threads for slow work: operations then throw `Postponed`. Absent: each operation does all its work at once.
   */
  readonly background?: Background
  /** O_PATH descriptor of the upper directory. Stays the caller's, who closes it after `close`. */
  readonly upperFd: number
  /** Path of the upper directory, for messages. */
  readonly label: string
  /** Clean, and locked against other processes. Stays the caller's. */
  readonly work: WorkDirectory
  readonly policy: UpperPolicy
  /** Rules for the owner to show; absent: the stored one. The upper stores ids as the layers do. */
  readonly uid?: IdRule
  readonly gid?: IdRule
  /** Makes the directory at this path of the merged layers the root. */
  readonly subdir?: Name
  /** False: directories with a lower part cannot be renamed (EXDEV). Default true. */
  readonly redirectDir?: boolean
  /** Bytes that the upper may take on its disk; ENOSPC beyond. Absent: no bound but that of the disk. */
  readonly size?: number
  /** Most nodes without a name that may hold a descriptor each. Default: as many as the limits of the process allow. */
  readonly mostHeld?: number
  /** Notes the descriptors of the upper that stay open for longer than a request. */
  readonly kept?: KeptDescriptors
}

/**
 * The merge of layers below a host directory that takes all changes, in the form of overlayfs. No other process may
 * change that directory meanwhile. The tree keeps state only for nodes that the kernel knows. Everything else is in the
 * upper, so that the next mount shows the same tree with the same inode numbers.
 */
export class WritableTree implements WritableFileSystem {
  readonly attributes = 'all'
  readonly hasBirthTimes = true
  readonly #upper: Upper
  readonly #resolver: Resolver
  readonly #lister: Lister
  readonly #copyUp: CopyUp
  readonly #creator: Creator
  readonly #remover: Remover
  readonly #renamer: Renamer
  readonly #attributes: AttributeWriter
  readonly #xattrs: ExtendedAttributes
  readonly #data: FileData
  readonly #whereabouts: Whereabouts

  /** @throws FsError EINVAL, EOVERFLOW, ENOENT, ENOTDIR as `MergedTree`; EIO. All messages name the upper */
  constructor(options: WritableTreeOptions) {
    try {
      this.#upper = assemble(options, (node) => this.#drop(node))
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      throw new FsError(error.code, `upper directory ${options.label}: ${error.message}`, { cause: error })
    }
    const upper = this.#upper
    this.#resolver = new Resolver(upper)
    this.#lister = new Lister(upper, this.#resolver)
    this.#copyUp = new CopyUp(upper)
    this.#creator = new Creator(upper, this.#resolver, this.#copyUp)
    this.#remover = new Remover(upper, this.#resolver, this.#copyUp, this.#lister)
    this.#renamer = new Renamer(upper, this.#resolver, this.#copyUp, this.#remover)
    this.#attributes = new AttributeWriter(upper, this.#copyUp)
    this.#xattrs = new ExtendedAttributes(upper, this.#copyUp)
    this.#data = new FileData(upper, this.#copyUp)
    const walked = new WalkedNodes(upper, this.#resolver, this.#lister, (node) => this.#taken(node))
    this.#whereabouts = new Whereabouts(walked)
    upper.table.onNameless = (node) => this.#loseName(node)
  }

  /** Closes all descriptors but those of the options. */
  close(): void {
    this.#upper.times.restoreAll()
    this.#upper.table.clear()
    this.#upper.files.close()
  }

  /** Counts for tests and status: nodes, and descriptors of nodes that have a name. */
  get state(): { readonly nodes: number; readonly descriptors: number } {
    return { nodes: this.#upper.table.size, descriptors: this.#upper.files.size }
  }

  clientKeepsTimes(): void {
    this.#upper.times.leave()
  }

  lookup(parent: NodeId, name: Name): Entry | undefined {
    if (name === '.') return this.#whereabouts.find(parent)
    const directory = this.#upper.table.directory(parent)
    if (name === '..') return this.#taken(directory.place?.parent ?? directory)
    const looked = this.#resolver.look(directory, escapedFileName(name))
    return looked === undefined ? undefined : this.#taken(looked.node, looked.host)
  }

  forget(node: NodeId, nlookup: number): void {
    this.#upper.table.forget(node, nlookup)
  }

  getattr(node: NodeId): Stat {
    return toldStat(this.#upper, this.#upper.table.get(node))
  }

  readlink(id: NodeId): Uint8Array {
    const { table, files, policy } = this.#upper
    const node = table.get(id)
    if (node.type !== DT_LNK) throw new FsError('EINVAL', `node ${id} is no symbolic link`)
    if (!node.inUpper) {
      const part = partOf(node)
      return layerOf(this.#upper, part).readlink(part.ref)
    }
    if (policy.owners === 'real' || isSymlink(files.stat(node).mode)) return files.with(node, readlinkFd)
    const fd = files.data(node, false)
    return readRecordedTarget(fd, statFd(fd).size, `upper: node ${id}`)
  }

  readdir(node: NodeId, cookie: number, sink: DirectorySink): void {
    const directory = this.#upper.table.directory(node)
    listShown(sink, (shown) => this.#lister.read(directory, cookie, shown))
  }

  statfs(): StatFs {
    const told = { ...statfsFd(this.#upper.files.rootFd), nameMax: NAME_MAX }
    const bound = this.#upper.space?.state()
    if (bound === undefined) return told
    const inBlocks = (bytes: number): number => Math.floor(bytes / told.blockSize)
    const blocksFree = Math.min(inBlocks(bound.free), told.blocksFree)
    const blocksAvailable = Math.min(blocksFree, told.blocksAvailable)
    return { ...told, blocks: inBlocks(bound.limit), blocksFree, blocksAvailable }
  }

  getxattr(node: NodeId, name: Name): Uint8Array | undefined {
    const value = this.#xattrs.get(this.#upper.table.get(node), name)
    return value && shownValue(this.#upper.owner, name, value)
  }

  listxattr(node: NodeId): readonly Name[] {
    return this.#xattrs.list(this.#upper.table.get(node))
  }

  seek(node: NodeId, offset: number, whence: Whence): number {
    return this.#data.seek(this.#upper.table.get(node), offset, whence)
  }

  read(id: NodeId, offset: number, size: number, sink: ExtentSink): void {
    const { table } = this.#upper
    if (table.has(id)) {
      this.#data.read(table.get(id), offset, size, sink)
      return
    }
    // Prefetch reads files of the layers before their lookup (`following`).
    const part = table.partOfId(id)
    layerOf(this.#upper, part).extents(part.ref, offset, size, sink)
  }

  /** The next file in the order of the layer. The tree may show it no more, which does not matter for a hint. */
  following(id: NodeId): NodeId | undefined {
    const { table } = this.#upper
    const node = table.has(id) ? table.get(id) : undefined
    if (node !== undefined && (node.inUpper || isDirectoryNode(node))) return undefined
    const part = node === undefined ? table.partOfId(id) : partOf(node)
    const ref = layerOf(this.#upper, part).following?.(part.ref)
    return ref === undefined ? undefined : table.idOfPart({ layer: part.layer, ref })
  }

  inodeFlags(node: NodeId, form: FlagsForm): Uint8Array {
    return shownFlags(this.#upper, this.#upper.table.get(node), form)
  }

  setInodeFlags(node: NodeId, form: FlagsForm, flags: Uint8Array): void {
    setFlags(this.#upper, this.#copyUp, this.#upper.table.get(node), form, flags)
  }

  open(node: NodeId): void {
    this.#copyUp.ensure(this.#upper.table.get(node))
  }

  setattr(node: NodeId, changes: AttributeChanges): Stat {
    const changed = this.#upper.table.get(node)
    if (changes.size !== undefined) changed.told = false
    return this.#attributes.change(changed, changes)
  }

  mknod(parent: NodeId, name: Name, mode: number, rdev: number, caller: Caller): Entry {
    const entry = this.#create(parent, name, { mode, rdev }, caller)
    // The kernel opens it for writing next. When it is closed, the kernel asks for its size on the disk again
    // (fs/fuse/file.c:fuse_flush).
    this.#upper.table.get(entry.nodeId).told = false
    return entry
  }

  mkdir(parent: NodeId, name: Name, mode: number, caller: Caller): Entry {
    return this.#create(parent, name, { mode: S_IFDIR | (mode & PERMISSIONS), rdev: 0 }, caller)
  }

  symlink(parent: NodeId, name: Name, target: Uint8Array, caller: Caller): Entry {
    return this.#create(parent, name, { mode: S_IFLNK | 0o777, rdev: 0, target }, caller)
  }

  link(id: NodeId, parent: NodeId, name: Name): Entry {
    const node = this.#upper.table.get(id)
    this.#creator.link(node, this.#upper.table.directory(parent), escapedFileName(name))
    return this.#taken(node)
  }

  tmpfile(parent: NodeId, mode: number, caller: Caller): Entry {
    return this.#taken(this.#creator.createUnnamed(this.#upper.table.directory(parent), mode, caller))
  }

  unlink(parent: NodeId, name: Name): void {
    this.#withNode(parent, name, (directory, stored, node) => this.#remover.unlink(directory, stored, node))
  }

  rmdir(parent: NodeId, name: Name): void {
    this.#withNode(parent, name, (directory, stored, node) => this.#remover.rmdir(directory, stored, node))
  }

  rename(
    parent: NodeId,
    name: Name,
    newParent: NodeId,
    newName: Name,
    mode: RenameMode,
    whiteout: boolean,
  ): void {
    // As overlayfs: the upper cannot store a device 0:0 for users, because there it is a whiteout.
    if (whiteout) throw new FsError('EINVAL', 'rename: an overlay cannot show whiteouts')
    const { table } = this.#upper
    const from = { parent: table.directory(parent), name: escapedFileName(name) }
    const to = { parent: table.directory(newParent), name: escapedFileName(newName) }
    this.#renamer.rename(from, to, mode)
    this.#whereabouts.noteMove()
  }

  write(node: NodeId, offset: number, data: Uint8Array, killPrivileges: boolean): number {
    return this.#data.write(this.#upper.table.get(node), offset, data, killPrivileges)
  }

  fallocate(node: NodeId, mode: number, offset: number, length: number): void {
    this.#data.fallocate(this.#upper.table.get(node), mode, offset, length)
  }

  copyFileRange(from: NodeId, fromOffset: number, to: NodeId, toOffset: number, length: number): number {
    const { table } = this.#upper
    return this.#data.copyRange(table.get(from), fromOffset, table.get(to), toOffset, length)
  }

  setxattr(node: NodeId, name: Name, value: Uint8Array, mode: XattrMode): void {
    const stored = storedValue(this.#upper.owner, name, value)
    this.#xattrs.set(this.#upper.table.get(node), name, stored, mode)
  }

  removexattr(node: NodeId, name: Name): void {
    this.#xattrs.remove(this.#upper.table.get(node), name)
  }

  fsync(node: NodeId, dataOnly: boolean): void {
    this.#data.sync(this.#upper.table.get(node), dataOnly)
  }

  /** Gives files the times that are told of them: for whoever looks at the upper directory. To be called between requests. */
  restoreTimes(): void {
    this.#upper.times.restoreAll()
  }

  syncfs(): void {
    this.#data.syncAll()
  }

  #create(parent: NodeId, name: Name, what: Parameters<Creator['create']>[2], caller: Caller): Entry {
    const directory = this.#upper.table.directory(parent)
    const { node, host } = this.#creator.create(directory, escapedFileName(name), what, caller)
    return this.#taken(node, host)
  }

  /** The entry of a node. Counts one lookup. @param host as for `toldStat` */
  #taken(node: Node, host?: HostStat): Entry {
    const { table } = this.#upper
    try {
      const stat = toldStat(this.#upper, node, host)
      const generation = table.generation(node, stat)
      table.retain(node)
      return { nodeId: node.id, stat, generation }
    } finally {
      table.dropIfUnused(node)
    }
  }

  /** @throws FsError ENOENT */
  #withNode(
    parent: NodeId,
    name: Name,
    use: (directory: DirectoryNode, stored: Name, node: Node) => void,
  ): void {
    const { table } = this.#upper
    const directory = table.directory(parent)
    const stored = escapedFileName(name)
    const node = this.#resolver.find(directory, stored)
    if (node === undefined) throw new FsError('ENOENT', `no ${JSON.stringify(name)}`)
    try {
      use(directory, stored, node)
    } finally {
      table.dropIfUnused(node)
    }
  }

  /** A file whose last known name is removed may have other names: the next search then walks the tree again. */
  #loseName(node: Node): void {
    if (!this.#whereabouts.isBegun || isDirectoryNode(node)) return
    const stat = unlessFailed(() => shownStat(this.#upper, node))
    if (stat === undefined || stat.nlink > 0) this.#whereabouts.doubt()
  }

  #drop(node: Node): void {
    if (node.place !== undefined && this.#upper.table.isLasting(node)) {
      this.#whereabouts.note(node.id, node.place.parent.id)
    }
    this.#upper.times.restore(node)
    this.#upper.files.forget(node)
    this.#lister.forget(node)
    if (isDirectoryNode(node)) node.lower?.drop()
    this.#copyUp.forget(node)
  }
}

function assemble(options: WritableTreeOptions, onGone: (node: Node) => void): Upper {
  const { layers, work, policy, upperFd } = options
  const host = statFd(upperFd)
  if (!isDirectory(host.mode)) throw new FsError('ENOTDIR', 'is no directory')
  const stack = stackOf(layers, { upperDevice: host.dev })
  const marks = hasMarks(upperFd, policy)
  const opacity = upperOpacity(upperFd, marks)
  const opaque = opacity === 'y'
  const lower = layers.length === 0 || opaque ? undefined : rootDirectory(stack, options.subdir ?? '')
  const { inodes } = stack
  const ino = lower ? numberOfPart(stack, lower.numbered) : inodes.ofUpper(host.dev, host.inode)
  const root = new DirectoryNode(ROOT_NODE_ID, ino, lower)
  root.upperIno = host.inode
  root.opaque = opaque
  root.attributeWhiteouts = opacity === 'x'
  const files = new UpperFiles({ rootFd: upperFd, work, mostHeld: options.mostHeld, kept: options.kept })
  return {
    stack,
    table: new NodeTable(layers, root, onGone),
    inodes,
    files,
    work,
    policy,
    times: new ModificationTimes((node) => files.data(node, true)),
    syncCost: new SyncCost(),
    space: spaceOf(options.size, files, work),
    store: options.store,
    readHostFile: options.readHostFile,
    background: options.background,
    owner: { uid: options.uid, gid: options.gid },
    marks,
    redirectDir: options.redirectDir ?? true,
  }
}

function spaceOf(size: number | undefined, files: UpperFiles, work: WorkDirectory): Space | undefined {
  if (size === undefined) return undefined
  return new Space(size, () => measureBelow([files.rootFd, work.fd], files.held()))
}
