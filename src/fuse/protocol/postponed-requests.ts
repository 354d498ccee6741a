import type { Baggage, Postponed, Progress, Work } from '../../base/index.ts'

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

  get size(): number {
    return this.#waiting.length
  }

  /** @param request is copied. Begins with the work, so that other threads get their part of it at once. */
  add(postponed: Postponed, request: Uint8Array, baggage?: Baggage): void {
    // Not `slice`, which shares the memory of a Buffer.
    this.#waiting.push({ postponed, request: new Uint8Array(request), baggage })
    postponed.work.advance()
  }

  /** Does a piece of all work. @returns 'more' where there is more to do at once; 'done' where a request can go on */
  advance(): Progress {
    let progress: Progress = 'waiting'
    const works = new Set<Work>(this.#waiting.map(({ postponed }) => postponed.work))
    for (const work of works) {
      const one = work.advance()
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
}
