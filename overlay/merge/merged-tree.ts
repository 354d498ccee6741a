import {
  type AttributeKinds,
  type Cookie,
  type DirectorySink,
  type Entry,
  type ExtentSink,
  type FileSystem,
  type FlagsForm,
  FsError,
  isDirectory,
  isRegular,
  LruCache,
  NAME_MAX,
  type Name,
  type NodeId,
  passedOver,
  ROOT_NODE_ID,
  type Stat,
  type StatFs,
  unlessFailed,
  type Whence,
} from '../../src/base/index.ts'
import { escapedFileName } from '../stored/file-names.ts'
import { type Layer, type LayerEntry, layerFlags } from '../stored/layer-flags.ts'
import { shownValue } from '../stored/owned-values.ts'
import type { IdRule } from '../stored/owner.ts'
import { assertWhole, statEntry } from '../stored/whiteout.ts'
import { firstOf, namesOf, shownNames } from '../stored/xattr-names.ts'
import { Directory, type Found, numberOf, numberOfPart, type Part, type Stack, stackOf } from './directory.ts'
import type { RecordMemory } from './directory-records.ts'
import { COOKIE_PARENT, listDots, listMerged, listShown, listSingle } from './listing.ts'
import { MergedDirectories } from './merged-directories.ts'
import { NodeIds } from './node-ids.ts'
import { ParkedCursors } from './parked-cursors.ts'
import { rootDirectory } from './root.ts'
import { presentStat, sumStatFs } from './stat.ts'
import { type Seen, type Walked, Whereabouts } from './whereabouts.ts'

/** What a merge shows of its layers, and how much memory it takes. */
export interface MergedTreeOptions {
  /** Makes the directory at this path of the merged tree the root. Symbolic links in it are not followed. */
  readonly subdir?: Name
  /** Owner shown for every file; the stored one where absent. */
  readonly uid?: IdRule
  readonly gid?: IdRule
  /** Bound of what is held of merged directories, bytes; a sensible one where absent. */
  readonly heldBytes?: number
  /** What outlives the tree: one of the same layers goes on with it. Absent: nothing does. */
  readonly memory?: TreeMemory | undefined
}

/** What the kernel was told and does not follow from the layers. */
export interface TreeMemory {
  /** Of nodes whose id may be another file's at the next mount: a random number below 2^32. */
  readonly generation: number
  /** The merged directories that the kernel knows. */
  readonly directories: RecordMemory
}

/** Where a node lies. */
interface Place {
  /** The inode that gives its attributes. */
  readonly part: Part
  /** Given for the root and for merged directories. */
  readonly directory: Directory | undefined
}

/** Files known to hold their own data, so that reading one does not look at its attributes again. */
const WHOLE_FILES = 4096

/**
 * The read-only merge of layers, with the rules of overlayfs and of OCI layers (docs/adr/0004-merge.md). A tree of
 * one layer, or of hundreds; the same layer may stand in it twice. State is kept only for merged directories that
 * the kernel knows; node ids and inode numbers are the same at every mount of the same layers.
 */
export class MergedTree implements FileSystem, Walked {
  readonly #stack: Stack
  readonly #ids: NodeIds
  readonly #root: Directory
  readonly #merged: MergedDirectories
  readonly #parked = new ParkedCursors()
  readonly #whereabouts = new Whereabouts(this)
  /** Of nodes whose id may be another file's at the next mount. */
  readonly #generationOfMount: number
  /** Numbers of copies that earlier mounts made in a layer, once they are met. */
  readonly #copies = new Map<NodeId, number>()
  readonly #whole = new LruCache<NodeId, true>(WHOLE_FILES)
  #single: { readonly node: NodeId; readonly directory: Directory } | undefined
  readonly #owner: { readonly uid: IdRule | undefined; readonly gid: IdRule | undefined }

