import fs from 'node:fs'
import type { Worker } from 'node:worker_threads'
import { FsError, type Log, MAX_BLOCK_SIZE, messageOf, omitUndefined } from '../../../base/index.ts'
import {
  abandonSlots,
  allocateCounters,
  allocateRequestMemory,
  allocateShared,
  MAX_MOUNTS,
  MountTable,
  TaskQueue,
} from '../../../fuse/index.ts'
import { ImageRegistry } from '../../../molecule/index.ts'
import { hasAddressSpace, trimHeap } from '../../../sys/ffi/memory.ts'
import { deferred } from '../../../sys/plain/promises.ts'
import { openBell, ringBell } from '../../../sys/process/bell.ts'
import { openMemoryPressure } from '../../../sys/process/memory-pressure.ts'
import type { RunningServer, ServeOptions } from '../../driver.ts'
import { DataWorkers } from '../data-workers.ts'
import { Deaths, whyDied } from '../deaths.ts'
import { whileHandling } from '../dispatcher.ts'
import { type OwnThreads, startServer } from '../server.ts'
import { startThread } from '../start-thread.ts'
import { lacksResend } from '../test-faults.ts'
import { holdThreadCode, THREAD_ADDRESS_SPACE, type ThreadCode } from '../thread-code.ts'
import { shedStart, shrinkHeap } from '../upkeep.ts'
import type { Order, ServerDispatcherData, ServerMessage, ServerThreadData } from './messages.ts'
import { type MountPool, SharedMount } from './shared-mount.ts'
import { TreeMemories } from './tree-memories.ts'

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

/**
 * The threads that serve any number of read-only mounts: one dispatcher, and data workers when there is work for them.
 * The calling thread keeps its event loop.
 */
export class SharedServer {
  readonly images: ImageRegistry
  readonly #options: SharedServerOptions
  readonly #trees = new TreeMemories()
  /** Of the request that the dispatcher handles. */
  readonly #requests = allocateRequestMemory()
  readonly #bell = openBell()
  readonly #pressure = openMemoryPressure()
  readonly #workerCode: ThreadCode | undefined
  readonly #dispatcherCode: ThreadCode | undefined
  /** Deaths of dispatchers that handled a request of no mount. */
  readonly #deaths = new Deaths()
  /** Images that are dropped and may be in use. */
  readonly #dropping = new Set<number>()
  #pool: MountPool
  /** Of dispatchers that died: resolves when they have ended. */
  #oldWorkers: Promise<void> | undefined
  readonly #mounts = new Map<number, SharedMount>()
  /** Places in the table that are free and were used before. */
  readonly #free: number[] = []
  readonly #news = new Int32Array(new SharedArrayBuffer(4))
  #workers: DataWorkers
  #dispatcher: Worker
  /** Takes the place of descriptors that are let go. */
  readonly #nothing = fs.openSync('/dev/null', 'r')
  readonly #failed = deferred<void>()
  #failure: string | undefined
  #hadMounts = false

  /** To be made while paths can be resolved. */
  constructor(options: SharedServerOptions) {
    const { workers } = options
    this.#options = options
    this.images = new ImageRegistry(workers + 1)
    this.#workerCode = holdThreadCode('data-worker', { isHurried: true })
    this.#dispatcherCode = holdThreadCode('dispatcher', { isHurried: false })
    this.#pool = newPool(workers)
    this.#workers = this.#newWorkers()
    this.#dispatcher = this.#watch(startThread('dispatcher', 'dispatcher', this.#dispatcherData()))
  }

