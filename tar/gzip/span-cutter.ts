import type { Checkpoint } from './checkpoint.ts'

/** Most bytes between two checkpoints, where the blocks of the stream allow it: one slot of the block cache. */
export const SPAN = 1 << 20
/** Nearer than this to the last checkpoint no boundary is looked at. */
const NEAR = SPAN / 2
/** Boundaries nearer than this to each other are one candidate: each costs a copy of the window. */
const STEP = SPAN / 16
/** Input between two checkpoints: blocks that decode to nothing must not make a long way of a short one. */
const INPUT_SPAN = 2 * SPAN

/**
 * Chooses checkpoints among the boundaries of blocks: the last one within each MiB of output. Where one block is longer, its
 * end.
 */
export class SpanCutter {
  readonly #onCheckpoint: (checkpoint: Checkpoint) => void
  #last: Checkpoint | undefined
  #candidate: Checkpoint | undefined

  constructor(onCheckpoint: (checkpoint: Checkpoint) => void) {
    this.#onCheckpoint = onCheckpoint
  }

  /** Members may be many and empty: a start is a checkpoint only where it is due, or stays a candidate. */
  start(point: Checkpoint): void {
    if (this.#last === undefined) this.#take(point)
    else this.#consider(point)
  }

  /** @param point its window may change after the call */
  boundary(point: Checkpoint): void {
    this.#consider(point)
  }

  finish(): void {
    this.#candidate = undefined
  }

  #consider(point: Checkpoint): void {
    const last = this.#last
    if (last === undefined) return
    const isTooFar = (from: Checkpoint): boolean =>
      point.archiveAt - from.archiveAt > SPAN || point.blobAt - from.blobAt > INPUT_SPAN
    if (isTooFar(last)) {
      const candidate = this.#candidate
      this.#candidate = undefined
      this.#take(candidate ?? point)
      if (candidate === undefined) return
      if (isTooFar(candidate)) {
        this.#take(point)
        return
      }
    }
    const from = this.#last ?? last
    const isNear = point.archiveAt - from.archiveAt < NEAR && point.blobAt - from.blobAt < NEAR
    const isRepeated = this.#candidate !== undefined && point.archiveAt - this.#candidate.archiveAt < STEP
    if (!isNear && !isRepeated) this.#candidate = { ...point, window: Uint8Array.from(point.window) }
  }

  #take(point: Checkpoint): void {
    this.#last = point
    this.#onCheckpoint(point)
  }
}
