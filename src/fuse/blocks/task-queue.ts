import { MAX_JOBS } from './jobs.ts'
import type { SharedBuffers } from './shared-buffers.ts'

const QUEUE_HEADER_INTS = 16
/** Longest wait of a worker until it looks again by itself. */
const LOOK_MS = 1000

/** Room for all jobs and as many fills as there are slots: see `pushFill`. */
function queueCapacity(slotCount: number): number {
  return 2 ** Math.ceil(Math.log2(slotCount + MAX_JOBS + 1))
}

/** The dispatcher, as thread 0, and each worker have an int for what is in their hands. */
export function queueSize(slotCount: number, workers: number): number {
  return (QUEUE_HEADER_INTS + queueCapacity(slotCount) + workers + 1) * 4
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

// What an int of a worker says. A task is one of the two, shifted by the job or the slot.
const ABSENT = 0
const EMPTY = 1
const FIRST_JOB = 2
const FIRST_SLOT = 3

/** How long a worker waits for a task. */
export interface Rest {
  /** Since the last task that any worker got, milliseconds. */
  readonly ms: number
  /** True where the worker shall not wait any longer. */
  isDismissed(): boolean
}

const NO_REST: Rest = { ms: Infinity, isDismissed: () => false }

/**
 * One producer (the dispatcher), many consumers, first in, first out. A task that is taken stays in the hand of its worker,
 * where others see it if the worker dies.
 */
export class TaskQueue {
  readonly #ints: Int32Array
  readonly #mask: number
  /** Index of the hand; one behind all ints, where nothing is written, for a thread that keeps none. */
  readonly #hand: number

  /** @param thread a worker, from 1; absent: nobody has to know what the caller takes */
  constructor(shared: SharedBuffers, thread?: number) {
    this.#ints = new Int32Array(shared.queue)
    const capacity = queueCapacity(shared.slotCount)
    this.#mask = capacity - 1
    this.#hand = thread === undefined ? this.#ints.length : QUEUE_HEADER_INTS + capacity + thread
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
      // Right after it was taken: V8 ends a thread at calls and loops only, so none dies in between.
      ints[this.#hand] = item >= 0 ? FIRST_JOB + 2 * item : FIRST_SLOT + 2 * (-1 - item)
      return item >= 0 ? { job: item } : { slot: -1 - item }
    }
  }

  /** The worker is there, and has no task. */
  letGo(): void {
    this.#ints[this.#hand] = EMPTY
  }

  /** The worker has gone. */
  goAway(): void {
    this.#ints[this.#hand] = ABSENT
  }

  /** What a worker that died had in its hand. For the main thread. */
  get left(): Task | 'nothing' | 'absent' {
    const hand = this.#ints[this.#hand] ?? ABSENT
    if (hand === ABSENT) return 'absent'
    if (hand === EMPTY) return 'nothing'
    return hand % 2 === FIRST_JOB % 2 ? { job: (hand - FIRST_JOB) / 2 } : { slot: (hand - FIRST_SLOT) / 2 }
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
