import type { Listings, NodeIndex, Tree } from './tree.ts'

/** One directory on the way through the tree. */
interface Frame {
  readonly node: NodeIndex
  readonly rows: Uint32Array
  next: number
}

/**
 * Numbers all inodes that can be reached from the root, and counts their links. Names of one directory get numbers in a
 * row, because a directory entry has 16 bits for the difference to the first one of its group (squashfs: Directory Table).
 */
export class Layout {
  readonly listings: Listings
  /** Inode number by node, from 1; 0 for a node that cannot be reached. */
  readonly numbers: Uint32Array
  readonly links: Uint32Array
  /** Node number of the parent, by the node of a directory. */
  readonly parents: Uint32Array
  readonly count: number

  constructor(tree: Tree) {
    this.listings = tree.listings()
    this.numbers = new Uint32Array(tree.nodes)
    this.links = new Uint32Array(tree.nodes)
    this.parents = new Uint32Array(tree.nodes)
    let last = 0
    const number = (node: NodeIndex): void => {
      if (this.numbers[node] === 0) this.numbers[node] = ++last
    }
    number(0)
    this.links[0] = 2
    const waiting: NodeIndex[] = [0]
    for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
      const below: NodeIndex[] = []
      for (const row of this.listings.of(directory)) {
        const child = tree.childOf(row)
        number(child)
        if (tree.isDirectory(child)) {
          this.links[child] = 2
          this.links[directory] = (this.links[directory] ?? 0) + 1
          this.parents[child] = directory
          below.push(child)
        } else {
          this.links[child] = (this.links[child] ?? 0) + 1
        }
      }
      for (const one of below.reverse()) waiting.push(one)
    }
    this.count = last
  }
}

/** What the inode table is written from: children before their directory, whose listing names where they are. */
export interface Visitor {
  /** A node that is no directory, when it is met by its first name. */
  node(node: NodeIndex): void
  directory(node: NodeIndex, rows: Uint32Array): void
}

/** Goes through the tree, each directory after all that it holds. A loop: trees may be deeper than the stack. */
export function visit(tree: Tree, listings: Listings, visitor: Visitor): void {
  const seen = new Uint8Array(tree.nodes)
  const frames: Frame[] = [{ node: 0, rows: listings.of(0), next: 0 }]
  for (let top = frames.at(-1); top !== undefined; top = frames.at(-1)) {
    const row = top.rows[top.next]
    if (row === undefined) {
      visitor.directory(top.node, top.rows)
      frames.pop()
      continue
    }
    top.next += 1
    const child = tree.childOf(row)
    if (tree.isDirectory(child)) frames.push({ node: child, rows: listings.of(child), next: 0 })
    else if (seen[child] === 0) {
      seen[child] = 1
      visitor.node(child)
    }
  }
}
