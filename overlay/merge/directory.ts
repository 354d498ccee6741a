import { DT_DIR, FsError, type Name, ReadPostponed, readTogether } from '../../src/base/index.ts'
import type { Layer, LayerEntry } from '../stored/layer-flags.ts'
import { isWhiteout, MARK_PREFIX } from '../stored/whiteout.ts'
import { fileAt, type Walkable } from './file-below.ts'
import { type Numbered, originalOf } from './originals.ts'
import { type Candidate, type Part, Parts, rootsOf } from './parts.ts'
import { redirectedParts, redirectOf } from './redirects.ts'
import { numberOfPart, type Stack } from './stack.ts'

export type { Candidate, Part } from './parts.ts'
export { numberOfPart, type Stack, stackOf } from './stack.ts'

/** What a name stands for in the merged tree. */
export interface Found {
  /** The topmost inode: it gives the attributes. */
  readonly top: Part
  /** The layer's entry for it. */
  readonly entry: LayerEntry
  /** Given where the name is a directory of two layers or more, or one that shows the attributes of another. */
  readonly merged: Directory | undefined
  /** Of a file that is a copy with the number of this one. */
  readonly original?: Numbered | undefined
}

/** The number to show for what a name stands for. @throws FsError EIO */
export function numberOf(stack: Stack, { top, entry, merged, original }: Found): number {
  if (merged !== undefined && merged.numbered !== merged.top) return numberOfPart(stack, merged.numbered)
  return stack.inodes.ofLayer(original?.layer ?? top.layer, original?.ino ?? entry.ino)
}

/** Where a merged directory was found: enough to find its parts again. */
interface Place {
  readonly parent: Directory
  readonly name: Name
}

export interface Resolving {
  /** Stop at the first hit, where the rest does not matter for its number: `merged` is then not determined. */
  readonly topOnly?: boolean
  /** There is but one entry of the name. */
  readonly isAlone?: boolean
}

const UNKNOWN: Resolving = {}
/** For the entry of a name in a directory of one part. */
export const ALONE: Resolving = { isAlone: true }
export const ALONE_BY_NAME: Resolving = { isAlone: true, topOnly: true }

/** Layers through which one hard link may lead, each to the next one below: a stack of calls for each. */
const LINKS_BELOW = 128

function nothing(): undefined {
  return undefined
}

/** One candidate, and then those that `next` gives. */
function firstly(candidate: Candidate, next: () => Candidate | undefined): () => Candidate | undefined {
  let first: Candidate | undefined = candidate
  return () => {
    const one = first
    first = undefined
    return one ?? next()
  }
}

function partOf(parts: Parts, { depth, entry }: Candidate): Part {
  return { layer: parts.layerIndex(depth), ref: entry.ref }
}

function isImplied(parts: Parts, depth: number): boolean {
  return parts.layer(depth).isImplied?.(parts.ref(depth)) === true
}

/** The depth of the topmost part with attributes of its own; -1 where none has. */
function firstDescribed(parts: Parts): number {
  for (let depth = 0; depth < parts.length; depth++) if (!isImplied(parts, depth)) return depth
  return -1
}

/** A directory of the merged tree: the directories of the layers that make it up, topmost first. */
export class Directory {
  readonly #stack: Stack
  readonly #place: Place | undefined
  readonly top: Part
  /** The part whose attributes it shows: the topmost one that has its own. */
  readonly attributed: Part
  /** The part whose inode number it shows: below copies of the directory that earlier mounts made. */
  readonly numbered: Part
  /** Number of parts. */
  readonly count: number
  /** The parts of one that nobody keeps, or that has no place to be found again. */
  #own: Parts | undefined

  /** @param described the part whose attributes it shows, where that is none of its parts */
  constructor(stack: Stack, parts: readonly Part[] | Parts, place?: Place, described?: Part) {
    const own = parts instanceof Parts ? parts : new Parts(stack.layers, parts)
    this.#stack = stack
    this.#place = place
    this.top = parts instanceof Parts ? own.part(0) : (parts[0] ?? own.part(0))
    const first = firstDescribed(own)
    this.attributed = described ?? (first > 0 ? own.part(first) : this.top)
    let depth = 0
    while (depth < own.length - 1 && stack.copies.has(own.layerIndex(depth))) depth += 1
    this.numbered = depth === 0 ? this.top : own.part(depth)
    this.count = own.length
    this.#own = own
  }

  /** Whether the parts are in memory, for tests. */
  get isHeld(): boolean {
    return this.#known() !== undefined
  }

  /**
   * The parts of this moment. They stay as they are, also where the directory does not hold them any more.
   * @throws FsError EIO where they had to be found again and are not what they were
   */
  parts(): Parts {
    return this.#known() ?? this.#find()
  }

