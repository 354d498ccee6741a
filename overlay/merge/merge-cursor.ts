import { FsError, type Name, readTogether } from '../../src/base/index.ts'
import type { DirectoryCursor, LayerEntry } from '../stored/layer-flags.ts'
import type { Candidate, Directory } from './directory.ts'
import type { Parts } from './parts.ts'

/** Where a merge stands: enough to go on from there with fresh cursors. */
export interface Checkpoint {
  /** Names passed. */
  readonly ordinal: number
  /** Per part of the directory, the position before its next entry. */
  readonly positions: readonly number[]
}

/** The next entry of one part, read but not passed yet. */
interface Head {
  readonly depth: number
  readonly entry: LayerEntry
}

/** Heads are ordered by name, those of one name from the top down. */
function isBefore(a: Head, b: Head): boolean {
  return a.entry.name < b.entry.name || (a.entry.name === b.entry.name && a.depth < b.depth)
}

/**
 * Walks all parts of a merged directory at once, in byte order of names, each name once. Holds one entry per part,
 * whatever the size of the directory, and reads every entry of every part once.
 */
export class MergeCursor {
  readonly #parts: Parts
  readonly #cursors: DirectoryCursor[]
  /** Position of each cursor before it gave its head. */
  readonly #before: number[]
  /** A binary heap of the heads that are not in `#group`. */
  readonly #heap: Head[] = []
  #group: Head[] = []
  #ordinal: number

  /** @throws FsError EIO, ENOTDIR */
  constructor(directory: Directory, from?: Checkpoint) {
    const parts = directory.parts()
    this.#parts = parts
    this.#ordinal = from?.ordinal ?? 0
    this.#before = Array.from({ length: parts.length }, (_, depth) => from?.positions[depth] ?? 0)
    this.#cursors = []
    readTogether(parts.length, (depth) => {
      const position = this.#before[depth] ?? 0
      this.#cursors[depth] = parts.layer(depth).openDirectory(parts.ref(depth), position)
      this.#refill(depth, undefined)
    })
  }

  /** Names passed so far, hidden ones included: hiding never changes in a mount, so this numbers the names. */
  get ordinal(): number {
    return this.#ordinal
  }

  get checkpoint(): Checkpoint {
    return { ordinal: this.#ordinal, positions: [...this.#before] }
  }

  /** All entries of the smallest name that was not passed, by growing depth; empty at the end. */
  peek(): readonly Candidate[] {
    if (this.#group.length > 0) return this.#group
    const first = this.#pop()
    if (first === undefined) return this.#group
    this.#group.push(first)
    while (this.#heap[0]?.entry.name === first.entry.name) {
      const same = this.#pop()
      if (same !== undefined) this.#group.push(same)
    }
    return this.#group
  }

  /** Passes the name that `peek` shows. The cursor is of no more use after an error. @throws FsError EIO */
  advance(): void {
    const passed = this.peek()
    if (passed.length === 0) return
    this.#group = []
    this.#ordinal += 1
    for (const { depth, entry } of passed) this.#refill(depth, entry.name)
  }

  #refill(depth: number, previous: Name | undefined): void {
    const cursor = this.#cursors[depth]
    if (cursor === undefined) return
    this.#before[depth] = cursor.position
    const entry = cursor.next()
    if (entry === undefined) return
    // The merge relies on the order, so it is checked: a name out of order would be shown twice, or survive deletion.
    if (previous !== undefined && entry.name <= previous) {
      throw new FsError(
        'EIO',
        `layer ${this.#parts.layer(depth).label}: directory ${this.#parts.ref(depth)}: ${JSON.stringify(entry.name)} follows ${JSON.stringify(previous)}, names are not sorted`,
      )
    }
    this.#push({ depth, entry })
  }

  #push(head: Head): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(head)
    while (at > 0) {
      const above = (at - 1) >>> 1
      const parent = heap[above]
      if (parent === undefined || !isBefore(head, parent)) break
      heap[at] = parent
      at = above
    }
    heap[at] = head
  }

  #pop(): Head | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (heap.length === 0 || last === undefined) return top
    let at = 0
    for (;;) {
      let below = at * 2 + 1
      let child = heap[below]
      if (child === undefined) break
      const right = heap[below + 1]
      if (right !== undefined && isBefore(right, child)) {
        below += 1
        child = right
      }
      if (!isBefore(child, last)) break
      heap[at] = child
      at = below
    }
    heap[at] = last
    return top
  }
}
