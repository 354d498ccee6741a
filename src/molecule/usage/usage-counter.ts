import type { Effect, SurveyedEntry, SurveySink } from '../../../overlay/index.ts'
import { DT_DIR, decodePath, type FsError, type Name } from '../../base/index.ts'
import { FirstNames } from './first-names.ts'
import { Largest } from './largest.ts'
import type { SizeTree } from './size-tree.ts'
import type { ImageUsage, LargeDirectory, LargeFile, LayerUsage } from './usage-report.ts'

/** An `Amount` that still grows. */
class Sum {
  entries = 0
  bytes = 0

  add(bytes: number, entries = 1): void {
    this.entries += entries
    this.bytes += bytes
  }
}

class LayerSums {
  readonly holds = new Sum()
  readonly adds = new Sum()
  readonly replaces = new Sum()
  readonly merges = new Sum()
  readonly hides = new Sum()
  readonly shows = new Sum()
  coveredBytes = 0
  readonly marks = { whiteout: 0, opaque: 0 }

  report(label: string, repeated: boolean): LayerUsage {
    const { entries: merges } = this.merges
    const { whiteout: whiteouts, opaque } = this.marks
    return {
      label,
      holds: { ...this.holds },
      adds: { ...this.adds },
      replaces: { ...this.replaces, coveredBytes: this.coveredBytes },
      merges,
      hides: { ...this.hides },
      shows: { ...this.shows },
      whiteouts,
      opaque,
      ...(repeated ? { repeated } : {}),
    }
  }
}

/** A directory of which not all was seen yet. */
interface OpenDirectory {
  readonly name: Name
  readonly shows: Sum
  hiddenBytes: number
}

/** A layer of the stack. */
export interface CountedLayer {
  readonly label: string
  /** It stands again further up. */
  readonly repeated: boolean
}

/** Adds up a survey. Memory is that of the largest things, and of the way down to the current directory. */
export class UsageCounter implements SurveySink {
  readonly #labels: readonly CountedLayer[]
  readonly #layers: readonly LayerSums[]
  readonly #files: Largest<LargeFile>
  readonly #directories: Largest<LargeDirectory>
  readonly #tree: SizeTree | undefined
  readonly #open: OpenDirectory[] = []
  #root: OpenDirectory | undefined
  // A file counts once among all that its layer holds, once among what shows, and once among what is hidden.
  readonly #held = new FirstNames()
  readonly #shown = new FirstNames()
  readonly #gone = new FirstNames()
  #unreadable = 0
  #firstError: string | undefined

  /**
   * @param top how many files and directories to list
   * @param tree gets the sizes of all files
   */
  constructor(layers: readonly CountedLayer[], top: number, tree?: SizeTree) {
    this.#labels = layers
    this.#layers = layers.map(() => new LayerSums())
    this.#files = new Largest(top)
    this.#directories = new Largest(top)
    this.#tree = tree
  }

  get report(): ImageUsage {
    const { entries = 0, bytes = 0 } = this.#root?.shows ?? {}
    return {
      shows: { entries, bytes },
      layers: this.#layers.map((sums, index) => {
        const { label = '', repeated = false } = this.#labels[index] ?? {}
        return sums.report(label, repeated)
      }),
      files: this.#files.things,
      directories: this.#directories.things,
      unreadable: {
        count: this.#unreadable,
        ...(this.#firstError === undefined ? {} : { first: this.#firstError }),
      },
    }
  }

  name(name: Name, entries: readonly SurveyedEntry[], shown: SurveyedEntry | undefined): void {
    const parent = this.#open.at(-1)
    const isFile = entries.every(({ type }) => type !== DT_DIR)
    if (isFile) this.#tree?.file(name)
    for (const entry of entries) {
      const { layer, ref, size, effect } = entry
      const sums = this.#layers[layer]
      if (sums === undefined || parent === undefined) continue
      const bytes = this.#held.isFirst(layer, ref, linksOf(entry)) ? size : 0
      sums.holds.add(bytes)
      sums[effect satisfies Effect].add(bytes)
      if (entry.before !== undefined) sums.coveredBytes += this.#goneBytes(entry.before)
      let shownBytes = 0
      if (entry === shown) {
        shownBytes = this.#shown.isFirst(layer, ref, linksOf(entry)) ? size : 0
        sums.shows.add(shownBytes)
        parent.shows.add(shownBytes)
      } else parent.hiddenBytes += bytes
      if (entry.type !== DT_DIR) this.#tree?.size(layer, bytes, shownBytes, isFile)
      const isShown = entry === shown
      this.#files.offer(bytes, () => ({ path: this.#path(name), layer, bytes, shown: isShown }))
    }
  }

  hides(layer: number, entry: SurveyedEntry): void {
    this.#layers[layer]?.hides.add(this.#goneBytes(entry))
  }

  mark(layer: number, kind: 'whiteout' | 'opaque'): void {
    const sums = this.#layers[layer]
    if (sums !== undefined) sums.marks[kind] += 1
  }

  enter(name: Name): void {
    const directory: OpenDirectory = { name, shows: new Sum(), hiddenBytes: 0 }
    this.#root ??= directory
    this.#open.push(directory)
    this.#tree?.enter(name)
  }

  leave(): void {
    const directory = this.#open.pop()
    const parent = this.#open.at(-1)
    this.#tree?.leave()
    if (directory === undefined || parent === undefined) return
    const { name, shows, hiddenBytes } = directory
    const { entries, bytes } = shows
    parent.shows.add(bytes, entries)
    parent.hiddenBytes += hiddenBytes
    this.#directories.offer(bytes, () => ({ path: this.#path(name), shows: { entries, bytes }, hiddenBytes }))
  }

  unreadable({ message }: FsError): void {
    this.#unreadable += 1
    this.#firstError ??= message
  }

  #goneBytes(entry: SurveyedEntry): number {
    const { layer, ref, size } = entry
    return this.#gone.isFirst(layer, ref, linksOf(entry)) ? size : 0
  }

  /** Of a name in the current directory. The root has no name. */
  #path(name: Name): string {
    const names = [...this.#open.map((directory) => directory.name), name]
    return decodePath(Buffer.from(names.join('/'), 'latin1'))
  }
}

/** Names of a directory are no links, and what has no bytes need not be remembered. */
function linksOf({ nlink, size }: SurveyedEntry): number {
  return size === 0 ? 1 : nlink
}
