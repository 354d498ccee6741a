import { type BlockStore, ERRNO, FsError } from '../base/index.ts'
import { GatherReply } from './gather-reply.ts'
import type { Log } from './protocol.ts'
import { checkSegments, unpinSegments } from './read-plan.ts'
import {
  Counters,
  HOLE,
  PendingReads,
  type SharedBuffers,
  SLOT_FAILED,
  Slots,
  TaskQueue,
} from './shared-cache.ts'

export interface DataWorkerOptions {
  readonly shared: SharedBuffers
  /** Row of the counters: 1 for the first worker. */
  readonly thread: number
  readonly fd: number
  readonly store: BlockStore
  readonly log: Log
}

/**
 * The life of a data worker: takes tasks until the pool stops. It reads, verifies and decodes blocks into the
 * shared cache and writes the replies to the device itself. Never throws: a failed block is an EIO reply.
 */
export function runDataWorker(options: DataWorkerOptions): void {
  const { shared, store, log } = options
  const slots = new Slots(shared)
  const reads = new PendingReads(shared)
  const queue = new TaskQueue(shared)
  const gather = new GatherReply(options.fd, shared)
  const counters = new Counters(shared, options.thread)

  function fill(slot: number): void {
    const error = slots.fill(slot, store)
    if (error !== undefined) log('error', messageOf(error))
  }

  function answer(read: number): void {
    const segments = reads.segments(read)
    const uniqueLow = reads.uniqueLow(read)
    const uniqueHigh = reads.uniqueHigh(read)
    try {
      // First everything that nobody has begun, then wait for what others are still decoding.
      for (let i = 0; i < segments.length; i += 3) {
        const slot = segments[i] ?? HOLE
        if (slot !== HOLE && slots.claim(slot)) fill(slot)
      }
      for (let i = 0; i < segments.length; i += 3) {
        const slot = segments[i] ?? HOLE
        if (slot !== HOLE) slots.waitFilled(slot)
      }
      if (anyFailed(slots, segments)) {
        // Whoever tried to fill the slot has logged why.
        counters.add('failedReads')
        gather.failure(uniqueLow, uniqueHigh, -ERRNO.EIO)
        return
      }
      checkSegments(slots, segments)
      gather.success(uniqueLow, uniqueHigh, segments)
    } catch (error) {
      counters.add('failedReads')
      log('error', `READ: ${messageOf(error)}`)
      gather.failure(uniqueLow, uniqueHigh, -ERRNO.EIO)
    } finally {
      unpinSegments(slots, segments)
      reads.release(read)
    }
  }

  for (let task = queue.take(); task !== undefined; task = queue.take()) {
    if ('read' in task) {
      answer(task.read)
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
