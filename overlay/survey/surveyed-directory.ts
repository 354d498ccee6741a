import type { Name } from '../../src/base/index.ts'
import { type Candidate, Directory, type Part, type Stack } from '../merge/directory.ts'
import { MergeCursor } from '../merge/merge-cursor.ts'
import { Parts } from '../merge/parts.ts'

/** What one layer does in a directory, where it does anything. */
export interface Step {
  /** Index of the layer, bottom 0. */
  readonly layer: number
  /** Its part of the directory, counted from the topmost one; undefined where it has none. */
  readonly depth: number | undefined
  /** Whether it ends all that lies below here, because it did so to a directory above. */
  readonly ends: boolean
}

/** All entries of one name, topmost first. */
export interface Group {
  readonly name: Name
  readonly entries: readonly Candidate[]
}

/**
 * A directory of a survey: what each layer has at one path, whether it still shows or not. In a merge a part ends where a
 * layer above deletes or replaces the directory; here it stays, and `steps` tell who ended it.
 */
export class SurveyedDirectory {
  readonly name: Name
  readonly parts: Parts
  /** Bottom first. */
  readonly steps: readonly Step[]
  /** True where one layer has it and nobody hides it: the usual case. */
  readonly isPlain: boolean
  readonly #next: () => Group | undefined

  /**
   * @param parts topmost first
   * @param ends layers that end what lies below them here, bottom first
   * @throws FsError EIO, ENOTDIR
   */
  constructor(stack: Stack, name: Name, parts: readonly Part[], ends: readonly number[]) {
    this.name = name
    this.parts = new Parts(stack.layers, parts)
    this.steps = stepsOf(parts, ends)
    this.isPlain = this.steps.length === 1
    this.#next = parts.length === 1 ? this.#walkOne() : walkAll(stack, this.parts)
  }

  /** The next name, or undefined at the end. @throws FsError EIO; the directory is then of no more use */
  next(): Group | undefined {
    return this.#next()
  }

  /** In the order in which it is stored: a layer that is merely odd is still readable. */
  #walkOne(): () => Group | undefined {
    const layer = this.parts.layer(0)
    const ref = this.parts.ref(0)
    const cursor = layer.openUnordered?.(ref, 0) ?? layer.openDirectory(ref, 0)
    return () => {
      for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
        // Of two entries with one name the one that a look-up finds shows.
        const found = entry.unsorted === true ? (layer.lookup(ref, entry.name) ?? entry) : entry
        if (found.ref === entry.ref) return { name: entry.name, entries: [{ depth: 0, entry }] }
      }
      return undefined
    }
  }
}

function walkAll(stack: Stack, parts: Parts): () => Group | undefined {
  const cursor = new MergeCursor(new Directory(stack, parts))
  let isFirst = true
  return () => {
    if (!isFirst) cursor.advance()
    isFirst = false
    const entries = cursor.peek()
    const [top] = entries
    return top === undefined ? undefined : { name: top.entry.name, entries }
  }
}

function stepsOf(parts: readonly Part[], ends: readonly number[]): readonly Step[] {
  const depths = new Map(parts.map(({ layer }, depth) => [layer, depth]))
  const layers = [...new Set([...depths.keys(), ...ends])].sort((a, b) => a - b)
  return layers.map((layer) => ({ layer, depth: depths.get(layer), ends: ends.includes(layer) }))
}
