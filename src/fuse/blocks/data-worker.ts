import { type BlockStore, ERRNO, type LogLevel, type SourceId, textOf } from '../../base/index.ts'
import { ringBell } from '../../sys/process/bell.ts'
import { type AnswerTarget, sendFailure, sendSegments } from './answer-target.ts'
import { Counters } from './counters.ts'
import { FileJobs } from './file-jobs.ts'
import { type Asker, HOLE, JobTable } from './jobs.ts'
import { runFetch } from './pooled-fetcher.ts'
import { ReadAhead } from './read-ahead.ts'
import { checkSegments, unpinSegments } from './read-plan.ts'
import type { SharedBuffers } from './shared-buffers.ts'
import { SLOT_FAILED, Slots } from './slots.ts'
import { Staff } from './staff.ts'
import { type Task, TaskQueue } from './task-queue.ts'

/** What a thread needs to do the tasks of the queue. */
export interface TaskOptions {
  readonly shared: SharedBuffers
  /** Row of the counters: 1 for the first worker. */
  readonly thread: number
  /** Takes the answers to READs; this thread's own. */
  readonly target: AnswerTarget
  /** Bell to ring when a job has ended that the dispatcher waits for (`openBell`). */
  readonly bell?: number
  readonly store: BlockStore
  /** Takes the image of a block, too, where it is about one. */
  readonly log: (level: LogLevel, message: string, source?: SourceId) => void
  /** In a server of several mounts. */
  readonly askers?: JobAskers
}

/** What a thread that answers READs of several mounts does beside it. */
export interface JobAskers {
  /** The next answer is for this one. */
  begin(asker: Asker): void
  /** It was sent. */
  end(asker: Asker, isGood: boolean): void
}

/** What a data worker needs. */
export interface DataWorkerOptions extends TaskOptions {
  /** Ends after so long without work, milliseconds; absent: never. */
  readonly restMs?: number
  /** Tells the main thread that one more worker is wanted. */
  readonly ask?: () => void
}

/** Runs a data worker: does tasks until the pool stops, or until there has been nothing to do for a while. */
export function runDataWorker({ restMs = Infinity, ask, ...options }: DataWorkerOptions): void {
  const { shared } = options
  const queue = new TaskQueue(shared, options.thread)
  const staff = new Staff(shared)
  const run = taskRunner(options)
  const rest = { ms: restMs, isDismissed: () => restMs !== Infinity && staff.isDismissed }
  // In this order, as at the end: a worker that dies in between is counted out once too often, which asks for one more.
  queue.letGo()
  staff.enter()
  do {
    for (let task = queue.take(rest); task !== undefined; task = queue.take(rest)) {
      // The dispatcher may sleep: a task that waits behind one that takes long is ours to notice.
      if (ask !== undefined && queue.length > 0 && queue.idle === 0 && staff.want()) ask()
      run(task)
    }
  } while (!staff.leave(queue))
  queue.goAway()
}

/**
 * Gives what does one task: it reads, verifies and decodes blocks into the shared cache, and brings them where they are
 * wanted: replies to their target, copies to files. Never throws: a failed block is an EIO.
 */
export function taskRunner(options: TaskOptions): (task: Task) => void {
  const { shared, store, target, log, askers } = options
  const queue = new TaskQueue(shared, options.thread)
  const slots = new Slots(shared, options.thread)
  const jobs = new JobTable(shared)
  const files = new FileJobs(shared, jobs)
  const ahead = new ReadAhead(store)
  const counters = new Counters(shared, options.thread)

  function fill(slot: number): void {
    ahead.note(slots.block(slot))
    const error = slots.fill(slot, store)
    if (error !== undefined) log('error', textOf(error), slots.block(slot).source)
  }

  /** @returns false where a block failed; the thread that tried to fill its slot has logged why. @throws FsError EIO */
  function decode(segments: Int32Array): boolean {
    // First fill all slots that no thread has claimed, then wait for those that other threads fill.
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

  /** @returns false where the answer is an error */
  function answer(job: number, segments: Int32Array): boolean {
    const token = jobs.token(job)
    try {
      if (decode(segments)) {
        sendSegments(target, token, segments)
        return true
      }
    } catch (error) {
      log('error', `READ: ${textOf(error)}`)
    }
    counters.add('failedReads')
    sendFailure(target, token, 'EIO')
    return false
  }

  /** @returns 0 or an errno */
  function toFile(job: number, segments: Int32Array): number {
    try {
      const slot = segments.findLast((one, i) => i % 3 === 0 && one !== HOLE)
      if (slot !== undefined) ahead.noteCopy(slots.block(slot))
      return decode(segments) ? files.run(job, segments) : ERRNO.EIO
    } catch (error) {
      log('error', `copy-up: ${textOf(error)}`)
      return ERRNO.EIO
    }
  }

  function run(job: number): void {
    const segments = jobs.segments(job)
    const kind = jobs.kind(job)
    if (kind === 'reply') {
      const asker = askers && jobs.asker(job)
      if (asker !== undefined) askers?.begin(asker)
      const isGood = answer(job, segments)
      unpinSegments(slots, segments)
      queue.letGo()
      jobs.release(job)
      if (asker !== undefined) askers?.end(asker, isGood)
      return
    }
    if (kind === 'fetch') runFetch(shared, jobs, store, job)
    else {
      const result = toFile(job, segments)
      unpinSegments(slots, segments)
      jobs.end(job, result)
    }
    queue.letGo()
    if (options.bell !== undefined) ringBell(options.bell)
  }

  return (task) => {
    if ('job' in task) {
      run(task.job)
    } else {
      if (slots.claim(task.slot)) fill(task.slot)
      queue.letGo()
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
