import type { Piece } from './byte-source.ts'
import type { FsError } from './errno.ts'
import type { ExtentSink } from './extent.ts'
import type { SyncKind } from './file-system.ts'
import type { SourceId } from './id.ts'

/** What is left of a piece of work: more to do here, something to wait for that another thread does, or nothing. */
export type Progress = 'more' | 'waiting' | 'done'

/** The steps of work, none of which takes long. Each tells what comes next; an exception ends the work. */
export type Steps = Generator<Exclude<Progress, 'done'>, void>

/** Work that goes on while its thread serves other requests. */
export class Work {
  readonly #steps: Steps
  #progress: Progress = 'more'
  #error: unknown

  constructor(steps: Steps) {
    this.#steps = steps
  }

  get isDone(): boolean {
    return this.#progress === 'done'
  }

  /** Does one step. Never throws: `finish` throws the error. */
  advance(): Progress {
    if (this.#progress === 'done') return 'done'
    try {
      const { done, value } = this.#steps.next()
      this.#progress = done === true ? 'done' : value
    } catch (error) {
      this.#error = error
      this.#progress = 'done'
    }
    return this.#progress
  }

  /** @throws what the work failed with. Only for work that is done. */
  finish(): void {
    if (this.#error !== undefined) throw this.#error
  }

  /** The steps that are left, as a part of other work. @throws what the work fails with */
  *rest(): Steps {
    for (let progress = this.advance(); progress !== 'done'; progress = this.advance()) yield progress
    this.finish()
  }
}

/** Does all steps at once, in this thread, for callers that may wait. @throws as the steps */
export function runSteps(steps: Steps): void {
  for (const _ of steps);
}

/**
 * Thrown to suspend a request until `work` ends. The request then runs again from its start; or, where `isAnswer`, the
 * end of the work is its outcome.
 *
 * An operation may throw it, or let it pass, until its first change that another request could see, and no later: what
 * it did before is done again. So an operation that changes something has two parts. The first one checks, reads what
 * it needs of the layers, and copies up: each copy is complete by itself, and the second run finds it. The second part
 * is the argument of `changing`: all changes are in there.
 */
export class Postponed extends Error {
  readonly work: Work
  readonly isAnswer: boolean

  constructor(work: Work, isAnswer = false) {
    if (!mayPostpone()) throw new Error('bug: an operation was postponed after its first change')
    super('postponed')
    this.work = work
    this.isAnswer = isAnswer
  }
}

/**
 * Thrown by reads, for bytes that are on their way, or to let others go first. Nothing was begun that this request alone
 * would end, so it can be given up while it waits.
 */
export class ReadPostponed extends Postponed {}

/** Calls of `changing` that this thread is in. A thread runs one operation at a time. */
let changesUnderWay = 0

/**
 * Does the part of an operation that changes what other requests see. What this part needs it waits for: nothing in it
 * throws `Postponed`. What it returns or throws is the outcome.
 */
export function changing<T>(change: () => T): T {
  changesUnderWay += 1
  try {
    return change()
  } finally {
    changesUnderWay -= 1
  }
}

/** False within `changing`: who needs bytes that are not here waits for them, instead of throwing `Postponed`. */
export function mayPostpone(): boolean {
  return changesUnderWay === 0
}

/**
 * Calls within work that other threads help with, again and again for as long as the call is postponed.
 * @throws as the call, and as what it was postponed for
 */
export function* patiently<T>(call: () => T): Generator<'more' | 'waiting', T> {
  for (;;) {
    try {
      return call()
    } catch (error) {
      if (!(error instanceof Postponed)) throw error
      yield* error.work.rest()
    }
  }
}

/** Work of other threads on one open file. */
export interface Transfer {
  /**
   * Writes a part of a file of the layers to the open file.
   * @param describe tells the extents of `length` bytes, as `FileSystem.read` does
   * @param offset where they go, bytes
   * @returns 'busy' where too much is under way: try again later; 'unable' where only the caller can do it
   * @throws FsError EIO where fewer bytes are described
   */
  write(describe: (sink: ExtentSink) => void, offset: number, length: number): 'taken' | 'busy' | 'unable'
  /** @returns 'busy' as `write` */
  sync(kind: SyncKind): 'taken' | 'busy'
  /** How much is still under way; the descriptor must stay open that long. */
  pending(): number
  /** What the first part that failed failed with. */
  readonly error: FsError | undefined
}

/** Other threads that do what takes long. */
export interface Background {
  /** A transfer to a host file. @param toDisk the data will be synced: begin with that at once */
  transfer(fd: number, toDisk: boolean): Transfer
}

/** A piece of an image that another thread reads. */
export interface Fetch {
  /** @returns the piece, or why it cannot be read; undefined while that is not known */
  poll(): Piece | undefined
}

/** Other threads that read images where this thread must not wait. */
export interface Fetcher {
  /** Most bytes of one piece. */
  readonly most: number
  /** False while those threads are still being started: waiting for them would take longer than most disks do. */
  readonly ready: boolean
  /**
   * Brings a piece of an image.
   * @param source index of the image
   * @param position byte position in its file
   * @param length bytes that must be read
   */
  fetch(source: SourceId, position: number, length: number): Fetch
}

/** Waits until all parts have ended, also failed ones: only then may the descriptor be closed. */
export function* untilOver(transfer: Transfer): Steps {
  while (transfer.pending() > 0) yield 'waiting'
}

/** Syncs, and waits for that and for all that is under way. @throws FsError what a part of it failed with */
export function* syncBy(transfer: Transfer, kind: SyncKind): Steps {
  while (transfer.sync(kind) === 'busy') yield 'waiting'
  yield* untilOver(transfer)
  if (transfer.error !== undefined) throw transfer.error
}
