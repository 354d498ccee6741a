import { DT_DIR, DT_REG, FsError, type Name } from '../../src/base/index.ts'
import { type Candidate, type Part, type Stack, stackOf } from '../merge/directory.ts'
import { Parts } from '../merge/parts.ts'
import { REDIRECT_ATTRIBUTES } from '../merge/redirects.ts'
import { unescapedFileName } from '../stored/file-names.ts'
import type { Layer, LayerEntry, Ref } from '../stored/layer-flags.ts'
import { isWhiteout, MARK_PREFIX, statEntry } from '../stored/whiteout.ts'
import { SurveyedDirectory } from './surveyed-directory.ts'

/** What an entry of a layer does to what the layers below it show under its name. */
export type Effect =
  /** Nothing shows there. */
  | 'adds'
  /** Something else shows there, and no more from here on. */
  | 'replaces'
  /** Both are directories, and what is in them shows together. */
  | 'merges'

/** One name as one layer has it. */
export interface SurveyedEntry {
  /** Index of the layer, bottom 0. */
  readonly layer: number
  readonly ref: Ref
  /** DT_* (`direntType`). */
  readonly type: number
  /** Size of a regular file, bytes; 0 for all else. */
  readonly size: number
  /** Names that the layer has for it. */
  readonly nlink: number
  readonly effect: Effect
  /** What it replaces. */
  readonly before?: SurveyedEntry
}

/** Receives what a survey finds, depth first. The names in a directory come in any order. */
export interface SurveySink {
  /**
   * What the layers have under one name, bottom first.
   * @param shown the last of them, where the merge of all layers shows it
   */
  name(name: Name, entries: readonly SurveyedEntry[], shown: SurveyedEntry | undefined): void
  /** A layer hides what those below show under a name, and has nothing there itself. */
  hides(layer: number, entry: SurveyedEntry): void
  /** A layer has a mark that says so: a whiteout, or an opaque directory. It may hide nothing. */
  mark(layer: number, kind: 'whiteout' | 'opaque'): void
  /** A directory begins, which is the name that came last; what it holds follows. */
  enter(name: Name): void
  /** The directory that began last, and has not ended, ends. */
  leave(): void
  /** Something cannot be read, or would be an error in a mount; the survey goes on behind it. */
  unreadable(error: FsError): void
}

/** Bounds of a walk: an image of a few KB can claim more than anybody can walk. */
const MOST_NAMES = 2 ** 26
/** Bytes of a path. */
const LONGEST_PATH = 1 << 16
/** Names after which the caller may do something else. */
const NAMES_AT_ONCE = 1024

/**
 * Walks all that a stack of layers holds, each entry of each layer once, and tells what it does in the merge: a layer's
 * content is seen as the change that it makes to the layers below it. The rules are those of `MergedTree`. Memory is
 * that of the way down to the current directory. A layer that stands again further up is seen there alone.
 * @param layers bottom first
 * @returns gives the number of names so far, now and then, so that the caller can do something else between
 * @throws FsError EINVAL for no layer; E2BIG for more than 67 million names
 */
export function* surveyLayers(layers: readonly Layer[], sink: SurveySink): Generator<number, number, void> {
  if (layers.length === 0) throw new FsError('EINVAL', 'no layers to look at')
  const survey = new Survey(stackOf(layers), sink)
  let told = 0
  while (survey.step()) {
    if (survey.names < told + NAMES_AT_ONCE) continue
    told = survey.names
    yield told
  }
  return survey.names
}

class Survey {
  names = 0
  readonly #stack: Stack
  readonly #sink: SurveySink
  readonly #open: SurveyedDirectory[] = []
  #pathLength = 0

  constructor(stack: Stack, sink: SurveySink) {
    this.#stack = stack
    this.#sink = sink
    const topmost = new Map(stack.layers.map((layer, index) => [layer, index]))
    const parts = stack.layers
      .map((layer, index): Part => ({ layer: index, ref: layer.root }))
      .filter(({ layer: index }) => topmost.get(stack.layers[index] as Layer) === index)
      .reverse()
    const roots = new Parts(stack.layers, parts)
    const ends = parts.flatMap(({ layer }, depth) =>
      depth + 1 < parts.length && this.#attempt(() => roots.isOpaque(depth)) === true ? [layer] : [],
    )
    for (const layer of ends) sink.mark(layer, 'opaque')
    this.#enter('', parts, ends.reverse())
  }

  /** Looks at one name. @returns false at the end */
  step(): boolean {
    const directory = this.#open.at(-1)
    if (directory === undefined) return false
    const group = this.#attempt(() => directory.next())
    if (group === undefined) {
      this.#open.pop()
      this.#pathLength -= directory.name.length + 1
      this.#sink.leave()
      return true
    }
    this.names += group.entries.length
    if (this.names > MOST_NAMES) throw new FsError('E2BIG', `more than ${MOST_NAMES} names`)
    if (group.name.startsWith(MARK_PREFIX)) this.#marks(directory, group.entries)
    else this.#attempt(() => this.#name(directory, group.name, group.entries))
    return true
  }

