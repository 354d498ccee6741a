import {
  DT_DIR,
  DT_REG,
  FsError,
  type Name,
  type NodeId,
  ROOT_NODE_ID,
  type Stat,
} from '../../../src/base/index.ts'
import type { HostInode } from '../../../src/sys/files/statx.ts'
import type { Directory, Part } from '../../merge/directory.ts'
import type { Layer } from '../../stored/layer-flags.ts'
import { LastingIds } from './lasting-ids.ts'

/** A name of a node in a directory. */
export interface Place {
  readonly parent: DirectoryNode
  readonly name: Name
}

/**
 * An inode that the kernel knows, or a parent of one. Kept small: there may be a million. The operations of this folder
 * change its fields. Only `NodeTable`, which counts references, changes its names.
 */
export class Node {
  readonly id: NodeId
  /** DT_* as shown. */
  readonly type: number
  /** st_ino as shown. Copy-up does not change it, except for a file of the layers with several names. */
  ino: number
  /** Lookup count: references that the kernel holds. */
  nlookup = 0
  /** Number of names of nodes that have this one as their parent. */
  children = 0
  /** Inode number in the upper; 0 while the upper lacks it. */
  upperIno: HostInode = 0
  /** The inode in the layers. It gives data and attributes while the upper has nothing. */
  readonly part: Part | undefined
  /** One of its names, in the upper if the upper has it by a name. Undefined where no name is known any more. */
  place: Place | undefined = undefined
  /** Further names, by `keyOf`: one file may have tens of thousands. */
  more: Map<string, Place> | undefined = undefined
  /**
   * O_PATH descriptor of an upper inode that has no known name (or one for data, see `UpperFiles.holdData`); −1
   * otherwise.
   */
  descriptor = -1
  /** The kernel has its attributes, and has made no change since after which it would ask again. */
  told = false
  /** Bytes written to it since its last sync. */
  unsynced = 0
  /** True for a file that was made without a name and has got none yet: LINK may still give it one. */
  unnamed = false
  /** Its inode in the upper has none of the attributes that `isNeverInherited` names: no call has to look for them. */
  bare = false

  constructor(id: NodeId, type: number, ino: number, part: Part | undefined) {
    this.id = id
    this.type = type
    this.ino = ino
    this.part = part
  }

  get inUpper(): boolean {
    return this.upperIno !== 0
  }
}

/** What a new object takes over from its directory. */
export interface Inheritance {
  /** Group of new files, where the directory has setgid. */
  readonly gid: number | undefined
  readonly defaultAcl: Uint8Array | undefined
}

/** Most changed names to note for one kept listing. */
const CHANGED_NAMES = 4096

/** A directory of a writable tree: what the upper and the layers have of it, and what is known of its names. */
export class DirectoryNode extends Node {
  /** Its lower part, merged; undefined where nothing of the layers shows: a directory only of the upper. */
  readonly lower: Directory | undefined
  /** Value of its `overlay.redirect`. */
  redirect: Name | undefined = undefined
  /** The upper hides everything that the layers have here. */
  opaque = false
  /** The upper part may contain whiteouts by attribute (`opaque=x`). */
  attributeWhiteouts = false
  /** Names that changed since the listing; undefined where no listing is kept. */
  changed: Set<Name> | undefined = undefined
  /** Removed: it has no names and gets none. */
  dead = false
  inheritance: Inheritance | undefined = undefined

  constructor(id: NodeId, ino: number, lower: Directory | undefined) {
    super(id, DT_DIR, ino, lower?.top)
    lower?.keep()
    this.lower = lower
  }

  /** Notes that the name shows something else than before. */
  touch(name: Name): void {
    if (this.changed === undefined) return
    // Reading the directory again costs no more than keeping that many names.
    if (this.changed.size >= CHANGED_NAMES) this.changed = undefined
    else this.changed.add(name)
  }

  /**
   * True for a directory of several parts. It shows one link: counting the subdirectories of all parts would cost too
   * much.
   */
  get merged(): boolean {
    return this.lower !== undefined && (this.inUpper || this.lower.count > 1)
  }
}

/** Narrows a node to one that has names. */
export function isDirectoryNode(node: Node): node is DirectoryNode {
  return node instanceof DirectoryNode
}

/** @throws FsError EISDIR, EINVAL where the node has no data */
export function assertRegular(node: Node): void {
  if (node.type === DT_REG) return
  throw new FsError(node.type === DT_DIR ? 'EISDIR' : 'EINVAL', `node ${node.id} is no regular file`)
}

