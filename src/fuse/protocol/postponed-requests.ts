import {
  type Baggage,
  type Postponed,
  type Progress,
  ReadPostponed,
  type ReplyToken,
  type Turn,
  type Work,
} from '../../base/index.ts'
import { tokenOf } from './decode.ts'
import type { NoteAt, UnderWay } from './under-way.ts'

/** One postponed request, as the kernel sent it. */
interface Waiting {
  readonly request: Uint8Array
  readonly postponed: Postponed
  /** Pieces that the next attempt takes over. */
  readonly baggage: Baggage | undefined
  readonly note: NoteAt
}

/** The postponed requests, and the work that they wait for. */
export class PostponedRequests {
  /** In the order in which they came. Not an array: V8 compiles the loop anew when an empty one gets its first element. */
  readonly #waiting = new Set<Waiting>()
  readonly #turn: Turn | undefined
  readonly #underWay: UnderWay | undefined
  /** Pieces fetched for steps of work that read layers. */
  readonly #baggage = new WeakMap<Work, Baggage>()

  /** @param underWay notes them for other threads */
  constructor(turn?: Turn, underWay?: UnderWay) {
    this.#turn = turn
    this.#underWay = underWay
  }

  get size(): number {
    return this.#waiting.size
  }

  /** Starts the work at once, so that workers can begin. @param request is copied */
  add(postponed: Postponed, request: Uint8Array, baggage?: Baggage): void {
    // Not `slice`, which shares the memory of a Buffer.
    const copy = new Uint8Array(request)
    const note = this.#underWay?.note(tokenOf(copy)) ?? -1
    this.#waiting.add({ postponed, request: copy, baggage, note })
    this.#step(postponed.work)
  }

  /** Does one step of each work. @returns 'more' where there is more to do at once; 'done' where a request can go on */
  advance(): Progress {
    let progress: Progress = 'waiting'
    const works = new Set<Work>()
    for (const { postponed } of this.#waiting) works.add(postponed.work)
    for (const work of works) {
      const one = this.#step(work)
      if (one === 'done') return 'done'
      if (one === 'more') progress = 'more'
    }
    return progress
  }

  /** Removes and returns the first request whose work is done. The caller calls `drop` when it has been handled again. */
  take(): Waiting | undefined {
    for (const waiting of this.#waiting) {
      if (!waiting.postponed.work.isDone) continue
      this.#waiting.delete(waiting)
      return waiting
    }
    return undefined
  }

  /** A request that was taken is answered, or postponed again. */
  drop({ note }: Waiting): void {
    this.#underWay?.drop(note)
  }

  /**
   * Drops a request that waits for reads only.
   * @returns false where no such request waits, or it waits for more than reads
   */
  giveUp({ low, high }: ReplyToken): boolean {
    for (const waiting of this.#waiting) {
      const token = tokenOf(waiting.request)
      if (token.low !== low || token.high !== high) continue
      if (!(waiting.postponed instanceof ReadPostponed)) continue
      this.#waiting.delete(waiting)
      this.drop(waiting)
      waiting.postponed.givenUp?.()
      return true
    }
    return false
  }

  /** A step does not wait for a disk: reads within it may postpone it (`patiently`). */
  #step(work: Work): Progress {
    if (work.isDone) return 'done'
    const turn = this.#turn
    turn?.begin(this.#baggage.get(work))
    try {
      return work.advance()
    } finally {
      if (turn?.baggage !== undefined) this.#baggage.set(work, turn.baggage)
      turn?.end()
    }
  }
}
