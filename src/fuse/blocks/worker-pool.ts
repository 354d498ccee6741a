import { BlockIndex } from './block-index.ts'
import { JobTable } from './jobs.ts'
import type { SharedBuffers } from './shared-buffers.ts'
import { SLOT_READY, Slots } from './slots.ts'
import { TaskQueue } from './task-queue.ts'

/** The shared cache and the data workers as the dispatcher sees them. The dispatcher makes one object of this class. */
export class WorkerPool {
  readonly shared: SharedBuffers
  readonly slots: Slots
  readonly jobs: JobTable
  readonly queue: TaskQueue
  readonly index: BlockIndex

  constructor(shared: SharedBuffers) {
    this.shared = shared
    this.slots = new Slots(shared)
    this.jobs = new JobTable(shared)
    this.queue = new TaskQueue(shared)
    this.index = new BlockIndex(this.slots)
  }

  /**
   * Queues a job. The worker that takes it decodes its blocks from the front; other idle workers get single blocks from
   * the back. The thread that claims a slot first fills it.
   * @param missing slots of the job that are not READY, in its order
   */
  submit(job: number, missing: readonly number[]): void {
    const { queue, slots } = this
    queue.pushJob(job)
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