/** Called for each dropped node: closes its descriptors. */
export type OnGone = (node: Node) => void

/**
 * All nodes, found by their id, by their inode in the layers, and by their inode number in the upper. An inode of the
 * layers has one node for each of its names, so a change through one name leaves the others as they are
 * (docs/adr/0019-identity-of-files.md).
 */
export class NodeTable {
  readonly root: DirectoryNode
  /** Called for a node that has no known name any more. */
  onNameless: ((node: Node) => void) | undefined = undefined
  readonly #ids: LastingIds
  readonly #onGone: OnGone
  readonly #nodes = new Map<NodeId, Node>()
  readonly #byPart = new Map<NodeId, Node>()
  /** Nodes of layer inodes under further names, by `keyOf` of the name. */
  readonly #byName = new Map<string, Node>()
  readonly #byUpper = new Map<HostInode, Node>()

  constructor(layers: readonly Layer[], root: DirectoryNode, onGone: OnGone) {
    this.#ids = new LastingIds(layers)
    this.#onGone = onGone
    this.root = root
    // The mount holds the root: it is never forgotten.
    root.nlookup = 1
    this.#nodes.set(root.id, root)
    if (root.inUpper) this.#byUpper.set(root.upperIno, root)
  }

  get size(): number {
    return this.#nodes.size
  }

  /** @throws FsError ESTALE for a node that was forgotten, or an id that was never given */
  get(id: NodeId): Node {
    const node = this.#nodes.get(id)
    if (node === undefined) throw new FsError('ESTALE', `node ${id}: unknown or forgotten`)
    return node
  }

  /** @throws FsError ESTALE, ENOTDIR */
  directory(id: NodeId): DirectoryNode {
    const node = this.get(id)
    if (isDirectoryNode(node)) return node
    throw new FsError('ENOTDIR', `node ${id} is no directory`)
  }

  /** Drops all nodes but the root. */
  clear(): void {
    for (const node of this.#nodes.values()) if (node !== this.root) this.#onGone(node)
    this.#nodes.clear()
    this.#byPart.clear()
    this.#byName.clear()
    this.#byUpper.clear()
  }

  has(id: NodeId): boolean {
    return this.#nodes.has(id)
  }

  /**
   * The id of an inode of the layers. It never changes, so prefetch can read for it before its lookup
   * (`FileSystem.following`).
   */
  idOfPart(part: Part): NodeId {
    return this.#ids.ofPart(part)
  }

  /** The inode of the layers that has this id, whether or not a node exists. @throws FsError ESTALE */
  partOfId(id: NodeId): Part {
    return this.#ids.partOf(id)
  }

  /** The node of an inode of the layers under exactly this name. */
  below(part: Part, parent: DirectoryNode, name: Name): Node | undefined {
    const first = this.#byPart.get(this.idOfPart(part))
    if (first !== undefined && this.hasPlace(first, parent, name)) return first
    return this.#byName.get(keyOf(parent, name))
  }

  byUpper(ino: HostInode): Node | undefined {
    return this.#byUpper.get(ino)
  }

  /** True where a node of this or of a later mount can have the id. */
  mayExist(id: NodeId): boolean {
    return this.#ids.mayExist(id)
  }

  /** True where the node has the same id at later mounts. */
  isLasting({ id }: Node): boolean {
    return this.#ids.isLasting(id)
  }

  /** Id for a new node of an inode of the layers. */
  freshId(part: Part): NodeId {
    return this.#freeId(this.#ids.ofPart(part))
  }

  /** As `freshId`, for a file that may have other names in the layers: each name is a node. */
  freshIdOfName(part: Part, { id }: DirectoryNode, name: Name): NodeId {
    return this.#freeId(this.#ids.ofName(part, id, name))
  }

  /** Id for a new node that only the upper has. */
  freshUpperId(ino: HostInode): NodeId {
    return this.#freeId(this.#ids.ofUpper(ino))
  }

  #freeId(id: NodeId | undefined): NodeId {
    return id === undefined || this.#nodes.has(id) ? this.#ids.count() : id
  }

  /** See `LastingIds.generation`. @param stat of the node */
  generation({ id, part }: Node, stat: Stat): number {
    return this.#ids.generation(id, part, stat)
  }