  #marks(directory: SurveyedDirectory, entries: readonly Candidate[]): void {
    for (const { depth, entry } of entries) {
      const deleted = entry.name.slice(MARK_PREFIX.length)
      // What begins with the prefix once more is bookkeeping, and the sign of opaque directories, told where it works.
      if (deleted !== '' && !deleted.startsWith(MARK_PREFIX)) {
        this.#sink.mark(directory.parts.layerIndex(depth), 'whiteout')
      }
    }
  }

  /** Plays what the layers do to one name, from the lowest up. */
  #name(directory: SurveyedDirectory, stored: Name, group: readonly Candidate[]): void {
    const { parts, steps } = directory
    const found: SurveyedEntry[] = []
    const directories: Part[] = []
    const ends: number[] = []
    let shown: SurveyedEntry | undefined
    let last = group.length - 1
    for (const { layer: index, depth, ends: isEnd } of steps) {
      const candidate = group[last]?.depth === depth ? group[last] : undefined
      if (candidate !== undefined) last -= 1
      const before = shown
      if (isEnd || (!directory.isPlain && depth !== undefined && parts.deletes(depth, stored))) {
        shown = undefined
        ends.push(index)
      }
      const own = candidate && this.#attempt(() => this.#read(directory, candidate))
      if (own === 'whiteout') {
        this.#sink.mark(index, 'whiteout')
        shown = undefined
        ends.push(index)
      }
      if (own === undefined || own === 'whiteout') {
        if (before !== undefined && shown === undefined) this.#sink.hides(index, before)
        continue
      }
      const isDirectory = own.type === DT_DIR
      const merges = isDirectory && shown?.type === DT_DIR && !this.#isOpaque(index, own.ref)
      if (!merges && shown !== undefined) ends.push(index)
      if (isDirectory) {
        if (index > 0) this.#refuseRedirect(index, own)
        directories.unshift({ layer: index, ref: own.ref })
      }
      const effect = before === undefined ? 'adds' : merges ? 'merges' : 'replaces'
      shown = { ...own, layer: index, effect, ...(effect === 'replaces' && before ? { before } : {}) }
      found.push(shown)
    }
    if (found.length === 0) return
    const name = unescapedFileName(stored)
    this.#sink.name(name, found, shown)
    const lowest = directories.at(-1)?.layer ?? 0
    if (directories.length > 0) {
      this.#enter(
        name,
        directories,
        [...new Set(ends)].filter((layer) => layer > lowest),
      )
    }
  }

  #enter(name: Name, parts: readonly Part[], ends: readonly number[]): void {
    this.#attempt(() => {
      if (this.#pathLength + name.length > LONGEST_PATH) {
        throw new FsError('ENAMETOOLONG', `a path of more than ${LONGEST_PATH} bytes`)
      }
      this.#open.push(new SurveyedDirectory(this.#stack, name, parts, ends))
      this.#pathLength += name.length + 1
      this.#sink.enter(name)
    })
  }

  #read(
    { parts }: SurveyedDirectory,
    { depth, entry }: Candidate,
  ): Pick<SurveyedEntry, 'ref' | 'type' | 'size' | 'nlink'> | 'whiteout' {
    const layer = parts.layer(depth)
    if (isWhiteout(layer, entry, parts, depth)) return 'whiteout'
    const { type, ref } = entry
    const { size, nlink } = statEntry(layer, entry)
    return { ref, type, size: type === DT_REG ? size : 0, nlink }
  }

  #isOpaque(layer: number, ref: Ref): boolean {
    const opaque = this.#attempt(() => new Parts(this.#stack.layers, [{ layer, ref }]).isOpaque(0)) === true
    if (opaque) this.#sink.mark(layer, 'opaque')
    return opaque
  }

  /** A mount refuses such a directory: what it has below lies elsewhere. */
  #refuseRedirect(index: number, { ref }: Pick<LayerEntry, 'ref'>): void {
    const layer = this.#stack.layers[index]
    if (layer?.marks.attributes !== true) return
    const present = this.#attempt(() => layer.listxattr(ref)) ?? []
    if (!REDIRECT_ATTRIBUTES.some((name) => present.includes(name))) return
    this.#sink.unreadable(
      new FsError(
        'EIO',
        `layer ${layer.label}: a directory was renamed in an overlay, and is shown without what it has below`,
      ),
    )
  }

  #attempt<T>(action: () => T): T | undefined {
    try {
      return action()
    } catch (error) {
      if (!(error instanceof FsError) || error.code === 'E2BIG') throw error
      this.#sink.unreadable(error)
      return undefined
    }
  }
}
