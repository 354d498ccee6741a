import { FsError, type Name } from '../src/base/index.ts'
import type { Layer, LayerEntry, Ref } from './layer.ts'
import {
  DT_DIR,
  isWhiteout,
  MARK_PREFIX,
  type Marks,
  type Opacity,
  readMarks,
  readOpacity,
} from './whiteout.ts'

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

/** What a name stands for in the merged tree. */
export interface Found {
  /** The topmost inode: it gives the attributes. */
  readonly top: Part
  /** The layer's entry for it. */
  readonly entry: LayerEntry
  /** Given where the name is a directory of two layers or more. */
  readonly merged: Directory | undefined
}

export interface Stack {
  /** Bottom first. */
  readonly layers: readonly Layer[]
  /** True: one layer, shown as stored, none of the rules apply. */
  readonly plain: boolean
}

/**
 * A directory of the merged tree: the directories of the layers that make it up, topmost first. Marks and opacity
 * of its parts are read when first needed and kept, so each is read once in the life of the object.
 */
export class Directory {
  readonly #stack: Stack
  readonly #parts: Part[]
  readonly #opacity: (Opacity | undefined)[] = []
  readonly #marks: (Marks | undefined)[] = []
  /** Depths of the parts that delete names by `.wh.`; the lowest part has nobody to delete from. */
  #marked: readonly number[] | undefined

  constructor(stack: Stack, parts: readonly Part[]) {
    this.#stack = stack
    this.#parts = [...parts]
  }

  get parts(): readonly Part[] {
    return this.#parts
  }

  get plain(): boolean {
    return this.#stack.plain
  }

  layerAt(depth: number): Layer {
    return this.#at(depth)[0]
  }

  /** @returns undefined where the name does not exist or is deleted. @throws FsError EIO, ENOTDIR */
  lookup(name: Name): Found | undefined {
    let depth = 0
    return this.resolve(name, () => {
      while (depth < this.#parts.length) {
        const [layer, ref] = this.#at(depth)
        const entry = layer.lookup(ref, name)
        depth += 1
        if (entry !== undefined) return { depth: depth - 1, entry }
      }
      return undefined
    })
  }

  /**
   * The one walk over the layers, from the topmost down, used by lookup and by listing
   * (fs/overlayfs/namei.c:ovl_lookup).
   * @param next gives the entries of this name by growing depth
   * @param topOnly stop at the first hit: `merged` is then not determined
   */
  resolve(name: Name, next: () => Candidate | undefined, topOnly = false): Found | undefined {
    const first = next()
    if (first === undefined) return undefined
    if (this.#stack.plain) return this.#found(first, undefined)
    if (name.startsWith(MARK_PREFIX)) return undefined
    if (this.#isDeleted(name, first)) return undefined
    if (topOnly || first.entry.type !== DT_DIR) return this.#found(first, undefined)

    let merged: Directory | undefined
    for (let below = next(); below !== undefined; below = next()) {
      // A deleted name and a non-directory both end the merge: what lies under them stays hidden.
      if (this.#isDeleted(name, below) || below.entry.type !== DT_DIR) break
      merged ??= new Directory(this.#stack, [this.#partOf(first)])
      // Opacity is asked only once there is something that it could hide.
      if (merged.#isOpaque(merged.#parts.length - 1)) break
      merged.#parts.push(this.#partOf(below))
    }
    return this.#found(first, merged !== undefined && merged.#parts.length > 1 ? merged : undefined)
  }

  #found(candidate: Candidate, merged: Directory | undefined): Found {
    return { top: this.#partOf(candidate), entry: candidate.entry, merged }
  }

  #partOf(candidate: Candidate): Part {
    const part = this.#parts[candidate.depth]
    if (part === undefined) throw new RangeError(`directory has no part ${candidate.depth}`)
    return { layer: part.layer, ref: candidate.entry.ref }
  }

  /** True where a mark above deletes the name from this depth, or the entry is a whiteout itself. */
  #isDeleted(name: Name, { depth, entry }: Candidate): boolean {
    if (depth > 0 && this.#deletedBy(name) < depth) return true
    return isWhiteout(this.layerAt(depth), entry, () => this.#opacityAt(depth))
  }

  /** Least depth with a `.wh.` mark for the name. */
  #deletedBy(name: Name): number {
    this.#marked ??= [...this.#parts.keys()].slice(0, -1).filter((depth) => !this.#marksAt(depth).empty)
    for (const depth of this.#marked) {
      if (this.#marksAt(depth).deletes(name)) return depth
    }
    return Number.POSITIVE_INFINITY
  }

  #isOpaque(depth: number): boolean {
    return this.#opacityAt(depth) === 'y' || this.#marksAt(depth).opaque
  }

  /** Cuts the parts at the topmost opaque one. For the root, whose parts are given rather than found. */
  cutAtOpaque(): void {
    for (let depth = 0; depth < this.#parts.length - 1; depth++) {
      if (this.#isOpaque(depth)) this.#parts.length = depth + 1
    }
  }

  #opacityAt(depth: number): Opacity {
    const known = this.#opacity[depth]
    if (known !== undefined) return known
    const opacity = readOpacity(...this.#at(depth))
    this.#opacity[depth] = opacity
    return opacity
  }

  #marksAt(depth: number): Marks {
    const known = this.#marks[depth]
    if (known !== undefined) return known
    const marks = readMarks(...this.#at(depth))
    this.#marks[depth] = marks
    return marks
  }

  #at(depth: number): [Layer, Ref] {
    const part = this.#parts[depth]
    const layer = part === undefined ? undefined : this.#stack.layers[part.layer]
    if (part === undefined || layer === undefined) throw new RangeError(`directory has no part ${depth}`)
    return [layer, part.ref]
  }

  /** @throws FsError EIO where the same directory was met before with other parts, as only a damaged image does */
  assertSameParts(other: Directory): void {
    const same =
      this.#parts.length === other.#parts.length &&
      this.#parts.every((part, depth) => {
        const its = other.#parts[depth]
        return part.layer === its?.layer && part.ref === its.ref
      })
    if (same) return
    const [layer, ref] = this.#at(0)
    throw new FsError(
      'EIO',
      `layer ${layer.label}: directory ${ref} is found on two paths that merge differently`,
    )
  }
}