  /** For whoever keeps the directory: from now on its parts are held only as long as there is room. */
  keep(): void {
    if (this.#place === undefined || this.#own === undefined) return
    this.#stack.held.set(this, this.#own, this.#own.cost)
    this.#own = undefined
  }

  /** Nobody keeps it any more. */
  drop(): void {
    this.#stack.held.delete(this)
  }

  layerAt(depth: number): Layer {
    return this.parts().layer(depth)
  }

  /** @returns undefined where the name does not exist or is deleted. @throws FsError EIO, ENOTDIR */
  lookup(name: Name): Found | undefined {
    const parts = this.parts()
    if (parts.length === 1) {
      const entry = parts.layer(0).lookup(parts.ref(0), name)
      return entry === undefined ? undefined : this.resolveOnly(name, entry, ALONE)
    }
    let depth = 0
    const next = (): Candidate | undefined => {
      while (depth < parts.length) {
        const entry = parts.layer(depth).lookup(parts.ref(depth), name)
        depth += 1
        if (entry !== undefined) return { depth: depth - 1, entry }
      }
      return undefined
    }
    try {
      return this.resolve(name, next)
    } catch (error) {
      if (error instanceof ReadPostponed) waitForAll(parts, name, error)
      throw error
    }
  }

  /**
   * The one walk over the layers, from the topmost down, used by lookup and by listing
   * (fs/overlayfs/namei.c:ovl_lookup).
   * @param next gives the entries of this name by growing depth
   */
  resolve(name: Name, next: () => Candidate | undefined, how: Resolving = UNKNOWN): Found | undefined {
    const first = next()
    return first === undefined ? undefined : this.#resolve(name, first, next, how)
  }

  /** As `resolve`, for a directory of one part. */
  resolveOnly(name: Name, entry: LayerEntry, how: Resolving): Found | undefined {
    return this.#resolve(name, { depth: 0, entry }, nothing, how)
  }

  // Called for each name of a listing: it makes no closures, and objects only that it returns.
  #resolve(
    name: Name,
    first: Candidate,
    next: () => Candidate | undefined,
    how: Resolving,
  ): Found | undefined {
    if (name.startsWith(MARK_PREFIX)) return undefined
    const parts = this.parts()
    if (this.#isDeleted(parts, name, first)) return undefined
    const top = partOf(parts, first)
    const { layers, roots, inodes, copies } = this.#stack
    const isLowest = how.isAlone === true || first.depth + 1 === parts.length
    let rest = next
    if (first.entry.isHollow === true) {
      const below = isLowest ? undefined : next()
      if (below === undefined || this.#isDeleted(parts, name, below)) return undefined
      // Where there is no directory, the marks say nothing, except that an opaque one hides what is there.
      if (below.entry.type !== DT_DIR && !new Parts(layers, [top]).isOpaque(0)) {
        return this.#resolve(name, below, next, how)
      }
      rest = firstly(below, next)
    }
    const mayBeCopy = !isLowest && copies.has(parts.layerIndex(first.depth))
    if (first.entry.isBelow === true) return this.#fileBelow(name, top)
    if (first.entry.type !== DT_DIR) {
      const original = mayBeCopy ? originalOf(inodes, parts, first, rest) : undefined
      return { top, entry: first.entry, merged: undefined, original }
    }
    if (how.topOnly === true && !mayBeCopy) return { top, entry: first.entry, merged: undefined }
    let merged: Parts | undefined
    let described: Part | undefined
    for (let last = first; ; ) {
      // Nothing lies below the lowest layer.
      const mayContinue = parts.layerIndex(last.depth) > 0
      const redirect = mayContinue ? redirectOf(parts.layer(last.depth), last.entry) : undefined
      const below = redirect === undefined ? rest() : undefined
      if (redirect === undefined) {
        // A deleted name and a non-directory both end the merge: what lies under them stays hidden.
        if (below === undefined || this.#isDeleted(parts, name, below)) break
        if (below.entry.type !== DT_DIR) break
      }
      merged ??= new Parts(layers, [top])
      // Opacity is asked only once there is something that it could hide.
      if (merged.isOpaque(merged.length - 1)) {
        if (firstDescribed(merged) < 0) described = this.#describedBelow(name, below, rest)
        break
      }
      if (redirect !== undefined) {
        for (const part of redirectedParts(layers, roots, parts, last.depth, redirect)) merged.push(part)
      }
      if (below === undefined) break
      merged.push(partOf(parts, below))
      last = below
    }
    if (merged === undefined || (merged.length < 2 && described === undefined)) {
      return { top, entry: first.entry, merged: undefined }
    }
    const directory = new Directory(this.#stack, merged, { parent: this, name }, described)
    return { top, entry: first.entry, merged: directory }
  }

  /** The attributes of a directory that a layer empties without giving it any are those that it has below. */
  #describedBelow(
    name: Name,
    first: Candidate | undefined,
    next: () => Candidate | undefined,
  ): Part | undefined {
    const parts = this.parts()
    for (let below = first; below !== undefined; below = next()) {
      if (this.#isDeleted(parts, name, below) || below.entry.type !== DT_DIR) return undefined
      const part = partOf(parts, below)
      if (parts.layer(below.depth).isImplied?.(part.ref) !== true) return part
    }
    return undefined
  }

  /**
   * What a name shows that a layer has for a file of the layers below: that file, with its inode.
   * @throws FsError EIO where they have none
   */
  #fileBelow(name: Name, { layer, ref }: Part): Found {
    const owner = this.#stack.layers[layer]
    const { following } = this.#stack
    const path = owner?.pathBelow?.(ref) ?? ''
    const what = `layer ${owner?.label}: hard link ${JSON.stringify(name)}`
    if (following.links >= LINKS_BELOW) {
      throw new FsError('ELOOP', `${what}: leads through more than ${LINKS_BELOW} layers`)
    }
    following.links += 1
    try {
      const step = fileAt(walkable(this.#stack, rootBelow(this.#stack, layer)), path)
      if (step !== undefined) return { ...step.found, entry: { ...step.found.entry, name } }
    } finally {
      following.links -= 1
    }
    throw new FsError('EIO', `${what}: no layer below has its file ${JSON.stringify(path)}`)
  }

  /** True where a mark above deletes the name from this depth, or the entry is a whiteout itself. */
  #isDeleted(parts: Parts, name: Name, { depth, entry }: Candidate): boolean {
    if (depth > 0 && this.#deletedBy(parts, name) < depth) return true
    return isWhiteout(parts.layer(depth), entry, parts, depth)
  }

  #deletedBy(parts: Parts, name: Name): number {
    const before = parts.cost
    const depth = parts.deletedBy(name)
    if (parts.cost !== before && this.#own === undefined) this.#stack.held.set(this, parts, parts.cost)
    return depth
  }

  #known(): Parts | undefined {
    return this.#own ?? this.#stack.held.get(this)
  }

  /** Goes down again from the nearest directory above whose parts are known. A loop: trees may be deeper than the stack. */
  #find(): Parts {
    const missing: Directory[] = []
    let above: Directory = this
    while (above.#place !== undefined && above.#known() === undefined) {
      missing.push(above)
      above = above.#place.parent
    }
    for (let one = missing.pop(); one !== undefined; one = missing.pop()) {
      const name = one.#place?.name ?? ''
      const again = above.lookup(name)?.merged
      const own = again === undefined ? undefined : again.#own
      const { layer, ref } = one.top
      const same = again?.count === one.count && again.top.layer === layer && again.top.ref === ref
      if (again === undefined || own === undefined || !same) throw changed(one, name)
      this.#stack.held.set(one, own, own.cost)
      above = again
    }
    return above.parts()
  }

  /** @throws FsError EIO where the same directory was met before with other parts, as only a damaged image does */
  assertSameParts(other: Directory): void {
    const [one, two] = [this.#place, other.#place]
    if (one !== undefined && one.parent === two?.parent && one.name === two.name) return
    const parts = this.parts()
    if (parts.equals(other.parts())) return
    throw new FsError(
      'EIO',
      `layer ${parts.layer(0).label}: directory ${parts.ref(0)} is found on two paths that merge differently`,
    )
  }
}

function changed(directory: Directory, name: Name): FsError {
  return new FsError(
    'EIO',
    `directory ${JSON.stringify(name)} is made of other layers than ${directory.count} before`,
  )
}

/** A name had to wait for bytes of one part: it waits for what it needs of the others at the same time. @throws ReadPostponed */
function waitForAll(parts: Parts, name: Name, begun: ReadPostponed): void {
  const read = (depth: number): void => {
    const layer = parts.layer(depth)
    const entry = layer.lookup(parts.ref(depth), name)
    // As in `#resolve`.
    if (entry?.type !== DT_DIR) return
    redirectOf(layer, entry)
    if (depth < parts.length - 1) new Parts([layer], [{ layer: 0, ref: entry.ref }]).isOpaque(0)
  }
  readTogether(parts.length, read, begun)
}

/** The root of the merge of those layers that lie below one of them. */
function rootBelow(stack: Stack, layer: number): Directory {
  const owner = stack.layers[layer]
  const known = owner && stack.held.get(owner)
  if (known !== undefined) return new Directory(stack, known)
  const parts = rootsOf(stack.layers.slice(0, layer))
  parts.cutAtOpaque()
  if (owner !== undefined) stack.held.set(owner, parts, parts.cost)
  return new Directory(stack, parts)
}

function walkable(stack: Stack, directory: Directory): Walkable<Found> {
  return {
    step: (name) => {
      const found = directory.lookup(name)
      return found && { found, type: found.entry.type }
    },
    enter: ({ found }) => walkable(stack, found.merged ?? new Directory(stack, [found.top])),
    target: ({ found: { top } }) => {
      const bytes = stack.layers[top.layer]?.readlink(top.ref) ?? new Uint8Array(0)
      return Buffer.from(bytes).toString('latin1')
    },
  }
}
