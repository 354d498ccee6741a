import { closeSync } from 'node:fs'
import { type Log, MAX_BLOCK_SIZE } from '../../../base/index.ts'
import { allocateRequestMemory, allocateShared, MountTable, TaskQueue } from '../../../fuse/index.ts'
import type { SharedImage } from '../../../molecule/index.ts'
import { openPoll } from '../../../sys/events/poll-set.ts'
import { trimHeap } from '../../../sys/ffi/memory.ts'
import { openBell, ringBell } from '../../../sys/process/bell.ts'
import { openMemoryPressure } from '../../../sys/process/memory-pressure.ts'
import { DataWorkers } from '../data-workers.ts'
import { DispatcherThread } from '../dispatcher-restart.ts'
import { holdThreadCode, type ThreadCode } from '../thread-code.ts'
import type { Order, ServerDispatcherData, ServerMessage, ServerThreadData } from './messages.ts'
import type { MountPool } from './shared-mount.ts'

/** Slots of the cache: memory of them that no block needs is never touched. */
const SLOTS = 512

/** What surrounds the threads of a server. */
export interface SharedServerOptions {
  /** Most bytes of decoded blocks of all mounts. */
  readonly cacheSize: number
  /** Most data workers. */
  readonly workers: number
  /** For what is about no mount. */
  readonly log: Log
}

export interface ServerThreadsOptions extends SharedServerOptions {
  /** All images that mounts have. */
  images(): readonly SharedImage[]
  onMessage(message: ServerMessage): void
  /** A thread has ended. @param thread its `threadId` */
  onExit(thread: number): void
  /** @param why the dispatcher died, in a log line */
  onDeath(why: string): void
}

/** The dispatcher of the read-only mounts of a server, and its data workers, over buffers that they share. */
export class ServerThreads {
  /** Of data workers. */
  readonly code: ThreadCode | undefined
  /** Of the request that the dispatcher handles. */
  readonly requests = allocateRequestMemory()
  readonly #options: ServerThreadsOptions
  readonly #bell = openBell()
  readonly #pressure = openMemoryPressure()
  readonly #news = new Int32Array(new SharedArrayBuffer(4))
  readonly #dispatcher: DispatcherThread<ServerMessage>
  /** By which the dispatcher waits. */
  #poll = -1
  #pool: MountPool
  #workers: DataWorkers
  /** Of dispatchers that died: resolves when they have ended. */
  #oldWorkers: Promise<void> | undefined

  /** To be made while paths can be resolved. */
  constructor(options: ServerThreadsOptions) {
    this.#options = options
    this.code = holdThreadCode('data-worker', { isHurried: true })
    this.#dispatcher = new DispatcherThread({
      mayFollow: true,
      onMessage: options.onMessage,
      onExit: (why, thread) => {
        closeSync(this.#poll)
        options.onExit(thread)
        options.onDeath(why)
      },
    })
    this.#pool = newPool(options.workers)
    this.#workers = this.#newWorkers()
    this.start()
  }

  get pool(): MountPool {
    return this.#pool
  }

  /** Starts the dispatcher, which knows of no mount yet. @throws where the machine has no room for another thread */
  start(): void {
    const { cacheSize } = this.#options
    this.#poll = openPoll()
    const data: ServerDispatcherData = {
      ...this.#data(this.#pool),
      ...{ cacheSize, pressure: this.#pressure, poll: this.#poll, request: this.requests.request },
    }
    this.#dispatcher.start(data)
  }

  /** The dispatcher has died: what its workers still do, they do in their own buffers, and the next one has others. */
  renewPool(): void {
    const oldWorkers = Promise.all([this.#oldWorkers, this.#workers.retire()]).then(() => {
      if (this.#oldWorkers === oldWorkers) this.#oldWorkers = undefined
    })
    this.#oldWorkers = oldWorkers
    this.#pool = newPool(this.#options.workers)
    this.#workers = this.#newWorkers()
  }

  /**
   * Workers of a dispatcher that died still do what they had begun: a descriptor that they know must not become another
   * file's. At once where there are none.
   */
  afterOldWorkers(close: () => void): void {
    if (this.#oldWorkers === undefined) close()
    else void this.#oldWorkers.then(close)
  }

  /** Tells the dispatcher, and the workers what they have to know. */
  order(orders: readonly Order[]): void {
    for (const order of orders) {
      if (order.type === 'image' || order.type === 'drop') this.#workers.tell(order)
      this.#dispatcher.tell(order)
    }
    Atomics.add(this.#news, 0, 1)
    Atomics.notify(this.#news, 0)
    ringBell(this.#bell)
  }

  /** One more data worker comes. */
  callWorker(): void {
    this.#workers.call()
  }

  /** All data workers come. */
  callWorkers(): void {
    this.#workers.callAll()
  }

  /** Ends them. */
  stop(): void {
    new TaskQueue(this.#pool.shared).stop()
    this.order([{ type: 'end' }])
  }

  #newWorkers(): DataWorkers {
    const { workers, log, onMessage, onExit } = this.#options
    const pool = this.#pool
    return new DataWorkers({
      data: () => this.#data(pool),
      most: workers,
      code: this.code,
      log,
      onMessage: (message) => onMessage(message as ServerMessage),
      onRefused: ({ mount }) => pool.table.end(mount, false),
      onExit,
      onEmpty: trimHeap,
    })
  }

  #data({ shared, table }: MountPool): ServerThreadData {
    const news = this.#news.buffer as SharedArrayBuffer
    return { shared, mounts: table.memory, news, bell: this.#bell, images: this.#options.images() }
  }
}

function newPool(workers: number): MountPool {
  return {
    table: new MountTable(),
    shared: allocateShared(MAX_BLOCK_SIZE, SLOTS * MAX_BLOCK_SIZE, workers),
  }
}
