import type { DirectorySink, Entry, Name, NodeId } from '../../../src/base/index.ts'
import { listShown } from '../../merge/listing.ts'
import type { Seen, Walked } from '../../merge/whereabouts.ts'
import { escapedFileName } from '../../stored/file-names.ts'
import type { Lister } from './list.ts'
import { isDirectoryNode, type Node } from './nodes.ts'
import type { Resolver } from './resolve.ts'
import type { Upper } from './upper.ts'

/** A writable tree for a walk. It gives no attributes to the kernel, so it does not mark nodes as `told`. */
export class WalkedNodes implements Walked {
  readonly #upper: Upper
  readonly #resolver: Resolver
  readonly #lister: Lister
  readonly #taken: (node: Node) => Entry

  /** @param taken counts a lookup, and marks the attributes as given to the kernel */
  constructor(upper: Upper, resolver: Resolver, lister: Lister, taken: (node: Node) => Entry) {
    this.#upper = upper
    this.#resolver = resolver
    this.#lister = lister
    this.#taken = taken
  }

  mayExist(node: NodeId): boolean {
    return this.#upper.table.mayExist(node)
  }

  isKnown(node: NodeId): boolean {
    return this.#upper.table.has(node)
  }

  hold(node: NodeId): void {
    const { table } = this.#upper
    table.retain(table.get(node))
  }

  again(node: NodeId): Entry {
    return this.#taken(this.#upper.table.get(node))
  }

  forget(node: NodeId, nlookup: number): void {
    this.#upper.table.forget(node, nlookup)
  }

  readdir(node: NodeId, cookie: number, sink: DirectorySink): void {
    const directory = this.#upper.table.directory(node)
    const names: DirectorySink = { plus: false, add: (...entry) => sink.add(...entry) }
    listShown(names, (shown) => this.#lister.read(directory, cookie, shown))
  }

  see(directory: NodeId, name: Name): Seen | undefined {
    const { table } = this.#upper
    const node = this.#resolver.find(table.directory(directory), escapedFileName(name))
    if (node === undefined) return undefined
    table.retain(node)
    return { nodeId: node.id, isDirectory: isDirectoryNode(node) }
  }
}
