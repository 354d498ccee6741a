import type { NodeId } from '../../src/base/index.ts'

/** Nodes that an index holds; 64 MiB. What is met after that is not found. */
const MOST_NODES = 3 << 20
const FIRST_SLOTS = 1024
/** No node has this id. */
const EMPTY = 0

/** The directory in which each node was seen last: a hash table of 16 bytes a slot, at most three quarters full. */
export class ParentIndex {
  #nodes = new Float64Array(FIRST_SLOTS)
  #parents = new Float64Array(FIRST_SLOTS)
  readonly #mostNodes: number
  #size = 0

  constructor(mostNodes = MOST_NODES) {
    this.#mostNodes = mostNodes
  }

  get isFull(): boolean {
    return this.#size >= this.#mostNodes
  }

  get(node: NodeId): NodeId | undefined {
    return Math.abs(this.#parents[this.#slot(node)] ?? 0) || undefined
  }

  /** Whether `set` has had the node. */
  has(node: NodeId): boolean {
    return (this.#parents[this.#slot(node)] ?? 0) > 0
  }

  /** Nothing happens where there is no room. */
  set(node: NodeId, parent: NodeId): void {
    this.#put(node, parent)
  }

  /** As `set`, but for `has`. */
  note(node: NodeId, parent: NodeId): void {
    this.#put(node, this.has(node) ? parent : -parent)
  }

  /** @param parent negative where `set` has not had the node */
  #put(node: NodeId, parent: NodeId): void {
    let slot = this.#slot(node)
    if (this.#nodes[slot] === EMPTY) {
      if (this.isFull) return
      if ((this.#size + 1) * 4 > this.#nodes.length * 3) {
        this.#grow()
        slot = this.#slot(node)
      }
      this.#size += 1
      this.#nodes[slot] = node
    }
    this.#parents[slot] = parent
  }

  /** The slot that has the node, or the one that is free for it. */
  #slot(node: NodeId): number {
    const nodes = this.#nodes
    const mask = nodes.length - 1
    let slot = hash(node) & mask
    while (nodes[slot] !== EMPTY && nodes[slot] !== node) slot = (slot + 1) & mask
    return slot
  }

  #grow(): void {
    const [nodes, parents] = [this.#nodes, this.#parents]
    this.#nodes = new Float64Array(nodes.length * 2)
    this.#parents = new Float64Array(nodes.length * 2)
    for (const [at, node] of nodes.entries()) {
      if (node === EMPTY) continue
      const slot = this.#slot(node)
      this.#nodes[slot] = node
      this.#parents[slot] = parents[at] ?? EMPTY
    }
  }
}

function hash(node: NodeId): number {
  let mixed = Math.imul(
    ((node % 2 ** 32) | 0) ^ Math.imul(Math.floor(node / 2 ** 32), 0x9e3779b1),
    0x85ebca6b,
  )
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
