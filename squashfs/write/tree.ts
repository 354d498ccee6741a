import { FsError, isDirectory, type Name, newNameHash, S_IFDIR } from '../../src/base/index.ts'
import { Column } from './memory/column.ts'
import { RowIndex } from './memory/row-index.ts'

/** Number of an inode in the order in which inodes were added; the root is 0. */
export type NodeIndex = number

/** `xattrs` and `fragment` of an inode that has none. */
export const NONE = 0xffff_ffff

/** What an inode is, without its data. */
export interface NodeAttributes {
  /** Type and permission bits. */
  readonly mode: number
  /** Indexes into the id table. */
  readonly uid: number
  readonly gid: number
  /** Seconds since 1970, 0 to 2^32 − 1. */
  readonly mtime: number
  /** Index of the set of attributes, or NONE. */
  readonly xattrs: number
  /** Devices, as the kernel encodes it in 32 bits. */
  readonly rdev: number
}

const REMOVED = NONE
/** Some 7 GB of memory. */
const NODES_MAX = 1 << 26

/**
 * All names and inodes of an image that is being made, as columns of numbers: some 100 bytes an entry with its name. Names
 * come in any order, and one that comes again replaces what it named, as tar(1) does.
 */
export class Tree {
  readonly mode = new Column(Uint16Array)
  readonly uid = new Column(Uint16Array)
  readonly gid = new Column(Uint16Array)
  readonly mtime = new Column(Uint32Array)
  readonly xattrs = new Column(Uint32Array)
  readonly rdev = new Column(Uint32Array)
  /** Bytes of a file or of a link target. */
  readonly size = new Column(Float64Array)
  /** Files: index of what `DataWriter` stored. Links: index of the target in `targets`. */
  readonly data = new Column(Uint32Array)
  readonly #targets = new Column(Uint8Array)

  // One row a name.
  readonly #parent = new Column(Uint32Array)
  readonly #child = new Column(Uint32Array)
  readonly #nameStart = new Column(Float64Array)
  readonly #nameLength = new Column(Uint8Array)
  readonly #names = new Column(Uint8Array)

  /** Directories that were needed and have not come, each before those below it. */
  readonly #implied = new Set<NodeIndex>()

  /** Name rows by parent and name. */
  readonly #hash = newNameHash()
  readonly #index = new RowIndex((row) => this.#hash(this.#parent.get(row), this.nameBytes(row)), 4096)

  constructor(root: NodeAttributes) {
    this.#implied.add(this.addNode(root))
  }

  get nodes(): number {
    return this.mode.length
  }

  get entries(): number {
    return this.#parent.length
  }

  /** @throws FsError EFBIG for more than any memory is there for */
  addNode(attributes: NodeAttributes): NodeIndex {
    if (this.nodes === NODES_MAX) throw new FsError('EFBIG', `more than ${NODES_MAX} files and directories`)
    const node = this.mode.push(attributes.mode)
    this.uid.push(attributes.uid)
    this.gid.push(attributes.gid)
    this.mtime.push(attributes.mtime)
    this.xattrs.push(attributes.xattrs)
    this.rdev.push(attributes.rdev)
    this.size.push(0)
    this.data.push(NONE)
    return node
  }

  change(node: NodeIndex, { mode, uid, gid, mtime, xattrs }: NodeAttributes): void {
    this.#implied.delete(node)
    this.mode.set(node, mode)
    this.uid.set(node, uid)
    this.gid.set(node, gid)
    this.mtime.set(node, mtime)
    this.xattrs.set(node, xattrs)
  }

  isDirectory(node: NodeIndex): boolean {
    return isDirectory(this.mode.get(node))
  }

