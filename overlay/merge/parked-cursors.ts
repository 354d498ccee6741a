import type { NodeId } from '../../src/base/index.ts'
import type { Directory } from './directory.ts'
import { type Checkpoint, MergeCursor } from './merge-cursor.ts'

/** Sum of the parts of the parked directories; each part costs a cursor of its layer and a few numbers. */
const PARKED_PARTS = 2048

interface Parked {
  readonly node: NodeId
  readonly checkpoint: Checkpoint
  readonly cost: number
  /** Handed out to the first who goes on from here; later ones reopen at the checkpoint. */
  cursor: MergeCursor | undefined
}

/**
 * Listings of merged directories that wait for their next request, bounded, the longest unused dropped first.
 * A listing whose place was dropped is walked again from the nearest place before it.
 */
export class ParkedCursors {
  readonly #parked = new Map<string, Parked>()
  readonly #limit: number
  #cost = 0

  /** @param limit bound of the summed number of parts */
  constructor(limit = PARKED_PARTS) {
    this.#limit = limit
  }

  get size(): number {
    return this.#parked.size
  }

  park(node: NodeId, cursor: MergeCursor): void {
    const checkpoint = cursor.checkpoint
    const key = keyOf(node, checkpoint.ordinal)
    this.#delete(key)
    const cost = checkpoint.positions.length
    this.#parked.set(key, { node, checkpoint, cost, cursor })
    this.#cost += cost
    for (const oldest of this.#parked.keys()) {
      // The one that was parked last stays, or a listing of more parts would begin anew at each request.
      if (this.#cost <= this.#limit || this.#parked.size === 1) break
      this.#delete(oldest)
    }
  }

  /** A cursor that has passed exactly `ordinal` names, or all there are. @throws FsError EIO */
  resume(node: NodeId, directory: Directory, ordinal: number): MergeCursor {
    const key = keyOf(node, ordinal)
    const exact = this.#parked.get(key)
    if (exact !== undefined) {
      this.#parked.delete(key)
      this.#parked.set(key, exact)
      const waiting = exact.cursor
      exact.cursor = undefined
      return waiting ?? new MergeCursor(directory, exact.checkpoint)
    }
    const cursor = new MergeCursor(directory, this.#nearest(node, ordinal))
    while (cursor.ordinal < ordinal && cursor.peek().length > 0) cursor.advance()
    return cursor
  }

  /** Drops everything of a node that is no more. */
  forget(node: NodeId): void {
    for (const [key, parked] of this.#parked) {
      if (parked.node === node) this.#delete(key)
    }
  }

  #nearest(node: NodeId, ordinal: number): Checkpoint | undefined {
    let best: Checkpoint | undefined
    for (const { node: owner, checkpoint } of this.#parked.values()) {
      if (owner !== node || checkpoint.ordinal > ordinal) continue
      if (best === undefined || checkpoint.ordinal > best.ordinal) best = checkpoint
    }
    return best
  }

  #delete(key: string): void {
    const parked = this.#parked.get(key)
    if (parked === undefined) return
    this.#parked.delete(key)
    this.#cost -= parked.cost
  }
}

function keyOf(node: NodeId, ordinal: number): string {
  return `${node}:${ordinal}`
}
