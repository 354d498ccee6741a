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
  readonly #waiting: Waiting[] = []
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
    return this.#waiting.length
  }

  /** Starts the work at once, so that workers can begin. @param request is copied */
  add(postponed: Postponed, request: Uint8Array, baggage?: Baggage): void {
    // Not `slice`, which shares the memory of a Buffer.
    const copy = new Uint8Array(request)
    const note = this.#underWay?.note(tokenOf(copy)) ?? -1
    this.#waiting.push({ postponed, request: copy, baggage, note })
    this.#step(postponed.work)
  }

  /** Does one step of each work. @returns 'more' where there is more to do at once; 'done' where a request can go on */
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

  /** Removes and returns the first request whose work is done. The caller calls `drop` when it has been handled again. */
  take(): Waiting | undefined {
    const at = this.#waiting.findIndex(({ postponed }) => postponed.work.isDone)
    return at < 0 ? undefined : this.#waiting.splice(at, 1)[0]
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
    const at = this.#waiting.findIndex(({ request, postponed }) => {
      const token = tokenOf(request)
      return token.low === low && token.high === high && postponed instanceof ReadPostponed
    })
    if (at < 0) return false
    for (const given of this.#waiting.splice(at, 1)) {
      this.drop(given)
      if (given.postponed instanceof ReadPostponed) given.postponed.givenUp?.()
    }
    return true
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
