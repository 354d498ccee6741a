import { FsError, type NodeId } from '../src/base/index.ts'
import type { Directory } from './directory.ts'

interface MergedDirectory {
  readonly directory: Directory
  readonly parent: NodeId
  /** References the kernel holds. */
  nlookup: number
}

/**
 * The only nodes that need memory: directories of two layers or more that the kernel knows, with what they are made
 * of. Everything else follows from the node id.
 */
export class MergedDirectories {
  readonly #records = new Map<NodeId, MergedDirectory>()

  get size(): number {
    return this.#records.size
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
  retain(node: NodeId, directory: Directory, parent: NodeId): void {
    const record = this.#records.get(node)
    if (record !== undefined) record.nlookup += 1
    else this.#records.set(node, { directory, parent, nlookup: 1 })
  }

  /** @returns true where the node is gone now */
  release(node: NodeId, nlookup: number): boolean {
    const record = this.#records.get(node)
    if (record === undefined) return false
    record.nlookup -= nlookup
    return record.nlookup <= 0 && this.#records.delete(node)
  }
}
