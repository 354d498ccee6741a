import { MAX_JOBS } from './jobs.ts'
import type { SharedBuffers } from './shared-buffers.ts'

const QUEUE_HEADER_INTS = 16
/** Longest wait of a worker until it looks again by itself. */
const LOOK_MS = 1000

/** Room for all jobs and as many fills as there are slots: see `pushFill`. */
function queueCapacity(slotCount: number): number {
  return 2 ** Math.ceil(Math.log2(slotCount + MAX_JOBS + 1))
}

export function queueSize(slotCount: number): number {
  return (QUEUE_HEADER_INTS + queueCapacity(slotCount)) * 4
}

const HEAD = 0
const TAIL = 1
const SIGNAL = 2
const IDLE = 3
const STOP = 4
/** Ints of the header from here on belong to `Staff`. */
export const STAFF_INTS = 8

/** What a worker takes from the queue: a job, or a slot to fill. */
export type Task = { readonly job: number } | { readonly slot: number }

/** How long a worker waits for a task. */
export interface Rest {
  /** Since the last task that any worker got, milliseconds. */
  readonly ms: number
  /** True where the worker shall not wait any longer. */
  isDismissed(): boolean
}

const NO_REST: Rest = { ms: Infinity, isDismissed: () => false }

/** One producer (the dispatcher), many consumers, first in, first out. */
export class TaskQueue {
  readonly #ints: Int32Array
  readonly #mask: number

  constructor(shared: SharedBuffers) {
    this.#ints = new Int32Array(shared.queue)
    this.#mask = queueCapacity(shared.slotCount) - 1
  }

  /** Appends a job; there is room for all of them. */
  pushJob(job: number): void {
    this.#push(job)
  }

  /** Appends a slot to fill. @returns false where only the room for jobs is left; the caller then keeps the pin */
  pushFill(slot: number): boolean {
    if (this.#mask + 1 - this.length <= MAX_JOBS) return false
    this.#push(-1 - slot)
    return true
  }

  /** Number of workers that wait for a task at this moment. */
  get idle(): number {
    return Atomics.load(this.#ints, IDLE)
  }

  /** Number of tasks that no worker has taken yet. */
  get length(): number {
    return (Atomics.load(this.#ints, TAIL) - Atomics.load(this.#ints, HEAD)) | 0
  }

  /**
   * Waits for a task.
   * @param rest when to give up waiting
   * @returns undefined once the queue is empty, after `stop` or at the end of the rest
   */
  take(rest: Rest = NO_REST): Task | undefined {
    const ints = this.#ints
    let lastSignal = Atomics.load(ints, SIGNAL)
    let since = performance.now()
    for (;;) {
      const signal = Atomics.load(ints, SIGNAL)
      const task = this.takeNow()
      if (task !== undefined) return task
      if (Atomics.load(ints, STOP) === 1) return undefined
      const now = performance.now()
      if (signal !== lastSignal) since = now
      else if (now - since >= rest.ms || rest.isDismissed()) return undefined
      lastSignal = signal
      Atomics.add(ints, IDLE, 1)
      Atomics.wait(ints, SIGNAL, signal, Math.min(LOOK_MS, since + rest.ms - now))
      Atomics.sub(ints, IDLE, 1)
    }
  }

  /** @returns the next task; undefined where the queue is empty */
  takeNow(): Task | undefined {
    const ints = this.#ints
    for (;;) {
      const head = Atomics.load(ints, HEAD)
      if (head === Atomics.load(ints, TAIL)) return undefined
      const item = Atomics.load(ints, QUEUE_HEADER_INTS + (head & this.#mask))
      if (Atomics.compareExchange(ints, HEAD, head, (head + 1) | 0) !== head) continue
      return item >= 0 ? { job: item } : { slot: -1 - item }
    }
  }

  /** Whether `stop` was called. */
  get isStopped(): boolean {
    return Atomics.load(this.#ints, STOP) === 1
  }

  /** Makes the workers end once the queue is empty. */
  stop(): void {
    Atomics.store(this.#ints, STOP, 1)
    Atomics.add(this.#ints, SIGNAL, 1)
    Atomics.notify(this.#ints, SIGNAL)
  }

  #push(item: number): void {
    const ints = this.#ints
    const tail = Atomics.load(ints, TAIL)
    Atomics.store(ints, QUEUE_HEADER_INTS + (tail & this.#mask), item)
    Atomics.store(ints, TAIL, (tail + 1) | 0)
    Atomics.add(ints, SIGNAL, 1)
    if (Atomics.load(ints, IDLE) > 0) Atomics.notify(ints, SIGNAL, 1)
  }
}
