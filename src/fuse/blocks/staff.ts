import type { SharedBuffers } from './shared-buffers.ts'
import { STAFF_INTS, type TaskQueue } from './task-queue.ts'

const PRESENT = STAFF_INTS
const STATE = STAFF_INTS + 1
const EPOCH = STAFF_INTS + 2

/** Nobody was asked for a worker. */
const CONTENT = 0
/** The main thread was asked for one, and it has not come yet. */
const ASKED = 1
/** The last one could not be started: the dispatcher does the work of the queue itself for a while. */
const REFUSED = 2
/** All workers came before the mount was ready, and stay. */
const RESIDENT = 3

/**
 * How many data workers there are, in memory that all threads share. Workers come when there is work and end after a
 * rest. A worker that ends takes no task with it: it says that it goes, and looks at the queue once more; who pushes a
 * task looks afterwards whether anybody is there. All of this is atomic, so one of the two sees the other.
 */
export class Staff {
  readonly #ints: Int32Array
  readonly #most: number
  #epoch = 0

  constructor(shared: SharedBuffers) {
    this.#ints = new Int32Array(shared.queue)
    this.#most = shared.workers
  }

  /** Workers that take tasks at this moment. */
  get present(): number {
    return Atomics.load(this.#ints, PRESENT)
  }

  /** No worker could be started, and none is there. */
  get isRefused(): boolean {
    return Atomics.load(this.#ints, STATE) === REFUSED && this.present === 0
  }

  /** All workers were started before the mount was ready: nobody needs to be asked for one. */
  get isResident(): boolean {
    return Atomics.load(this.#ints, STATE) === RESIDENT
  }

  /** Somebody told the main thread that a worker is wanted, and none has come since. */
  get isAsked(): boolean {
    return Atomics.load(this.#ints, STATE) === ASKED
  }

  /** @returns true where the caller has to tell the main thread now that a worker is wanted */
  want(): boolean {
    if (this.present >= this.#most) return false
    return Atomics.compareExchange(this.#ints, STATE, CONTENT, ASKED) === CONTENT
  }

  /** For the main thread: workers come at once and never end. */
  stay(): void {
    Atomics.store(this.#ints, STATE, RESIDENT)
  }

  /** For the main thread: no worker can be started. */
  refuse(): void {
    Atomics.store(this.#ints, STATE, REFUSED)
  }

  /** For the main thread: a worker that had come died. */
  lose(): void {
    Atomics.sub(this.#ints, PRESENT, 1)
  }

  /** For the main thread: workers may be asked for again. */
  allow(): void {
    Atomics.compareExchange(this.#ints, STATE, REFUSED, CONTENT)
  }

  /** Asks the workers to end as soon as they have nothing to do. */
  dismiss(): void {
    Atomics.add(this.#ints, EPOCH, 1)
  }

  /** Whether workers were asked to end since this one came. */
  get isDismissed(): boolean {
    return Atomics.load(this.#ints, EPOCH) !== this.#epoch
  }

  /** Counts the calling worker in, from before its first task on. */
  enter(): void {
    this.#epoch = Atomics.load(this.#ints, EPOCH)
    Atomics.add(this.#ints, PRESENT, 1)
    if (!this.isResident) Atomics.store(this.#ints, STATE, CONTENT)
  }

  /**
   * Counts the calling worker out, which then takes no task any more.
   * @returns false where a task has come meanwhile: the worker stays
   */
  leave(queue: TaskQueue): boolean {
    Atomics.sub(this.#ints, PRESENT, 1)
    if (queue.length === 0) return true
    Atomics.add(this.#ints, PRESENT, 1)
    return false
  }
}
