import type { Worker } from 'node:worker_threads'
import { type Log, messageOf, omitUndefined } from '../../base/index.ts'
import { type Asker, abandonSlots, buryWorker, Staff, TaskQueue } from '../../fuse/index.ts'
import { hasAddressSpace } from '../../sys/ffi/memory.ts'
import { ringBell } from '../../sys/process/bell.ts'
import { Deaths, whyDied } from './deaths.ts'
import { startThread } from './start-thread.ts'
import { THREAD_ADDRESS_SPACE, type ThreadCode } from './thread-code.ts'
import type { DataWorkerData, ThreadMessage, WorkerSurroundings } from './thread-messages.ts'

/** A worker ends after so long without work for any of them. */
const REST_MS = 5000
/**
 * Each start of a thread costs some 40 KB that the FFI never gives back. After so many starts the rest doubles with each
 * one, so that a mount which is used now and then for months does not grow.
 */
const FREE_STARTS = 64
/** Years. */
const MOST_DOUBLINGS = 30
/** How long a worker may take to load its code until the dispatcher does its work. */
const START_TIMEOUT_MS = 3000
/** How long no other worker is asked for after one could not be started. */
const PAUSE_MS = 10_000

/** What surrounds the data workers of a mount. */
export interface WorkersOptions {
  /** What each gets. */
  readonly data: () => WorkerSurroundings
  readonly most: number
  /** Absent where workers can only be started while paths are resolved. */
  readonly code: ThreadCode | undefined
  /** Ends after so long without work, milliseconds; by default some seconds. */
  readonly restMs?: number | undefined
  readonly log: Log
  onMessage(message: ThreadMessage): void
  /** Told whose READ got an error because its worker died, in a server of several mounts. */
  readonly onRefused?: (asker: Asker) => void
  /** Told of each worker that has ended. @param thread its `threadId` */
  readonly onExit?: (thread: number) => void
  /** The last worker has ended for lack of work. */
  onEmpty(): void
}

/** Starts the data workers of one mount and watches over them. Used by the main thread. */
export class DataWorkers {
  readonly #options: WorkersOptions
  readonly #staff: Staff
  readonly #bell: number | undefined
  readonly #present = new Set<Worker>()
  /** Rows of the counters that no worker has, from 1. */
  readonly #rows: number[]
  readonly #exits = new Set<Promise<void>>()
  readonly #deaths = new Deaths()
  #starts = 0
  /** Workers that were started and have not loaded their code yet. */
  #coming = 0
  /** One was asked for while another was coming, which may have left again by then. */
  #isOneMoreWanted = false
  #isStopping = false

  constructor(options: WorkersOptions) {
    this.#options = options
    const { shared, bell } = options.data()
    this.#staff = new Staff(shared)
    this.#bell = bell
    this.#rows = Array.from({ length: options.most }, (_, i) => i + 1)
  }