  /**
   * @param layers bottom first, as an OCI manifest lists them
   * @throws FsError EINVAL for no layer; EOVERFLOW where the ids do not suffice;
   *   ENOENT, ENOTDIR for `subdir`; EIO
   */
  constructor(layers: readonly Layer[], options: MergedTreeOptions = {}) {
    this.#stack = stackOf(layers, { heldBytes: options.heldBytes })
    this.#ids = new NodeIds(this.#stack.layers)
    this.#root = rootDirectory(this.#stack, options.subdir ?? '')
    this.#owner = { uid: options.uid, gid: options.gid }
    const { memory } = options
    this.#generationOfMount = memory?.generation ?? Math.floor(Math.random() * 2 ** 32)
    this.#merged = new MergedDirectories({
      memory: memory?.directories,
      find: (node, parent, name) => this.#findAgain(node, parent, name),
      onGone: (node) => this.#parked.forget(node),
    })
  }

  get attributes(): AttributeKinds {
    const kinds = this.#stack.layers.map(({ attributes }) => attributes)
    if (kinds.includes('all')) return 'all'
    return kinds.includes('no-acls') ? 'no-acls' : 'none'
  }

  get hasBirthTimes(): boolean {
    return this.#stack.layers.some((layer) => layer.hasBirthTimes === true)
  }

  /** What is held in memory, for tests and status: known merged directories and parked listings. */
  get state(): { readonly directories: number; readonly heldBytes: number; readonly parked: number } {
    return { directories: this.#merged.size, heldBytes: this.#stack.held.cost, parked: this.#parked.size }
  }

  lookup(parent: NodeId, name: Name): Entry | undefined {
    if (name === '.') return this.#whereabouts.find(parent)
    if (name === '..') return this.#parentEntry(parent)
    if (name.length > NAME_MAX) throw new FsError('ENAMETOOLONG', `name of ${name.length} bytes`)
    const stored = escapedFileName(name)
    const found = this.#directory(parent).lookup(stored)
    if (found === undefined) return undefined
    const entry = this.#entry(found)
    this.#retain(entry.nodeId, found.merged, parent, stored)
    return entry
  }

  forget(node: NodeId, nlookup: number): void {
    this.#merged.release(node, nlookup)
  }

  getattr(node: NodeId): Stat {
    const { part, directory } = this.#place(node)
    const stat = this.#layer(part).stat(part.ref)
    if (isRegular(stat.mode)) this.#assertWhole(node, part)
    return this.#present(this.#number(node, part, stat, directory), stat, isMerge(directory))
  }

  readlink(node: NodeId): Uint8Array {
    const part = this.#part(node)
    return this.#layer(part).readlink(part.ref)
  }

  readdir(node: NodeId, cookie: Cookie, sink: DirectorySink): void {
    const directory = this.#directory(node)
    listShown(sink, (shown) => {
      if (cookie < COOKIE_PARENT && !this.#listDots(node, cookie, shown)) return
      const rest = Math.max(cookie, COOKIE_PARENT)
      const add = this.#adder(node, shown)
      if (directory.count === 1) listSingle(directory, rest, sink.plus, add)
      else listMerged(directory, rest, sink.plus, add, node, this.#parked)
    })
  }

  statfs(): StatFs {
    return sumStatFs(this.#stack.layers, NAME_MAX)
  }

  neverHas(name: Name): boolean {
    const stored = namesOf(name)
    return this.#stack.layers.every((layer) => {
      if (layer.attributes === 'none') return true
      const names = layer.attributeNames?.()
      return names !== undefined && !stored.some((one) => names.has(one))
    })
  }

  getxattr(node: NodeId, name: Name): Uint8Array | undefined {
    const { part } = this.#place(node)
    const value = firstOf(this.#layer(part), part.ref, namesOf(name))
    return value && shownValue(this.#owner, name, value)
  }

  listxattr(node: NodeId): readonly Name[] {
    const { part } = this.#place(node)
    return shownNames(this.#layer(part).listxattr(part.ref))
  }

  inodeFlags(node: NodeId, form: FlagsForm): Uint8Array {
    const part = this.#part(node)
    return layerFlags(this.#layer(part), part.ref, form)
  }

  seek(node: NodeId, offset: number, whence: Whence): number {
    const part = this.#part(node)
    this.#assertWhole(node, part)
    return this.#layer(part).seek(part.ref, offset, whence)
  }

  read(node: NodeId, offset: number, size: number, sink: ExtentSink): void {
    const part = this.#part(node)
    this.#assertWhole(node, part)
    this.#layer(part).extents(part.ref, offset, size, sink)
  }

  /** In the order of the layer: whether the merge shows that file does not matter for a hint. */
  following(node: NodeId): NodeId | undefined {
    const { layer, ref } = this.#part(node)
    const next = this.#layer({ layer, ref }).following?.(ref)
    return next === undefined ? undefined : this.#ids.encode(layer, next, false)
  }

  /** @throws FsError ESTALE */
  #directory(node: NodeId): Directory {
    // The last one: names of one directory are asked for one after the other.
    if (this.#single?.node === node) return this.#single.directory
    const { part, directory } = this.#place(node)
    if (directory !== undefined) return directory
    this.#single = { node, directory: new Directory(this.#stack, [part]) }
    return this.#single.directory
  }

  /** A merged directory that an earlier tree met. @throws FsError EIO */
  #findAgain(node: NodeId, parent: NodeId, name: Name): Directory {
    const found = this.#directory(parent).lookup(name)
    const { merged, top } = found ?? {}
    if (merged === undefined || top === undefined || this.#ids.encode(top.layer, top.ref, true) !== node) {
      throw new FsError('EIO', `node ${node}: ${JSON.stringify(name)} is made of other layers than before`)
    }
    return merged
  }

  /** @throws FsError ESTALE */
  #place(node: NodeId): Place {
    if (node === ROOT_NODE_ID) return { part: this.#root.attributed, directory: this.#root }
    const part = this.#ids.decode(node)
    if (!part.merged) return { part, directory: undefined }
    const directory = this.#merged.get(node)
    return { part: directory.attributed, directory }
  }

  /** @throws FsError ESTALE */
  #part(node: NodeId): Part {
    if (node === ROOT_NODE_ID) return this.#root.top
    const part = this.#ids.decode(node)
    return part.merged ? this.#merged.get(node).top : part
  }

  #layer(part: Part): Layer {
    const layer = this.#stack.layers[part.layer]
    if (layer === undefined) throw new FsError('ESTALE', `no layer ${part.layer}`)
    return layer
  }

  #isMerged(node: NodeId): boolean {
    return isMerge(this.#place(node).directory)
  }

  /** Nothing is remembered of how a file, or a directory of one layer, was reached. */
  isKnown(node: NodeId): boolean {
    return node === ROOT_NODE_ID || this.#merged.has(node)
  }

  see(directory: NodeId, name: Name): Seen | undefined {
    const entry = this.lookup(directory, name)
    return entry && { nodeId: entry.nodeId, isDirectory: isDirectory(entry.stat.mode) }
  }

  mayExist(node: NodeId): boolean {
    return node === ROOT_NODE_ID || this.#ids.has(node)
  }

  hold(node: NodeId): void {
    if (this.#merged.has(node)) this.#merged.retainAgain(node)
  }

  /** See `Walked`. */
  again(node: NodeId): Entry {
    const stat = this.getattr(node)
    if (node === ROOT_NODE_ID) return { nodeId: node, stat }
    const generation = this.#generation(this.#part(node))
    this.hold(node)
    return { nodeId: node, stat, generation }
  }

  #parentEntry(node: NodeId): Entry {
    if (node === ROOT_NODE_ID) return this.again(node)
    if (this.isKnown(node)) return this.again(this.#merged.parent(node))
    const { mode } = this.getattr(node)
    if (!isDirectory(mode)) throw new FsError('ENOTDIR', `node ${node}: mode 0${mode.toString(8)}`)
    return this.#whereabouts.findParent(node)
  }

  #generation({ layer, ref }: Part): number {
    return this.#ids.generation(layer, ref) ?? this.#generationOfMount
  }

  #retain(node: NodeId, merged: Directory | undefined, parent: NodeId, name: Name): void {
    if (merged !== undefined) this.#merged.retain(node, merged, parent, name)
  }

  /** @throws FsError EIO */
  #entry(found: Found): Entry {
    const { top, entry, merged } = found
    const nodeId = this.#ids.encode(top.layer, top.ref, merged !== undefined)
    if (merged !== undefined) this.#merged.check(nodeId, merged)
    const stored = statEntry(this.#layer(top), entry)
    const attributed = merged?.attributed ?? top
    const stat =
      merged === undefined || attributed === merged.top
        ? stored
        : this.#layer(attributed).stat(attributed.ref)
    if (isRegular(stat.mode)) this.#assertWhole(nodeId, top)
    const number = numberOf(this.#stack, found)
    if (found.original !== undefined) this.#copies.set(nodeId, number)
    const generation = this.#generation(top)
    return { nodeId, stat: this.#present(number, stat, merged !== undefined), generation }
  }

  /** As `unlessFailed`, without a closure for each name of a listing. */
  #entryIfWhole(found: Found): Entry | undefined {
    try {
      return this.#entry(found)
    } catch (error) {
      return passedOver(error)
    }
  }

  /** The number to show for a node. @param stat of its part. @param directory see `Place` */
  #number(node: NodeId, part: Part, stat: Stat, directory: Directory | undefined): number {
    if (directory !== undefined && !(directory.numbered === directory.top && part === directory.top)) {
      return numberOfPart(this.#stack, directory.numbered)
    }
    return this.#copies.get(node) ?? this.#stack.inodes.ofLayer(part.layer, stat.ino)
  }

  #present(number: number, stat: Stat, merged: boolean): Stat {
    return presentStat(stat, number, merged, this.#owner)
  }

  /**
   * Refuses a metacopy file. One look at the attributes per file and mount while it stays in the cache, and for a
   * file without attributes no more than its inode, which was just read.
   * @throws FsError EIO
   */
  #assertWhole(node: NodeId, part: Part): void {
    const layer = this.#layer(part)
    if (!layer.marks.attributes || this.#whole.get(node) !== undefined) return
    assertWhole(layer, part.ref)
    this.#whole.set(node, true, 1)
  }

  #listDots(node: NodeId, cookie: Cookie, sink: DirectorySink): boolean {
    const self = this.getattr(node)
    if (!isDirectory(self.mode)) throw new FsError('ENOTDIR', `node ${node}: mode 0${self.mode.toString(8)}`)
    return listDots(sink, cookie, self.ino, () => this.#parentIno(node, self.ino))
  }

  /** Where the parent is not known any more, its own number stands in: the kernel resolves `..` itself. */
  #parentIno(node: NodeId, own: number): number {
    if (node === ROOT_NODE_ID || !this.#isMerged(node)) return own
    return unlessFailed(() => this.getattr(this.#merged.parent(node)).ino) ?? own
  }

  /** Gives a resolved name to the sink. A damaged child is listed without its entry: looking it up tells why. */
  #adder(parent: NodeId, sink: DirectorySink) {
    return (
      name: Name,
      top: number,
      shown: LayerEntry,
      found: Found | undefined,
      cookie: Cookie,
    ): boolean => {
      const ino =
        found === undefined ? this.#stack.inodes.ofLayer(top, shown.ino) : numberOf(this.#stack, found)
      const entry = sink.plus && found !== undefined ? this.#entryIfWhole(found) : undefined
      if (!sink.add(name, ino, (found?.entry ?? shown).type, cookie, entry)) return false
      if (entry !== undefined) this.#retain(entry.nodeId, found?.merged, parent, name)
      return true
    }
  }
}

function isMerge(directory: Directory | undefined): boolean {
  return directory !== undefined && directory.count > 1
}
