import { FsError, type Name, type NodeId } from '../../src/base/index.ts'
import type { Directory } from './directory.ts'

/** What is remembered of a directory: place and references are plain data, from which all else can be found again. */
interface MergedDirectory {
  readonly parent: NodeId
  readonly name: Name
  /** References the kernel holds. */
  nlookup: number
  /** Known directories whose parent this is: it stays as long as they do. */
  children: number
  readonly directory: Directory
}

/**
 * The only nodes that need memory: directories of two layers or more that the kernel knows, with the place where each was
 * found. Their parts are held elsewhere, as long as there is room (`Stack.held`). Everything else follows from the node id.
 */
export class MergedDirectories {
  readonly #records = new Map<NodeId, MergedDirectory>()
  readonly #onGone: (node: NodeId) => void

  constructor(onGone: (node: NodeId) => void) {
    this.#onGone = onGone
  }

  get size(): number {
    return this.#records.size
  }

  has(node: NodeId): boolean {
    return this.#records.has(node)
  }

  /** @throws FsError ESTALE for a directory that was forgotten or never looked up */
  get(node: NodeId): MergedDirectory {
    const record = this.#records.get(node)
    if (record === undefined) throw new FsError('ESTALE', `node ${node}: directory was forgotten`)
    return record
  }

  /** @throws FsError EIO where the node is known with other parts: whoever came first stays right */
  check(node: NodeId, directory: Directory): void {
    this.#records.get(node)?.directory.assertSameParts(directory)
  }

  /** Counts one lookup of the node, which has passed `check`. */
  retain(node: NodeId, directory: Directory, parent: NodeId, name: Name): void {
    const record = this.#records.get(node)
    if (record !== undefined) {
      record.nlookup += 1
      return
    }
    directory.keep()
    this.#records.set(node, { parent, name, nlookup: 1, children: 0, directory })
    const above = this.#records.get(parent)
    if (above !== undefined) above.children += 1
  }

  /** Counts one more lookup of a node that is known. @throws FsError ESTALE */
  retainAgain(node: NodeId): void {
    this.get(node).nlookup += 1
  }

  /** Takes lookups back, and drops what nobody needs any more: the kernel may forget a parent first. */
  release(node: NodeId, nlookup: number): void {
    const record = this.#records.get(node)
    if (record === undefined) return
    record.nlookup -= nlookup
    let [id, idle] = [node, record]
    while (idle.nlookup <= 0 && idle.children === 0) {
      this.#records.delete(id)
      idle.directory.drop()
      this.#onGone(id)
      const above = this.#records.get(idle.parent)
      if (above === undefined) return
      above.children -= 1
      id = idle.parent
      idle = above
    }
  }
}