  /** Starts all workers for the whole life of the mount. @returns when they have loaded their code */
  async startAll(): Promise<void> {
    this.#staff.stay()
    const { most } = this.#options
    await Promise.all(Array.from({ length: most }, () => this.#start(undefined)))
  }

  /** Starts all workers, which end when there is no work: the mount will soon be read. Never throws. */
  callAll(): void {
    if (this.#staff.isResident) return
    for (let i = this.#exits.size; i < this.#options.most; i++) this.#callOne()
  }

  /**
   * Starts one more worker; while another is coming, not before that one is there. It ends when there is no work. Never
   * throws.
   */
  call(): void {
    if (this.#coming > 0) this.#isOneMoreWanted = true
    else this.#callOne()
  }

  /**
   * A worker may come, work and leave before this thread hears that it has come, and the next wish be here first. Only
   * that wish stands in the staff's state by then, and nobody asks a second time.
   */
  #callOneMore(): void {
    if (this.#coming > 0 || !this.#isOneMoreWanted) return
    this.#isOneMoreWanted = false
    if (this.#staff.isAsked) this.#callOne()
  }

  #callOne(): void {
    if (this.#isStopping) return
    const { code } = this.#options
    const refuse = (why: string): void => this.#refuse(`no data worker could be started: ${why}`)
    // Those that are coming have not taken theirs yet.
    if (!hasAddressSpace(THREAD_ADDRESS_SPACE * (this.#coming + 1))) {
      refuse("the address space is limited ('ulimit -v')")
      return
    }
    const timer = setTimeout(() => refuse(`none came within ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS)
    timer.unref()
    this.#coming += 1
    this.#start(code)
      .catch((error: unknown) => refuse(messageOf(error)))
      .finally(() => {
        this.#coming -= 1
        clearTimeout(timer)
        this.#callOneMore()
      })
  }

  /** No worker comes for a while. While none is there, the dispatcher does all work. */
  #refuse(why: string): void {
    if (this.#isStopping) return
    const { log } = this.#options
    log('warn', why)
    this.#staff.refuse()
    this.#ring()
    setTimeout(() => this.#staff.allow(), PAUSE_MS).unref()
  }

  #ring(): void {
    if (this.#bell !== undefined) ringBell(this.#bell)
  }

  /** A worker died that may have had work. Another one comes, unless too many have died: then not before a pause. */
  #replace(row: number, what: string): void {
    const { code, data, log, onRefused } = this.#options
    const wasResident = this.#staff.isResident
    const around = data()
    const fuseFd = 'fuseFd' in around ? around.fuseFd : -1
    buryWorker(row, { shared: around.shared, fuseFd, ...omitUndefined({ onRefused }) })
    this.#ring()
    this.#deaths.add()
    if (this.#deaths.isEnough) {
      this.#refuse(
        `${what}; that is death ${this.#deaths.count}, and no other one comes for ${PAUSE_MS / 1000} s`,
      )
      return
    }
    log('warn', `${what}; what it had begun got EIO, and another one comes`)
    if (wasResident) this.#start(undefined).catch((error: unknown) => this.#refuse(messageOf(error)))
    else if (code !== undefined && new TaskQueue(around.shared).length > 0) this.call()
  }

  /** Tells all workers something, for a look between two tasks. */
  tell(message: object): void {
    for (const worker of this.#present) worker.postMessage(message)
  }

  /** Resolves when all workers have ended, after `TaskQueue.stop`. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#exits)
  }

  /**
   * Ends them when their dispatcher has died. They do no more than what they have begun: the next dispatcher knows nothing of
   * what lies in their buffers, and has others. @returns when they have ended
   */
  retire(): Promise<void> {
    const { shared } = this.#options.data()
    const queue = new TaskQueue(shared)
    while (queue.takeNow() !== undefined);
    queue.stop()
    abandonSlots(shared, 0)
    return this.stop()
  }

  /** @returns when the worker has loaded its code. Rejects where it ended before that, or could not start */
  async #start(code: ThreadCode | undefined): Promise<void> {
    // One that has left may not have ended yet.
    while (this.#rows.length === 0) await Promise.race(this.#exits)
    const row = this.#rows.shift()
    if (row === undefined || this.#isStopping) return
    let worker: Worker
    try {
      worker = this.#create(row, code)
    } catch (error) {
      this.#rows.unshift(row)
      throw error
    }
    await this.#watch(worker, row)
  }

  #create(row: number, code: ThreadCode | undefined): Worker {
    const { data, log, restMs = REST_MS } = this.#options
    const name = `data worker ${row}`
    const own: DataWorkerData = { ...data(), thread: row }
    if (code === undefined) return startThread('data-worker', name, own)
    this.#starts += 1
    log('debug', `data worker ${row} starts`)
    const doublings = Math.min(MOST_DOUBLINGS, Math.max(0, this.#starts - FREE_STARTS))
    return code.start(name, { ...own, restMs: restMs * 2 ** doublings })
  }

  #watch(worker: Worker, row: number): Promise<void> {
    const { onMessage, onExit, onEmpty, log } = this.#options
    const { threadId } = worker
    let phase: 'starting' | 'working' | 'left' = 'starting'
    let why: string | undefined
    this.#present.add(worker)
    return new Promise((ready, failed) => {
      worker.on('message', (message: ThreadMessage) => {
        if (message.type === 'ready') {
          phase = 'working'
          log('debug', `data worker ${row} is there`)
          ready()
        } else if (message.type === 'left') phase = 'left'
        else onMessage(message)
      })
      worker.on('error', (error) => {
        why = whyDied(error)
      })
      const exit = new Promise<void>((resolve) => {
        worker.on('exit', (exitCode) => {
          this.#exits.delete(exit)
          this.#present.delete(worker)
          this.#rows.push(row)
          onExit?.(threadId)
          const what = `data worker ${row} died: ${why ?? `exit code ${exitCode}`}`
          if (phase === 'starting') failed(new Error(what))
          else if (phase === 'working' && !this.#isStopping) this.#replace(row, what)
          else {
            // Another one of this pool may wait for what it was decoding.
            abandonSlots(this.#options.data().shared, row)
            if (why !== undefined) log('warn', what)
          }
          resolve()
          if (this.#exits.size === 0 && !this.#isStopping) onEmpty()
        })
      })
      this.#exits.add(exit)
    })
  }
}
