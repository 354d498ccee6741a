/**
 * A spin that took so long was interrupted by other programs: the reads take some 100 µs in all, a data worker that decodes
 * a few blocks less than this, and a program that has work keeps a processor for at least a slice of the scheduler.
 * Milliseconds.
 */
const INTERRUPTED_MS = 2
/** How long nobody spins after that, ms: many times as long as a slice, which is what the next attempt costs. */
const PAUSE_MS = 100

/**
 * How often the device is read again before its thread sleeps. On a machine that has a processor to spare the next request
 * comes while the thread still runs, and waking it would take longer. Where other threads wait for the processor, one that
 * spins takes it from the client, and has used up its share when the request comes: then it is better to sleep. Such a
 * thread is interrupted in the middle of a spin sooner or later, for as long as the others run, and that can be seen by the
 * clock.
 */
export class Spin {
  readonly #most: number
  readonly #now: () => number
  #reads = 0
  #start = 0
  /** Time before which nobody spins. */
  #pauseEnd = Number.NEGATIVE_INFINITY

  /** @param most empty reads before a sleep. @param now a clock, milliseconds */
  constructor(most: number, now: () => number = () => performance.now()) {
    this.#most = most
    this.#now = now
  }

  /** A request came. */
  gotRequest(): void {
    if (this.#reads > 0) this.#end()
  }

  /** The device had nothing. @returns true where it should be read again at once */
  again(): boolean {
    if (this.#reads === 0) {
      this.#start = this.#now()
      if (this.#start < this.#pauseEnd) return false
    }
    this.#reads += 1
    if (this.#reads <= this.#most) return true
    this.#end()
    return false
  }

  #end(): void {
    const now = this.#now()
    if (now - this.#start > INTERRUPTED_MS) this.#pauseEnd = now + PAUSE_MS
    this.#reads = 0
  }
}
