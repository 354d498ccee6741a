import { Poller } from '../../sys/files/device-io.ts'
import { clearBell } from '../../sys/process/bell.ts'

export interface WaitOptions {
  /**
   * Empty reads before the thread goes to sleep in poll(2). One costs about 0.3 µs; the next request of a busy
   * client comes within some 20 µs, and waking a sleeping thread costs more than that.
   */
  readonly spins: number
  /** Called again and again while there are no requests, until it returns false; each call should be short. */
  readonly idleWork?: () => boolean
  /** Rung by other threads when work has ended that requests wait for (`openBell`). */
  readonly bell?: number
}

/** Without requests for this long, whoever mounted has gone on to something else. */
const QUIET_MS = 5
/** Longest sleep; the thread then looks at the device once and sleeps again. */
const SLEEP_MS = 1000

/** What the thread of the device does while there is no request: it spins, sleeps, or does work that can wait. */
export class Waiting {
  readonly #options: WaitOptions
  readonly #poller: Poller
  #emptyReads = 0
  #hasIdleWork: boolean
  #isQuiet = false

  /** @param fd the device */
  constructor(fd: number, options: WaitOptions) {
    this.#options = options
    this.#poller = options.bell === undefined ? new Poller(fd) : new Poller(fd, options.bell)
    this.#hasIdleWork = options.idleWork !== undefined
  }

  /** A request came: the next one may be close behind. */
  gotRequest(): void {
    this.#emptyReads = 0
    this.#isQuiet = false
  }

  /** There was none. Returns when it is time to look again. @param hasPostponed requests wait for work of other threads */
  gotNothing(hasPostponed: boolean): void {
    const { spins, idleWork } = this.#options
    if (++this.#emptyReads <= spins) return
    this.#emptyReads = 0
    if (hasPostponed) {
      this.#sleep(SLEEP_MS)
      // The bell rings for each piece of work: no spin after it, which would take the CPU from who does the next one.
      this.#emptyReads = spins
    } else if (!this.#hasIdleWork) this.#sleep(SLEEP_MS)
    else if (!this.#isQuiet) this.#isQuiet = this.#sleep(QUIET_MS) === 0
    else {
      this.#hasIdleWork = idleWork?.() ?? false
      // One look at the device between two pieces of such work, no spin.
      this.#emptyReads = spins
    }
  }

  /** @returns descriptors that are ready */
  #sleep(timeoutMs: number): number {
    const { bell } = this.#options
    const ready = this.#poller.wait(timeoutMs)
    // It is looked after what it was rung for before the next sleep.
    if (bell !== undefined && ready > 0) clearBell(bell)
    return ready
  }
}