  #newWorkers(): DataWorkers {
    const { workers, log } = this.#options
    const pool = this.#pool
    return new DataWorkers({
      data: () => this.#threadData(pool),
      most: workers,
      code: this.#workerCode,
      log,
      onMessage: (message) => this.#onMessage(message as ServerMessage),
      onRefused: ({ mount }) => pool.table.end(mount, false),
      onExit: (thread) => this.images.forgetThread(thread),
      onEmpty: trimHeap,
    })
  }

  #dispatcherData(): ServerDispatcherData {
    const { cacheSize } = this.#options
    const request = this.#requests.request
    return { ...this.#threadData(this.#pool), cacheSize, pressure: this.#pressure, request }
  }

  #watch(dispatcher: Worker): Worker {
    let why: string | undefined
    dispatcher.on('message', (message: ServerMessage) => {
      if (message.type === 'failed') why = message.message
      else this.#onMessage(message)
    })
    dispatcher.on('error', (error) => {
      why = whyDied(error)
    })
    const { threadId } = dispatcher
    dispatcher.on('exit', (code) => {
      this.images.forgetThread(threadId)
      this.#onDeath(why ?? `exit code ${code}`)
    })
    return dispatcher
  }

  /** Resolves when its threads serve nobody any more. */
  get failed(): Promise<void> {
    return this.#failed.promise
  }

  /** Number of mounts, with those that have ended and whose last jobs are under way. */
  get size(): number {
    return this.#mounts.size
  }

  /**
   * Serves a mount.
   * @param fuseFd connection to the kernel; the server closes it
   * @param options with a molecule whose images `images` has opened
   * @throws FsError ENFILE for too many mounts
   */
  serve(fuseFd: number, options: Pick<ServeOptions, 'spec' | 'kernel' | 'log'>): RunningServer {
    const mount = this.#free.pop() ?? this.#mounts.size
    if (mount >= MAX_MOUNTS) throw new FsError('ENFILE', `a server has ${MAX_MOUNTS} mounts at most`)
    const images = options.spec.images.map((spec) => {
      const image = this.images.of(spec)
      if (image === undefined) throw new FsError('EIO', `${spec.label} is no image of this server`)
      return image
    })
    this.#pool.table.reset(mount)
    const own = new SharedMount({
      ...options,
      ...{ mount, fuseFd, images, pool: this.#pool, trees: this.#trees },
      requests: allocateRequestMemory(this.#requests.request),
      cacheSize: this.#options.cacheSize,
      counters: allocateCounters(),
      leave: () => this.#order([{ type: 'leave', mount }]),
    })
    this.#mounts.set(mount, own)
    if (this.#failure !== undefined) own.end({ reason: 'failed', message: this.#failure })
    const news: Order[] = images.map((image) => ({ type: 'image', image }))
    for (const order of news) this.#workers.tell(order)
    this.#order([...news, { type: 'mount', order: own.order(!this.#hadMounts) }])
    this.#hadMounts = true
    return own.running
  }

  /**
   * Serves a mount by threads of its own: its system calls may stop, and those of others must not.
   * @param fuseFd connection to the kernel; its `stop` closes it
   */
  serveApart(fuseFd: number, options: Pick<ServeOptions, 'spec' | 'kernel' | 'log'>): OwnThreads {
    const { cacheSize, workers } = this.#options
    const lasting = { code: this.#workerCode, nothing: this.#nothing }
    return startServer(fuseFd, { ...options, cacheSize, workers }, lasting)
  }

  /** A mount that was not made lets its images go. */
  dropUnused(): void {
    const unused = this.images.unused(this.#nothing)
    const orders = unused.map(({ id }): Order => ({ type: 'drop', image: id }))
    for (const order of orders) this.#workers.tell(order)
    for (const { id } of unused) this.#dropping.add(id)
    if (orders.length > 0) this.#order(orders)
  }

  /** Ends the threads. All mounts have ended. */
  stop(): void {
    this.#failure ??= 'the server ends'
    new TaskQueue(this.#pool.shared).stop()
    this.#order([{ type: 'end' }])
  }

  #threadData({ shared, table }: MountPool): ServerThreadData {
    const news = this.#news.buffer as SharedArrayBuffer
    return { shared, mounts: table.memory, news, bell: this.#bell, images: this.images.all() }
  }

  #order(orders: readonly Order[]): void {
    for (const order of orders) this.#dispatcher.postMessage(order)
    Atomics.add(this.#news, 0, 1)
    Atomics.notify(this.#news, 0)
    ringBell(this.#bell)
  }

  #onMessage(message: ServerMessage): void {
    switch (message.type) {
      case 'log':
        this.#log(message)
        return
      case 'serves':
        this.#mounts.get(message.mount)?.serves(message.negotiated)
        return
      case 'unmounted':
        this.#end(message.mount, { reason: 'unmounted' })
        return
      case 'mount failed':
        this.#end(message.mount, { reason: 'failed', message: message.message })
        return
      case 'left':
        this.#leave(message.mount)
        return
      case 'directories':
        this.#trees.add(message.tree, message.chunk)
        return
      case 'dropped':
        this.#drop(message.image)
        return
      case 'prepared':
        shedStart()
        this.#workers.callAll()
        return
      case 'worker wanted':
        this.#workers.call()
        return
      case 'quiet':
        shrinkHeap()
        return
      case 'blob':
        this.#openBlob(message)
        return
      case 'failed':
        return
    }
  }

  /** No job of this dispatcher and its workers names a mount any more. */
  #leave(mount: number): void {
    const own = this.#mounts.get(mount)
    if (own === undefined) return
    this.#end(mount, { reason: 'unmounted' })
    this.#afterOldWorkers(() => {
      if (this.#mounts.get(mount) !== own) return
      own.left()
      this.#mounts.delete(mount)
      this.#free.push(mount)
    })
  }

  /** This dispatcher and its workers do not use an image any more. */
  #drop(image: number): void {
    this.#afterOldWorkers(() => {
      if (this.#dropping.delete(image)) this.images.close(image)
    })
  }

  /**
   * Workers of a dispatcher that died still do what they had begun: a descriptor that they know must not become another
   * file's. At once where there are none.
   */
  #afterOldWorkers(close: () => void): void {
    if (this.#oldWorkers === undefined) close()
    else void this.#oldWorkers.then(close)
  }

  /**
   * Another dispatcher goes on with all mounts but those that end, with buffers of its own: what the workers of the one that
   * died still do, they do in theirs.
   */
  #onDeath(why: string): void {
    if (this.#failure !== undefined) return
    const mounts = [...this.#mounts.values()]
    const killer = mounts.find((one) => one.isServed && one.leftBehind.handled !== undefined)
    const deaths = killer?.deaths ?? this.#deaths
    deaths.add()
    const what = `the dispatcher died${whileHandling(killer?.leftBehind)}: ${why}`
    const last = `that is death ${deaths.count}`
    const isTooMuch = killer === undefined && deaths.isEnough
    if (isTooMuch || !hasAddressSpace(THREAD_ADDRESS_SPACE)) {
      this.#fail(`${what}; ${isTooMuch ? last : 'there is no room for another one'}, and all mounts end`)
      return
    }
    const oldWorkers = Promise.all([this.#oldWorkers, this.#endWorkers()]).then(() => {
      if (this.#oldWorkers === oldWorkers) this.#oldWorkers = undefined
    })
    this.#oldWorkers = oldWorkers
    this.#pool = newPool(this.#options.workers)
    this.#workers = this.#newWorkers()
    for (const one of mounts) {
      if (!one.isServed) continue
      const isLost = one.renew(this.#pool, !lacksResend()) === 'some are lost'
      const isTooMuch = one === killer && deaths.isEnough
      const reason = isTooMuch ? `${last}, and the mount ends` : isLost ? 'requests are lost' : one.whyMortal
      if (reason !== undefined) this.#end(one.mount, { reason: 'failed', message: `${what}; ${reason}` })
    }
    const [served, over] = [mounts.filter((one) => one.isServed), mounts.filter((one) => !one.isServed)]
    // The dispatcher that was to let them go is gone.
    for (const { mount } of over) this.#leave(mount)
    for (const image of this.#dropping) this.#drop(image)
    try {
      const data = this.#dispatcherData()
      const name = 'dispatcher'
      this.#dispatcher = this.#watch(this.#dispatcherCode?.start(name, data) ?? startThread(name, name, data))
      this.#order(served.map((one, i): Order => ({ type: 'mount', order: one.order(i === 0) })))
      this.#hadMounts = served.length > 0
    } catch (error) {
      this.#fail(`${what}; ${messageOf(error)}`)
      return
    }
    if (killer?.isServed !== false) {
      const concerns = omitUndefined({ mount: killer?.mount })
      this.#log({ type: 'log', level: 'warn', message: `${what}; another one goes on`, ...concerns })
    }
  }

  /** @returns when the workers have ended, which do no more than what they have begun */
  #endWorkers(): Promise<void> {
    const { shared } = this.#pool
    const queue = new TaskQueue(shared)
    while (queue.takeNow() !== undefined);
    queue.stop()
    abandonSlots(shared, 0)
    return this.#workers.stop()
  }

  #end(mount: number, reason: Parameters<SharedMount['end']>[0]): void {
    const own = this.#mounts.get(mount)
    if (own === undefined) return
    for (const spec of own.release()) this.images.release(spec)
    // Before anything else: the file systems of the images may be unmounted next.
    this.dropUnused()
    own.end(reason)
  }

  /** What is about an image is for all mounts that show it. */
  #log({ level, message, mount, image }: Extract<ServerMessage, { type: 'log' }>): void {
    const all = [...this.#mounts.values()]
    const concerned =
      mount !== undefined
        ? all.filter((one) => one.mount === mount)
        : image !== undefined
          ? all.filter((one) => one.shows(image))
          : undefined
    if (concerned === undefined) this.#options.log(level, message)
    else for (const one of concerned) one.log(level, message)
  }

  #openBlob({ image, blob, wish }: Extract<ServerMessage, { type: 'blob' }>): void {
    try {
      this.images.openBlob(image, blob, wish)
    } catch (error) {
      this.#log({ type: 'log', level: 'error', message: messageOf(error), image })
    }
  }

  /** Requests that a thread had taken would wait for ever: ending the mounts is better than hanging ones. */
  #fail(message: string): void {
    if (this.#failure !== undefined) return
    this.#failure = message
    this.#failed.resolve()
    this.#options.log('error', message)
    for (const { mount } of [...this.#mounts.values()]) this.#end(mount, { reason: 'failed', message })
  }
}

function newPool(workers: number): MountPool {
  return {
    table: new MountTable(),
    shared: allocateShared(MAX_BLOCK_SIZE, SLOTS * MAX_BLOCK_SIZE, workers),
  }
}
