import { MAX_JOBS } from './jobs.ts'
import type { SharedBuffers } from './shared-buffers.ts'

const QUEUE_HEADER_INTS = 16

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

/** What a worker takes from the queue: a job, or a slot to fill. */
export type Task = { readonly job: number } | { readonly slot: number }

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

  /** Waits for a task. @returns undefined after `stop`, once the queue is empty */
  take(): Task | undefined {
    const ints = this.#ints
    for (;;) {
      const signal = Atomics.load(ints, SIGNAL)
      const head = Atomics.load(ints, HEAD)
      if (head === Atomics.load(ints, TAIL)) {
        if (Atomics.load(ints, STOP) === 1) return undefined
        Atomics.add(ints, IDLE, 1)
        Atomics.wait(ints, SIGNAL, signal, 1000)
        Atomics.sub(ints, IDLE, 1)
        continue
      }
      const item = Atomics.load(ints, QUEUE_HEADER_INTS + (head & this.#mask))
      if (Atomics.compareExchange(ints, HEAD, head, (head + 1) | 0) !== head) continue
      return item >= 0 ? { job: item } : { slot: -1 - item }
    }
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