  setTarget(node: NodeIndex, target: Uint8Array): void {
    this.data.set(node, this.#targets.append(target))
    this.size.set(node, target.length)
  }

  target(node: NodeIndex): Uint8Array {
    const start = this.data.get(node)
    return this.#targets.slice(start, start + this.size.get(node))
  }

  lookup(parent: NodeIndex, name: Name): NodeIndex | undefined {
    const row = this.#row(parent, Buffer.from(name, 'latin1'))
    const child = row === undefined ? REMOVED : this.#child.get(row)
    return child === REMOVED ? undefined : child
  }

  /** Gives a node a name; a node that had the name loses it. @throws FsError EISDIR if a directory would be covered */
  name(parent: NodeIndex, name: Name, node: NodeIndex): void {
    const bytes = Buffer.from(name, 'latin1')
    const row = this.#row(parent, bytes)
    if (row === undefined) {
      this.#insert(parent, bytes, node)
    } else {
      const before = this.#child.get(row)
      if (before !== REMOVED && this.isDirectory(before)) {
        throw new FsError('EISDIR', `${JSON.stringify(name)} is a directory already`)
      }
      this.#child.set(row, node)
    }
  }

  /** Takes a name away, with all that lies below a directory. */
  remove(parent: NodeIndex, name: Name): void {
    const row = this.#row(parent, Buffer.from(name, 'latin1'))
    if (row !== undefined) this.#child.set(row, REMOVED)
  }

  /** The directory at a path, made with `attributes` where parts of it are missing. @throws FsError ENOTDIR */
  directoryAt(path: readonly Name[], attributes: NodeAttributes): NodeIndex {
    let node: NodeIndex = 0
    for (const name of path) {
      let child = this.lookup(node, name)
      if (child === undefined) {
        child = this.addNode({ ...attributes, mode: S_IFDIR | (attributes.mode & 0o7777) })
        this.name(node, name, child)
        this.#implied.add(child)
      }
      if (!this.isDirectory(child)) {
        throw new FsError(
          'ENOTDIR',
          `${JSON.stringify(name)} in ${JSON.stringify(path.join('/'))} is no directory`,
        )
      }
      node = child
    }
    return node
  }

  /** The node at a path; the root for no names. */
  nodeAt(path: readonly Name[]): NodeIndex | undefined {
    let node: NodeIndex | undefined = 0
    for (const name of path) node = node === undefined ? undefined : this.lookup(node, name)
    return node
  }

  /**
   * Paths of directories that `directoryAt` made and that have not come since, each before those below it. One at a time:
   * together they may be much longer than the names that they are made of. Nothing new may be named meanwhile.
   */
  *implied(): Generator<Name> {
    // The row by which each directory is named, plus one.
    const rows = new Uint32Array(this.nodes)
    for (let row = 0; row < this.entries; row++) {
      const child = this.#child.get(row)
      if (child !== REMOVED && this.isDirectory(child)) rows[child] = row + 1
    }
    // One mostly lies in the one before: its path is not put together again.
    let last: { readonly node: NodeIndex; readonly path: Name } | undefined
    for (const node of this.#implied) {
      const names: Name[] = []
      let at = node
      for (let row = rows[at] ?? 0; at !== 0 && at !== last?.node && row !== 0; row = rows[at] ?? 0) {
        names.push(Buffer.from(this.nameBytes(row - 1)).toString('latin1'))
        at = this.#parent.get(row - 1)
      }
      if (at === last?.node && last.path !== '') names.push(last.path)
      // What was replaced meanwhile leads to no root.
      else if (at !== 0) continue
      last = { node, path: names.reverse().join('/') }
      yield last.path
    }
  }

  nameBytes(row: number): Uint8Array {
    const start = this.#nameStart.get(row)
    return this.#names.slice(start, start + this.#nameLength.get(row))
  }

  childOf(row: number): NodeIndex {
    return this.#child.get(row)
  }

  /** Rows of the names below each directory, in byte order. Made once, when no more names come. */
  listings(): Listings {
    return new Listings(this, this.#parent, this.#child)
  }

  #row(parent: NodeIndex, name: Uint8Array): number | undefined {
    return this.#index.find(
      this.#hash(parent, name),
      (row) => this.#parent.get(row) === parent && Buffer.compare(this.nameBytes(row), name) === 0,
    )
  }

  #insert(parent: NodeIndex, name: Uint8Array, node: NodeIndex): void {
    const row = this.#parent.push(parent)
    this.#child.push(node)
    this.#nameStart.push(this.#names.append(name))
    this.#nameLength.push(name.length)
    this.#index.add(this.#hash(parent, name), row)
  }
}

/** The names of all directories, sorted. */
export class Listings {
  /** Rows, those of one directory together. */
  readonly #rows: Uint32Array
  /** Where the rows of each directory begin, by node. */
  readonly #starts: Uint32Array

  constructor(tree: Tree, parents: Column<Uint32Array>, children: Column<Uint32Array>) {
    // First how many names each directory has, then where its rows begin; the rows are filled in from there.
    const next = new Uint32Array(tree.nodes + 1)
    const add = (at: number, count: number): number => (next[at] = (next[at] ?? 0) + count)
    const live: (row: number) => boolean = (row) => children.get(row) !== REMOVED
    for (let row = 0; row < tree.entries; row++) if (live(row)) add(parents.get(row) + 1, 1)
    for (let node = 0; node < tree.nodes; node++) add(node + 1, next[node] ?? 0)
    this.#starts = next.slice()
    this.#rows = new Uint32Array(next[tree.nodes] ?? 0)
    for (let row = 0; row < tree.entries; row++) {
      if (live(row)) this.#rows[add(parents.get(row), 1) - 1] = row
    }
    const byName = (a: number, b: number): number => Buffer.compare(tree.nameBytes(a), tree.nameBytes(b))
    for (let node = 0; node < tree.nodes; node++) {
      const rows = this.of(node)
      if (rows.length > 1) rows.sort(byName)
    }
  }

  of(node: NodeIndex): Uint32Array {
    return this.#rows.subarray(this.#starts[node], this.#starts[node + 1])
  }
}
