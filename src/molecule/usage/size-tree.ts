import { decodePath, type Name, printable } from '../../base/index.ts'

/** Bytes of one layer below a node: all that the layer has there, and what of it the image shows. */
export interface LayerBytes {
  held: number
  shown: number
}

/** A directory, or a file, of all layers together. */
export interface SizeNode {
  /** For people: what cannot be printed is an escape. */
  readonly name: string
  readonly isDirectory: boolean
  /** By the index of the layer; only layers that have something there. */
  readonly layers: ReadonlyMap<number, LayerBytes>
  /** Names here and below, itself included. */
  readonly names: number
  /** Those of them that have a node of their own. */
  readonly children: readonly SizeNode[]
}

class Node implements SizeNode {
  readonly name: string
  readonly isDirectory: boolean
  readonly depth: number
  readonly layers = new Map<number, LayerBytes>()
  names = 1
  children: Node[] = []
  held = 0
  isKept = false

  constructor(name: string, isDirectory: boolean, depth: number) {
    this.name = name
    this.isDirectory = isDirectory
    this.depth = depth
  }

  /** Roughly what it takes in a page, in units of 16 bytes. */
  get cost(): number {
    return 2 + this.layers.size + (this.name.length >>> 4)
  }

  add(layer: number, held: number, shown: number): void {
    const sum = this.layers.get(layer)
    if (sum === undefined) this.layers.set(layer, { held, shown })
    else {
      sum.held += held
      sum.shown += shown
    }
    this.held += held
  }
}

/**
 * The sizes of a tree of any number of names in bounded memory: where there are too many nodes, the smallest are folded
 * into their directories, whose sums stay exact.
 */
export class SizeTree {
  readonly #most: number
  readonly #joined: number
  readonly #open: Node[] = []
  #root = new Node('', true, 0)
  #file: Node | undefined
  #cost = 0

  /**
   * @param most cost of all nodes at the end, see `Node.cost`; up to twice as much until then
   * @param joined so many of the lowest layers count as the one above them, and that one is layer 0
   */
  constructor(most: number, joined: number) {
    this.#most = most
    this.#joined = joined
  }

  /** The root, when the survey is over. */
  finish(): SizeNode {
    if (this.#cost > this.#most) this.#fold()
    return this.#root
  }

  enter(name: Name): void {
    const parent = this.#open.at(-1)
    const node = new Node(shownName(name), true, this.#open.length)
    if (parent === undefined) this.#root = node
    else parent.children.push(node)
    this.#open.push(node)
  }

  leave(): void {
    const node = this.#open.pop()
    this.#file = undefined
    const parent = this.#open.at(-1)
    if (node === undefined || parent === undefined) return
    parent.names += node.names
    for (const [layer, { held, shown }] of node.layers) parent.add(layer, held, shown)
    this.#charge(node)
  }

  /** A name that no layer has as a directory; `size` tells its sizes. */
  file(name: Name): void {
    const parent = this.#open.at(-1)
    if (parent === undefined) return
    this.#file = new Node(shownName(name), false, this.#open.length)
    parent.children.push(this.#file)
    parent.names += 1
    this.#charge(this.#file)
  }

  /** Bytes of a layer. @param isFile of the last file; else of what lies in the place of a directory in some layer */
  size(index: number, held: number, shown: number, isFile: boolean): void {
    const layer = Math.max(0, index - this.#joined)
    this.#open.at(-1)?.add(layer, held, shown)
    if (!isFile || this.#file === undefined) return
    this.#file.add(layer, held, shown)
    this.#cost += 1
  }

  #charge({ cost }: Node): void {
    this.#cost += cost
    if (this.#cost > 2 * this.#most) this.#fold()
  }

  /** Keeps the largest nodes. A directory is as large as what is in it, and comes before it. */
  #fold(): void {
    const closed: Node[] = []
    const all: Node[] = []
    const open = new Set(this.#open)
    for (const queue = [this.#root]; ; ) {
      const node = queue.pop()
      if (node === undefined) break
      all.push(node)
      // What is open will still grow, and so will the last file.
      node.isKept = open.has(node) || node === this.#file || node === this.#root
      if (!node.isKept) closed.push(node)
      for (const child of node.children) queue.push(child)
    }
    closed.sort((a, b) => b.held - a.held || a.depth - b.depth)
    let cost = 0
    this.#cost = 0
    for (const node of closed) {
      cost += node.cost
      node.isKept = cost <= this.#most
      if (node.isKept) this.#cost = cost
    }
    for (const node of all) {
      if (node.isKept) node.children = node.children.filter((child) => child.isKept)
    }
  }
}

function shownName(name: Name): string {
  return printable(decodePath(Buffer.from(name, 'latin1')))
}
