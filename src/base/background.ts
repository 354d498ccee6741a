import type { FsError } from './errno.ts'
import type { ExtentSink } from './extent.ts'
import type { SyncKind } from './file-system.ts'
import type { SourceId } from './id.ts'
import type { Piece } from './sources/byte-source.ts'

/**
 * State of a piece of work: `more` has a next step for this thread; `waiting` waits for another thread; `done` is over.
 */
export type Progress = 'more' | 'waiting' | 'done'

/** The steps of work, each of them short. A step yields the state after it; an exception ends the work. */
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

  /** @throws the error of the work. Only for work that is done */
  finish(): void {
    if (this.#error !== undefined) throw this.#error
  }

  /** The remaining steps, as a part of other work. @throws the error of the work */
  *rest(): Steps {
    for (let progress = this.advance(); progress !== 'done'; progress = this.advance()) yield progress
    this.finish()
  }
}

/** Does all steps at once in this thread, for callers that may wait. @throws as the steps do */
export function runSteps(steps: Steps): void {
  for (const _ of steps);
}

/**
 * Thrown to suspend a request until `work` ends. The request then runs again from its start; or, where `isAnswer`, the
 * end of the work is its outcome.
 *
 * An operation may throw it, or let it pass, only before its first change that another request could see, because the
 * second run repeats everything. So an operation that changes something has two parts. The first part checks, reads the
 * layers, and copies up: each copy is complete by itself, and the second run finds it. The second part is the argument
 * of `changing`, with all changes.
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
 * Thrown by reads, for bytes that another thread reads, or to let other requests go first. Only this request needs the
 * work, and nothing else depends on its end: the request can be given up while it waits.
 */
export class ReadPostponed extends Postponed {
  /** Called when the request is given up before its work has ended. */
  readonly givenUp: (() => void) | undefined

  constructor(work: Work, givenUp?: () => void) {
    super(work)
    this.givenUp = givenUp
  }
}

/** Most reads that wait at once for one request. */
const MOST_TOGETHER = 16
/** Milliseconds for finding them: each may be a long walk, which gives way to other requests only when it is its turn. */
const TOGETHER_MS = 5

/**
 * Makes calls that read, and of which none needs what another one returns: 0 to `count` - 1, in this order. Where one has
 * to wait for bytes, the bytes of the later ones are asked for as well, so that the request waits for all at once. The
 * calls are made again then, and may be made for nothing: a call leaves nothing behind but what it has read.
 * @param begun a read for which the request waits already
 * @throws ReadPostponed for all that have to wait; otherwise as the first call that throws
 */
export function readTogether(count: number, read: (i: number) => void, begun?: ReadPostponed): void {
  const works: Work[] = []
  let end = Infinity
  const wait = ({ work }: ReadPostponed): void => {
    if (works.length === 0) end = performance.now() + TOGETHER_MS
    // Other threads begin while this one looks for more.
    work.advance()
    works.push(work)
  }
  if (begun !== undefined) wait(begun)
  for (let i = 0; i < count && works.length < MOST_TOGETHER; i++) {
    if (works.length > 0 && performance.now() > end) break
    try {
      read(i)
    } catch (error) {
      if (error instanceof ReadPostponed) wait(error)
      // Whether it counts is not known before all above have read.
      else if (works.length === 0) throw error
    }
  }
  if (works.length > 0) throw new ReadPostponed(new Work(allOf(works)))
}

/** Each step is one of each that is not done. @throws the error of the first that has one, when all are over */
function* allOf(works: readonly Work[]): Steps {
  for (let left = works; left.length > 0; left = left.filter((work) => !work.isDone)) {
    const progress = left.map((work) => work.advance())
    if (progress.includes('more')) yield 'more'
    else if (progress.includes('waiting')) yield 'waiting'
  }
  for (const work of works) work.finish()
}

/** Nested calls of `changing` in this thread. A thread runs one operation at a time. */
let changesUnderWay = 0

/**
 * Runs the part of an operation that changes what other requests see. Reads in it wait for their bytes: nothing in it
 * throws `Postponed`. Returns and throws as `change` does.
 */
export function changing<T>(change: () => T): T {
  changesUnderWay += 1
  try {
    return change()
  } finally {
    changesUnderWay -= 1
  }
}

/** False within `changing`: reads then wait for their bytes instead of throwing `Postponed`. */
export function mayPostpone(): boolean {
  return changesUnderWay === 0
}

/**
 * Makes a call within a piece of work, again after each time it was postponed.
 * @throws as the call does, and as the work does for which it was postponed
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
   * @param describe gives the extents of `length` bytes, as `FileSystem.read` does
   * @param offset position in the open file, bytes
   * @returns 'busy' where too many parts are under way: try again later; 'unable' where only the caller can do it
   * @throws FsError EIO where `describe` gives fewer bytes
   */
  write(describe: (sink: ExtentSink) => void, offset: number, length: number): 'taken' | 'busy' | 'unable'
  /** @returns 'busy' as `write` */
  sync(kind: SyncKind): 'taken' | 'busy'
  /** Number of parts under way. The descriptor must stay open until it is 0. */
  pending(): number
  /** Error of the first part that failed. */
  readonly error: FsError | undefined
}

/** Other threads that do slow work on files of the host. */
export interface Background {
  /** A transfer to a host file. @param toDisk the data will be synced: start writeback at once */
  transfer(fd: number, toDisk: boolean): Transfer
}

/** A piece of an image that another thread reads. */
export interface Fetch {
  /** @returns the piece, whose content may be an error; undefined while the read is under way */
  poll(): Piece | undefined
}

/** Other threads that read images where this thread must not wait. */
export interface Fetcher {
  /** Most bytes of one piece. */
  readonly most: number
  /** False while those threads start: waiting for them would take longer than waiting for most disks. */
  readonly ready: boolean
  /**
   * Begins to read a piece of an image.
   * @param source index of the image
   * @param position byte position in its file
   * @param length bytes that must be read
   */
  fetch(source: SourceId, position: number, length: number): Fetch
}

/** Waits until all parts have ended, the failed ones as well: only then may the caller close the descriptor. */
export function* untilOver(transfer: Transfer): Steps {
  while (transfer.pending() > 0) yield 'waiting'
}

/** Syncs, and waits for the sync and for all parts under way. @throws FsError of the first part that failed */
export function* syncBy(transfer: Transfer, kind: SyncKind): Steps {
  while (transfer.sync(kind) === 'busy') yield 'waiting'
  yield* untilOver(transfer)
  if (transfer.error !== undefined) throw transfer.error
}
