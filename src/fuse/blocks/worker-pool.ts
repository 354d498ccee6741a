import { giveBackPages } from '../../sys/ffi/memory.ts'
import { BlockIndex } from './block-index.ts'
import { JobTable } from './jobs.ts'
import type { SharedBuffers } from './shared-buffers.ts'
import { SLOT_READY, Slots } from './slots.ts'
import { Staff } from './staff.ts'
import { TaskQueue } from './task-queue.ts'

/** The shared cache and the data workers as the dispatcher sees them. The dispatcher makes one object of this class. */
export class WorkerPool {
  readonly shared: SharedBuffers
  readonly slots: Slots
  readonly jobs: JobTable
  readonly queue: TaskQueue
  readonly index: BlockIndex
  readonly staff: Staff
  readonly #ask: (() => void) | undefined

  /**
   * @param ask tells the main thread that one more worker is wanted; absent: all workers are there, or will be
   * @param budget most bytes of all blocks together; by default what fits into the slots
   */
  constructor(shared: SharedBuffers, ask?: () => void, budget?: number) {
    this.shared = shared
    this.staff = new Staff(shared)
    this.#ask = ask
    this.slots = new Slots(shared)
    this.jobs = new JobTable(shared)
    this.queue = new TaskQueue(shared)
    this.index = new BlockIndex(this.slots, budget, (slot) => giveBackPages(this.slots.bytes(slot)))
  }

  /** True where what is queued is done without anybody being asked. */
  get isStaffed(): boolean {
    return this.#ask === undefined || this.staff.isResident || this.staff.present > 0
  }

  /** True where workers come when they are needed. */
  get isOnDemand(): boolean {
    return this.#ask !== undefined && !this.staff.isResident
  }

  /** True where all workers wait for a task, or none is there. */
  get isCalm(): boolean {
    const { queue, staff, shared } = this
    if (queue.length > 0) return false
    return queue.idle === (this.isOnDemand ? staff.present : shared.workers)
  }

  /** Asks for one more worker, unless all are there or one is coming. */
  callWorker(): void {
    if (this.#ask !== undefined && this.staff.want()) this.#ask()
  }

  /** Forgets all blocks that nobody uses at this moment, and gives their memory back to the system. */
  giveBack(): void {
    const { shared, slots, index } = this
    // Runs of slots: memory is given back in whole pages, and slots may be smaller.
    let first = 0
    for (let slot = 0; slot <= slots.count; slot++) {
      if (slot < slots.count && index.forget(slot)) continue
      const [from, to] = [first * slots.size, slot * slots.size]
      if (to > from) giveBackPages(new Uint8Array(shared.blocks, from, to - from))
      first = slot + 1
    }
  }

  /**
   * Queues a job. The worker that takes it decodes its blocks from the front; other idle workers get single blocks from
   * the back. The thread that claims a slot first fills it.
   * @param missing slots of the job that are not READY, in its order
   */
  submit(job: number, missing: readonly number[]): void {
    const { queue, slots } = this
    queue.pushJob(job)
    // After the push: a worker that is leaving looks at the queue after it has left.
    if (queue.idle === 0) this.callWorker()
    const helpers = Math.min(missing.length - 1, queue.idle)
    for (let i = 0; i < helpers; i++) {
      const slot = missing[missing.length - 1 - i]
      if (slot === undefined || slots.state(slot) === SLOT_READY) continue
      // The worker of the job decodes the part before it, and can continue from there at little cost.
      const before = missing[missing.length - 2 - i]
      if (before !== undefined && slots.areParts(slot, before)) continue
      slots.pin(slot)
      if (!queue.pushFill(slot)) slots.unpin(slot)
    }
  }
}
