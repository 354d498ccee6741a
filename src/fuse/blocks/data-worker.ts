import { type BlockStore, ERRNO, FsError, type Log } from '../../base/index.ts'
import { ringBell } from '../../sys/process/bell.ts'
import { GatherReply } from '../device/gather-reply.ts'
import { Counters } from '../protocol/counters.ts'
import { FileJobs } from './file-jobs.ts'
import { HOLE, JobTable } from './jobs.ts'
import { checkSegments, unpinSegments } from './read-plan.ts'
import type { SharedBuffers } from './shared-buffers.ts'
import { SLOT_FAILED, Slots } from './slots.ts'
import { TaskQueue } from './task-queue.ts'

/** Of an image that a file is copied from, bytes. */
const READ_AHEAD = 8 << 20

export interface DataWorkerOptions {
  readonly shared: SharedBuffers
  /** Row of the counters: 1 for the first worker. */
  readonly thread: number
  readonly fd: number
  /** Rung when a job ended that the dispatcher waits for (`openBell`). */
  readonly bell?: number
  readonly store: BlockStore
  readonly log: Log
}

/**
 * The life of a data worker: takes tasks until the pool stops. It reads, verifies and decodes blocks into the
 * shared cache, and writes them where they are wanted: replies to the device, copies to files. Never throws: a
 * failed block is an EIO.
 */
export function runDataWorker(options: DataWorkerOptions): void {
  const { shared, store, log } = options
  const slots = new Slots(shared)
  const jobs = new JobTable(shared)
  const queue = new TaskQueue(shared)
  const gather = new GatherReply(options.fd, shared)
  const files = new FileJobs(shared, jobs)
  const counters = new Counters(shared, options.thread)

  function fill(slot: number): void {
    const error = slots.fill(slot, store)
    if (error !== undefined) log('error', messageOf(error))
  }

  /** @returns false where a block failed: whoever tried to fill its slot has logged why. @throws FsError EIO */
  function decode(segments: Int32Array): boolean {
    // First everything that nobody has begun, then wait for what others are still decoding.
    for (let i = 0; i < segments.length; i += 3) {
      const slot = segments[i] ?? HOLE
      if (slot !== HOLE && slots.claim(slot)) fill(slot)
    }
    for (let i = 0; i < segments.length; i += 3) {
      const slot = segments[i] ?? HOLE
      if (slot !== HOLE) slots.waitFilled(slot)
    }
    if (anyFailed(slots, segments)) return false
    checkSegments(slots, segments)
    return true
  }

  function answer(job: number, segments: Int32Array): void {
    const uniqueLow = jobs.uniqueLow(job)
    const uniqueHigh = jobs.uniqueHigh(job)
    try {
      if (decode(segments)) {
        gather.success(uniqueLow, uniqueHigh, segments)
        return
      }
    } catch (error) {
      log('error', `READ: ${messageOf(error)}`)
    }
    counters.add('failedReads')
    gather.failure(uniqueLow, uniqueHigh, -ERRNO.EIO)
  }

  /** What follows will be copied next. Several threads that read one block each are no pattern to the kernel. */
  function readAhead(segments: Int32Array): void {
    const slot = segments.findLast((one, i) => i % 3 === 0 && one !== HOLE)
    if (slot === undefined) return
    const { source, position, storedSize } = slots.block(slot)
    store.willNeed?.(source, position + storedSize, READ_AHEAD)
  }

  /** @returns 0 or an errno */
  function toFile(job: number, segments: Int32Array): number {
    try {
      readAhead(segments)
      return decode(segments) ? files.run(job, segments) : ERRNO.EIO
    } catch (error) {
      log('error', `copy-up: ${messageOf(error)}`)
      return ERRNO.EIO
    }
  }

  function run(job: number): void {
    const segments = jobs.segments(job)
    if (jobs.kind(job) === 'reply') {
      answer(job, segments)
      unpinSegments(slots, segments)
      jobs.release(job)
      return
    }
    const result = toFile(job, segments)
    unpinSegments(slots, segments)
    jobs.end(job, result)
    if (options.bell !== undefined) ringBell(options.bell)
  }

  for (let task = queue.take(); task !== undefined; task = queue.take()) {
    if ('job' in task) {
      run(task.job)
    } else {
      if (slots.claim(task.slot)) fill(task.slot)
      slots.unpin(task.slot)
    }
  }
}

function anyFailed(slots: Slots, segments: Int32Array): boolean {
  for (let i = 0; i < segments.length; i += 3) {
    const slot = segments[i] ?? HOLE
    if (slot !== HOLE && slots.state(slot) === SLOT_FAILED) return true
  }
  return false
}

function messageOf(error: unknown): string {
  if (error instanceof FsError) return error.message
  return error instanceof Error ? `bug: ${error.stack ?? error.message}` : String(error)
}
