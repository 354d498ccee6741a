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

/** A request that waits, as the kernel sent it. */
interface Waiting {
  readonly request: Uint8Array
  readonly postponed: Postponed
  /** What it takes along to the next attempt. */
  readonly baggage: Baggage | undefined
}

/** Requests that wait for work to be done, and that work. */
export class PostponedRequests {
  readonly #waiting: Waiting[] = []
  readonly #turn: Turn | undefined
  /** What is brought for steps of work that read layers. */
  readonly #baggage = new WeakMap<Work, Baggage>()

  constructor(turn?: Turn) {
    this.#turn = turn
  }

  get size(): number {
    return this.#waiting.length
  }

  /** @param request is copied. Begins with the work, so that other threads get their part of it at once. */
  add(postponed: Postponed, request: Uint8Array, baggage?: Baggage): void {
    // Not `slice`, which shares the memory of a Buffer.
    this.#waiting.push({ postponed, request: new Uint8Array(request), baggage })
    this.#step(postponed.work)
  }

  /** Does a piece of all work. @returns 'more' where there is more to do at once; 'done' where a request can go on */
  advance(): Progress {
    let progress: Progress = 'waiting'
    const works = new Set<Work>(this.#waiting.map(({ postponed }) => postponed.work))
    for (const work of works) {
      const one = this.#step(work)
      if (one === 'done') return 'done'
      if (one === 'more') progress = 'more'
    }
    return progress
  }

  /** Takes the first request out whose work is done. */
  take(): Waiting | undefined {
    const at = this.#waiting.findIndex(({ postponed }) => postponed.work.isDone)
    return at < 0 ? undefined : this.#waiting.splice(at, 1)[0]
  }

  /** Gives up a request that only reads are waited for. @returns false where there is none, or more was begun for it */
  giveUp({ low, high }: ReplyToken): boolean {
    const at = this.#waiting.findIndex(({ request, postponed }) => {
      const token = tokenOf(request)
      return token.low === low && token.high === high && postponed instanceof ReadPostponed
    })
    if (at >= 0) this.#waiting.splice(at, 1)
    return at >= 0
  }

  /** Steps of work wait for no disk either: they may be postponed themselves (`patiently`). */
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
