/** After so many deaths a mount is given up. */
const MOST = 3
/** A death counts for so long, milliseconds: a mount that serves for years may meet the same bug now and then. */
const COUNTS_MS = 600_000

/** What an error tells of the death of its thread: of a lack of memory no line of code is the cause. */
export function whyDied(error: Error): string {
  const isMemory = 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
  return isMemory ? error.message : (error.stack ?? error.message)
}

/** Counts deaths of threads. */
export class Deaths {
  readonly #now: () => number
  #times: number[] = []

  /** @param now a clock, milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Counts one. */
  add(): void {
    const now = this.#now()
    this.#times = [...this.#times.filter((time) => now - time < COUNTS_MS), now]
  }

  /** Those that count at this moment, or did when the last one was added. */
  get count(): number {
    return this.#times.length
  }

  /** Whether there were too many to try once more. */
  get isEnough(): boolean {
    return this.count >= MOST
  }
}
