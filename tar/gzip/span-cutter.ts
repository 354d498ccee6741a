import type { Checkpoint } from './checkpoint.ts'

/** Most bytes between two checkpoints, where the blocks of the stream allow it: one slot of the block cache. */
export const SPAN = 1 << 20
/** The same where checkpoints have become too dear. */
const LONG_SPAN = 4 * SPAN
/**
 * Most bytes of checkpoints, as a share of the blob: with the hash tree an index of the usual window sizes, where a blob is
 * a quarter of its archive, has 5 % of the blob. Where the blob is smaller, checkpoints lie farther from each other.
 */
const SHARE = 1 / 26
/** Bytes of checkpoints that are always allowed. */
const SLACK = 64 << 10
/** Nearer than this to the last checkpoint no boundary is looked at. */
const NEAR = SPAN / 2
/** Boundaries nearer than this to each other are one candidate: each costs a copy of the window. */
const STEP = SPAN / 16
/** Input between two checkpoints: blocks that decode to nothing must not make a long way of a short one. */
const INPUT_SPAN = 2 * SPAN

/** @returns bytes that the checkpoint takes in the index */
export type OnCheckpoint = (checkpoint: Checkpoint) => number

/**
 * Chooses checkpoints among the boundaries of blocks: the last one within each MiB of output. Where one block is longer, its
 * end.
 */
export class SpanCutter {
  readonly #onCheckpoint: OnCheckpoint
  /** Bytes that all checkpoints take, and the last one. */
  #spent = 0
  #price = 0
  #last: Checkpoint | undefined
  #candidate: Checkpoint | undefined

  constructor(onCheckpoint: OnCheckpoint) {
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
    const most = this.#spent + this.#price > SLACK + point.blobAt * SHARE ? LONG_SPAN : SPAN
    const isTooFar = (from: Checkpoint): boolean =>
      point.archiveAt - from.archiveAt > most || point.blobAt - from.blobAt > INPUT_SPAN
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
    this.#price = this.#onCheckpoint(point)
    this.#spent += this.#price
  }
}