  /** Adds a new node without references: the caller must call `dropIfUnused` sooner or later. */
  add(node: Node, place: Place | undefined): void {
    this.#nodes.set(node.id, node)
    if (node.part !== undefined) {
      const key = this.idOfPart(node.part)
      if (!this.#byPart.has(key)) this.#byPart.set(key, node)
      else if (place !== undefined) this.#byName.set(keyOf(place.parent, place.name), node)
    }
    if (node.inUpper) this.#byUpper.set(node.upperIno, node)
    if (place !== undefined) this.addPlace(node, place)
  }

  /** Notes that the upper has the node now, or has it as another inode. */
  setUpper(node: Node, ino: HostInode): void {
    if (this.#byUpper.get(node.upperIno) === node) this.#byUpper.delete(node.upperIno)
    node.upperIno = ino
    if (ino !== 0) this.#byUpper.set(ino, node)
  }

  /** Counts lookups. */
  retain(node: Node, count = 1): void {
    node.nlookup += count
  }

  /** Takes lookups back. An unknown id is ignored, because FORGET has no answer. */
  forget(id: NodeId, nlookup: number): void {
    const node = this.#nodes.get(id)
    if (node === undefined || id === ROOT_NODE_ID) return
    node.nlookup = Math.max(0, node.nlookup - nlookup)
    this.dropIfUnused(node)
  }

  /** Drops the node if it has neither lookups nor children, and then those of its parents that it alone kept. */
  dropIfUnused(node: Node): void {
    // A loop, because trees may be deeper than the stack.
    const idle = [node]
    for (let one = idle.pop(); one !== undefined; one = idle.pop()) {
      if (one.nlookup > 0 || one.children > 0 || this.#nodes.get(one.id) !== one) continue
      this.#nodes.delete(one.id)
      if (one.part !== undefined) {
        const key = this.idOfPart(one.part)
        if (this.#byPart.get(key) === one) this.#byPart.delete(key)
      }
      if (this.#byUpper.get(one.upperIno) === one) this.#byUpper.delete(one.upperIno)
      this.#onGone(one)
      for (const { parent, name } of places(one)) {
        this.#forgetName(one, parent, name)
        parent.children -= 1
        idle.push(parent)
      }
      one.place = undefined
      one.more = undefined
    }
  }

  hasPlace(node: Node, parent: DirectoryNode, name: Name): boolean {
    return isPlace(node.place, parent, name) || (node.more?.has(keyOf(parent, name)) ?? false)
  }

  /** Adds a name, unless the node has it. */
  addPlace(node: Node, place: Place): void {
    if (this.hasPlace(node, place.parent, place.name)) return
    if (node.place === undefined) node.place = place
    else {
      node.more ??= new Map()
      node.more.set(keyOf(place.parent, place.name), place)
    }
    place.parent.children += 1
  }

  removePlace(node: Node, parent: DirectoryNode, name: Name): void {
    if (!this.hasPlace(node, parent, name)) return
    if (isPlace(node.place, parent, name)) {
      node.place = firstOf(node.more)
      if (node.place !== undefined) node.more?.delete(keyOf(node.place.parent, node.place.name))
    } else node.more?.delete(keyOf(parent, name))
    if (node.more?.size === 0) node.more = undefined
    if (node.place === undefined) this.onNameless?.(node)
    this.#forgetName(node, parent, name)
    parent.children -= 1
    this.dropIfUnused(parent)
  }

  /** Replaces a name of the node. */
  movePlace(node: Node, from: Place, to: Place): void {
    this.addPlace(node, to)
    this.removePlace(node, from.parent, from.name)
  }

  #forgetName(node: Node, parent: DirectoryNode, name: Name): void {
    const key = keyOf(parent, name)
    if (this.#byName.get(key) === node) this.#byName.delete(key)
  }
}

function isPlace(place: Place | undefined, parent: DirectoryNode, name: Name): boolean {
  return place?.parent === parent && place.name === name
}

function keyOf(parent: DirectoryNode, name: Name): string {
  return `${parent.id}/${name}`
}

function firstOf(places: ReadonlyMap<string, Place> | undefined): Place | undefined {
  for (const place of places?.values() ?? []) return place
  return undefined
}

/** All known names of a node. */
export function places(node: Node): readonly Place[] {
  if (node.place === undefined) return []
  return node.more === undefined ? [node.place] : [node.place, ...node.more.values()]
}
