import { clearBell } from '../../sys/process/bell.ts'
import { Spin } from './spin.ts'

/** What the thread sleeps in. */
export interface Sleeper {
  /** Whether there was news of a lack of memory in the last sleep. */
  readonly isUrgent: boolean
  /** @returns number of descriptors that are ready, without the urgent one; 0 on time-out, or -errno */
  wait(timeoutMs: number): number
  /** Whether the last wait found this descriptor ready. */
  isReady(fd: number): boolean
}

export interface WaitOptions {
  /**
   * Most empty reads before the thread sleeps in poll(2) (`Spin`). One read costs about 0.3 µs. The next request of a busy
   * client comes within some 20 µs, and waking a sleeping thread costs more than that.
   */
  readonly spins: number
  /**
   * Called again and again while there are no requests, until it returns false; each call should be short. `later`: not
   * before the bell rings, or a request comes.
   */
  readonly idleWork?: () => boolean | 'later'
  /** Called before each sleep. */
  readonly helper?: () => void
  /** Called once when there have been no requests for `QUIET_LONG_MS`. */
  readonly quietWork?: () => void
  /** A descriptor that tells of a lack of memory (`openMemoryPressure`). */
  readonly pressure?: number
  /** Called when memory is short, at most once in some seconds. */
  readonly pressureWork?: () => void
  /** Bell that other threads ring when work has ended that requests wait for (`openBell`). */
  readonly bell?: number
}

/**
 * After so long without requests the client that mounted has gone on to something else. With 5 ms, idle work fell into
 * the pauses of a program that starts from the mount, and `python` took 1.1 times as long.
 */
const QUIET_MS = 20
/** Longest sleep. The thread then reads the device once and sleeps again. */
const SLEEP_MS = 1000
/** After so long without requests memory that was kept for them is given back. */
const QUIET_LONG_MS = 5000

/** What the thread of the device does while there is no request: it spins, sleeps, or does work that can wait. */
export class Waiting {
  readonly #options: WaitOptions
  readonly #poller: Sleeper
  readonly #spin: Spin
  /** The next empty read is followed by no spin. */
  #isOver = false
  #hasIdleWork: boolean
  #isQuiet = false
  /** Idle work waits for the bell. */
  #waits = false
  /** Requests have come since the thread slept last. */
  #hasRequests = true
  #lastRequest = performance.now()
  #hasQuietWork = false

  constructor(poller: Sleeper, options: WaitOptions) {
    this.#options = options
    this.#spin = new Spin(options.spins)
    this.#poller = poller
    this.#hasIdleWork = options.idleWork !== undefined
  }

  /** A request came: the next one may be close behind. */
  gotRequest(): void {
    this.#spin.gotRequest()
    this.#isOver = false
    this.#isQuiet = false
    this.#hasRequests = true
  }

  /**
   * No request came. Returns when it is time to read the device again.
   * @param hasPostponed requests wait for work of other threads
   */
  gotNothing(hasPostponed: boolean): void {
    if (!this.#isOver && this.#spin.again()) return
    this.#isOver = false
    this.#options.helper?.()
    if (hasPostponed) {
      this.#sleep(SLEEP_MS)
      // The bell rings for each piece of work. A spin after it would take the CPU from the thread that does the next
      // piece.
      this.#isOver = true
    } else if (!this.#hasIdleWork) this.#rest()
    else if (!this.#isQuiet) this.#isQuiet = this.#sleep(QUIET_MS) === 0
    else if (this.#waits) {
      this.#waits = false
      this.#sleep(SLEEP_MS)
    } else {
      const left = this.#options.idleWork?.() ?? false
      this.#hasIdleWork = left !== false
      this.#waits = left === 'later'
      // Read the device once between two pieces of idle work, without a spin.
      this.#isOver = true
    }
  }

  #rest(): void {
    if (this.#hasRequests) {
      this.#hasRequests = false
      this.#hasQuietWork = this.#options.quietWork !== undefined
      this.#lastRequest = performance.now()
    }
    if (this.#sleep(SLEEP_MS) > 0 || !this.#hasQuietWork) return
    if (performance.now() - this.#lastRequest < QUIET_LONG_MS) return
    this.#hasQuietWork = false
    this.#options.quietWork?.()
  }

  /** @returns descriptors that are ready */
  #sleep(timeoutMs: number): number {
    const { bell, pressureWork } = this.#options
    const ready = this.#poller.wait(timeoutMs)
    if (this.#poller.isUrgent) pressureWork?.()
    // Clear it now: the loop calls `proceed` before it sleeps again, so no ring is lost.
    if (bell !== undefined && ready > 0 && this.#poller.isReady(bell)) clearBell(bell)
    return ready
  }
}
