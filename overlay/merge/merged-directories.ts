import { FsError, type Name, type NodeId } from '../../src/base/index.ts'
import type { Directory } from './directory.ts'
import { DirectoryRecords, type RecordAt, type RecordMemory } from './directory-records.ts'

/** What is remembered of a directory: place and references are plain data, from which all else can be found again. */
interface MergedDirectory {
  readonly parent: NodeId
  /** Its name and the references that the kernel holds (`DirectoryRecords`). */
  readonly at: RecordAt
  /** Known directories whose parent this is: it stays as long as they do. */
  children: number
  /** Absent until it is asked for, where an earlier thread met it. */
  directory: Directory | undefined
}

export interface MergedDirectoriesOptions {
  /** What an earlier thread knew, and this one leaves. */
  readonly memory?: RecordMemory | undefined
  /** Finds a directory again that an earlier thread met. @throws FsError EIO where it is none any more */
  find(node: NodeId, parent: NodeId, name: Name): Directory
  /** A directory is not known any more. */
  onGone(node: NodeId): void
}

/**
 * The only nodes that need memory: directories of two layers or more that the kernel knows, with the place where each was
 * found. Their parts are held elsewhere, as long as there is room (`Stack.held`). Everything else follows from the node id.
 */
export class MergedDirectories {
  readonly #known = new Map<NodeId, MergedDirectory>()
  readonly #records: DirectoryRecords
  readonly #options: MergedDirectoriesOptions

  constructor(options: MergedDirectoriesOptions) {
    this.#options = options
    this.#records = new DirectoryRecords(options.memory)
    this.#restore()
  }

  get size(): number {
    return this.#known.size
  }

  has(node: NodeId): boolean {
    return this.#known.has(node)
  }

  /** @throws FsError ESTALE for a directory that was forgotten or never looked up; EIO */
  get(node: NodeId): Directory {
    return this.#record(node).directory ?? this.#again(node)
  }

  /** @throws FsError ESTALE as `get` */
  parent(node: NodeId): NodeId {
    return this.#record(node).parent
  }

  /** @throws FsError EIO where the node is known with other parts: whoever came first stays right */
  check(node: NodeId, directory: Directory): void {
    if (this.#known.has(node)) this.get(node).assertSameParts(directory)
  }

  /** Counts one lookup of the node, which has passed `check`. */
  retain(node: NodeId, directory: Directory, parent: NodeId, name: Name): void {
    const known = this.#known.get(node)
    if (known !== undefined) {
      this.#records.addLookups(known.at, 1)
      return
    }
    directory.keep()
    this.#known.set(node, { parent, at: this.#records.add(node, parent, name), children: 0, directory })
    const above = this.#known.get(parent)
    if (above !== undefined) above.children += 1
  }

  /** Counts one more lookup of a node that is known. @throws FsError ESTALE */
  retainAgain(node: NodeId): void {
    this.#records.addLookups(this.#record(node).at, 1)
  }

  /** Takes lookups back, and drops what nobody needs any more: the kernel may forget a parent first. */
  release(node: NodeId, nlookup: number): void {
    const known = this.#known.get(node)
    if (known === undefined) return
    this.#records.addLookups(known.at, -nlookup)
    let [id, idle] = [node, known]
    while (idle.children === 0 && this.#records.lookups(idle.at) <= 0) {
      this.#known.delete(id)
      this.#records.remove(idle.at)
      idle.directory?.drop()
      this.#options.onGone(id)
      const above = this.#known.get(idle.parent)
      if (above === undefined) return
      above.children -= 1
      id = idle.parent
      idle = above
    }
  }

  #record(node: NodeId): MergedDirectory {
    const known = this.#known.get(node)
    if (known === undefined) throw new FsError('ESTALE', `node ${node}: directory was forgotten`)
    return known
  }

  /** Goes down from the nearest directory above that is there. A loop: trees may be deeper than the stack. */
  #again(node: NodeId): Directory {
    const missing: NodeId[] = []
    let above: MergedDirectory | undefined = this.#record(node)
    for (let at = node; above !== undefined && above.directory === undefined; above = this.#known.get(at)) {
      missing.push(at)
      at = above.parent
    }
    let found: Directory | undefined
    for (let at = missing.pop(); at !== undefined; at = missing.pop()) {
      const known = this.#record(at)
      found = this.#options.find(at, known.parent, this.#records.name(known.at))
      found.keep()
      known.directory = found
    }
    return found ?? this.get(node)
  }

  #restore(): void {
    for (const at of this.#records.all()) {
      const parent = this.#records.parent(at)
      this.#known.set(this.#records.node(at), { parent, at, children: 0, directory: undefined })
    }
    for (const { parent } of this.#known.values()) {
      const above = this.#known.get(parent)
      if (above !== undefined) above.children += 1
    }
  }
}
