import { readTogether } from '../../src/base/index.ts'
import type { Layer, LayerEntry, Ref } from '../stored/layer-flags.ts'
import { type Marks, type Opacity, readMarks, readOpacity } from '../stored/whiteout.ts'

/** An inode of one layer. */
export interface Part {
  /** Index of the layer, bottom 0. */
  readonly layer: number
  readonly ref: Ref
}

/** An entry of the name being resolved, in the part of the directory at `depth` (0 is the topmost part). */
export interface Candidate {
  readonly depth: number
  readonly entry: LayerEntry
}

/** Four lists of 8 bytes for each part, which grow by half. */
const PART_BYTES = 48
const OBJECT_BYTES = 500
/** Names of marks remembered for one directory, of all its parts together; more are looked up one by one. */
const MARKS_REMEMBERED = 1024

/**
 * The directories of the layers that make up one of the merged tree, topmost first, as numbers. Marks and opacity are
 * read when first needed and kept, so each is read once in the life of the object.
 */
export class Parts {
  readonly #all: readonly Layer[]
  // Filled one by one: arrays that `map` makes are of another kind once V8 has compiled it, and then everything that
  // reads them is compiled again (docs/benchmarks.md).
  readonly #layers: number[] = []
  readonly #refs: number[] = []
  // Made when they are needed: most directories lie in one layer and live for one request.
  #opacity: (Opacity | undefined)[] | undefined
  #marks: (Marks | undefined)[] | undefined
  /** Depths of the parts that delete names by `.wh.`; the lowest part has nobody to delete from. */
  #marked: readonly number[] | undefined
  #names = 0
  #markBytes = 0

  /** @param layers of the stack, bottom first */
  constructor(layers: readonly Layer[], parts: readonly Part[]) {
    this.#all = layers
    for (const part of parts) this.push(part)
  }

  get length(): number {
    return this.#refs.length
  }

  /** Memory that it takes, bytes. Grows when marks are read. */
  get cost(): number {
    return OBJECT_BYTES + this.length * PART_BYTES + this.#markBytes
  }

  /** Only while the last part is not opaque and nothing was deleted by it yet. */
  push({ layer, ref }: Part): void {
    this.#layers.push(layer)
    this.#refs.push(ref)
  }

  partOfLayer(layer: number): Part | undefined {
    const depth = this.#layers.indexOf(layer)
    return depth < 0 ? undefined : this.part(depth)
  }

  part(depth: number): Part {
    return { layer: this.layerIndex(depth), ref: this.ref(depth) }
  }

  layerIndex(depth: number): number {
    const layer = this.#layers[depth]
    if (layer === undefined) throw new RangeError(`directory has no part ${depth}`)
    return layer
  }

  ref(depth: number): Ref {
    const ref = this.#refs[depth]
    if (ref === undefined) throw new RangeError(`directory has no part ${depth}`)
    return ref
  }

  layer(depth: number): Layer {
    const layer = this.#all[this.layerIndex(depth)]
    if (layer === undefined) throw new RangeError(`no layer for part ${depth}`)
    return layer
  }

  /** Least depth with a `.wh.` mark for the name. */
  deletedBy(name: string): number {
    this.#marked ??= this.#findMarked()
    for (const depth of this.#marked) {
      if (this.deletes(depth, name)) return depth
    }
    return Number.POSITIVE_INFINITY
  }

  #findMarked(): readonly number[] {
    const marked: number[] = []
    readTogether(this.length - 1, (depth) => {
      if (!this.#marksAt(depth).empty) marked.push(depth)
    })
    return marked
  }

  /** Whether the part has a `.wh.` mark for the name. */
  deletes(depth: number, name: string): boolean {
    return this.#marksAt(depth).deletes(name)
  }

  isOpaque(depth: number): boolean {
    return this.opacityAt(depth) === 'y' || this.#marksAt(depth).opaque
  }

  opacityAt(depth: number): Opacity {
    const known = this.#opacity?.[depth]
    if (known !== undefined) return known
    const opacity = readOpacity(this.layer(depth), this.ref(depth))
    this.#opacity ??= new Array<Opacity | undefined>(this.length).fill(undefined)
    this.#opacity[depth] = opacity
    return opacity
  }

  /** Cuts at the topmost opaque part. For a root, whose parts are given rather than found. */
  cutAtOpaque(): void {
    for (let depth = 0; depth < this.length - 1; depth++) {
      if (!this.isOpaque(depth)) continue
      this.#layers.length = depth + 1
      this.#refs.length = depth + 1
    }
  }

  equals(other: Parts): boolean {
    return (
      this.length === other.length &&
      this.#refs.every((ref, depth) => ref === other.#refs[depth]) &&
      this.#layers.every((layer, depth) => layer === other.#layers[depth])
    )
  }

  #marksAt(depth: number): Marks {
    const known = this.#marks?.[depth]
    if (known !== undefined) return known
    const marks = readMarks(this.layer(depth), this.ref(depth), MARKS_REMEMBERED - this.#names)
    this.#names += marks.remembered
    this.#markBytes += marks.bytes
    this.#marks ??= new Array<Marks | undefined>(this.length).fill(undefined)
    this.#marks[depth] = marks
    return marks
  }
}

/**
 * The roots of the layers. A layer that stands again below itself adds nothing, whatever lies between: each name that it
 * has there it has above as well, and what it deletes or hides there is deleted or hidden from above already. Only a
 * redirect may lead to it from between.
 */
export function rootsOf(layers: readonly Layer[]): Parts {
  const topmost = new Map(layers.map((layer, index) => [layer, index]))
  const redirects = layers.some(({ followsRedirects }) => followsRedirects === true)
  const parts = layers.flatMap((layer, index) =>
    topmost.get(layer) !== index && !redirects ? [] : [{ layer: index, ref: layer.root }],
  )
  return new Parts(layers, parts.reverse())
}
