import { ERRNO } from '../../base/index.ts'
import { type Asker, JobTable } from '../blocks/jobs.ts'
import { unpinSegments } from '../blocks/read-plan.ts'
import type { SharedBuffers } from '../blocks/shared-buffers.ts'
import { Slots } from '../blocks/slots.ts'
import { Staff } from '../blocks/staff.ts'
import { TaskQueue } from '../blocks/task-queue.ts'
import { refuse } from './unanswered.ts'

/** What surrounds the pool of a worker that died. */
export interface DeadWorkerOptions {
  readonly shared: SharedBuffers
  /** `/dev/fuse` of a server of one mount; in others a READ says whose it is. */
  readonly fuseFd: number
  /** Told whose READ got an error, in a server of several mounts. */
  readonly onRefused?: (asker: Asker) => void
}

/** Nobody waits any longer for blocks that a thread was decoding when it died. @param thread 0 for the dispatcher */
export function abandonSlots(shared: SharedBuffers, thread: number): void {
  new Slots(shared).abandon(thread)
}

/**
 * Ends what a data worker had begun that died: its task fails with EIO, and so does what waits for a block that it was
 * decoding. For the main thread, after the thread has ended and before another one gets its number. The dispatcher may have
 * to be told (`ringBell`).
 * @param thread from 1
 */
export function buryWorker(thread: number, { shared, fuseFd, onRefused }: DeadWorkerOptions): void {
  const slots = new Slots(shared)
  const queue = new TaskQueue(shared, thread)
  const jobs = new JobTable(shared)
  slots.abandon(thread)
  const { left } = queue
  queue.goAway()
  if (left === 'absent') return
  new Staff(shared).lose()
  if (left === 'nothing') return
  if ('slot' in left) {
    slots.unpin(left.slot)
    return
  }
  const { job } = left
  // It may have ended already.
  if (jobs.age(job) === undefined) return
  const kind = jobs.kind(job)
  if (kind === 'reply') {
    const asker = jobs.asker(job)
    const isOfMany = asker.device >= 0
    refuse(isOfMany ? asker.device : fuseFd, jobs.token(job))
    unpinSegments(slots, jobs.segments(job))
    jobs.release(job)
    if (isOfMany) onRefused?.(asker)
    return
  }
  unpinSegments(slots, jobs.segments(job))
  jobs.end(job, ERRNO.EIO)
}
