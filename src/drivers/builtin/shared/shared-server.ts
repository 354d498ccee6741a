import fs from 'node:fs'
import { FsError, type Log, MAX_BLOCK_SIZE, messageOf } from '../../../base/index.ts'
import { allocateCounters, allocateShared, MAX_MOUNTS, MountTable, TaskQueue } from '../../../fuse/index.ts'
import { ImageRegistry } from '../../../molecule/index.ts'
import { trimHeap } from '../../../sys/ffi/memory.ts'
import { deferred } from '../../../sys/plain/promises.ts'
import { openBell, ringBell } from '../../../sys/process/bell.ts'
import { collectGarbage } from '../../../sys/process/garbage.ts'
import { openMemoryPressure } from '../../../sys/process/memory-pressure.ts'
import type { RunningServer, ServeOptions } from '../../driver.ts'
import { DataWorkers } from '../data-workers.ts'
import { startThread } from '../start-thread.ts'
import { holdThreadCode } from '../thread-code.ts'
import type { Order, ServerDispatcherData, ServerMessage, ServerThreadData } from './messages.ts'
import { SharedMount } from './shared-mount.ts'

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
  readonly #table = new MountTable()
  readonly #mounts = new Map<number, SharedMount>()
  /** Places in the table that are free and were used before. */
  readonly #free: number[] = []
  readonly #news = new Int32Array(new SharedArrayBuffer(4))
  readonly #data: Omit<ServerThreadData, 'images'>
  readonly #workers: DataWorkers
  readonly #dispatcher: ReturnType<typeof startThread>
  /** Takes the place of descriptors that are let go. */
  readonly #nothing = fs.openSync('/dev/null', 'r')
  readonly #failed = deferred<void>()
  #failure: string | undefined
  #hadMounts = false

  /** To be made while paths can be resolved. */
  constructor(options: SharedServerOptions) {
    const { workers, log, cacheSize } = options
    this.#options = options
    this.images = new ImageRegistry(workers + 1)
    const shared = allocateShared(MAX_BLOCK_SIZE, SLOTS * MAX_BLOCK_SIZE, workers)
    const news = this.#news.buffer as SharedArrayBuffer
    this.#data = { shared, mounts: this.#table.memory, news, bell: openBell() }
    const onMessage = (message: ServerMessage): void => this.#onMessage(message)
    this.#workers = new DataWorkers({
      data: () => this.#threadData(),
      most: workers,
      code: holdThreadCode('data-worker', { isHurried: true }),
      log,
      onMessage: (message) => onMessage(message as ServerMessage),
      onRefused: ({ mount }) => this.#table.end(mount, false),
      onEmpty: trimHeap,
    })
    const pressure = openMemoryPressure()
    this.#dispatcher = startThread('dispatcher', 'dispatcher', {
      ...this.#threadData(),
      cacheSize,
      pressure,
    } satisfies ServerDispatcherData)
    this.#dispatcher.on('message', onMessage)
    this.#dispatcher.on('error', (error) => this.#fail(`dispatcher: ${error.stack ?? error.message}`))
    this.#dispatcher.on('exit', (code) => this.#fail(`dispatcher ended with exit code ${code}`))
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
    this.#table.reset(mount)
    const own = new SharedMount({
      ...options,
      ...{ mount, fuseFd, images, table: this.#table, shared: this.#data.shared },
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

  /** A mount that was not made lets its images go. */
  dropUnused(): void {
    const unused = this.images.unused(this.#nothing)
    const orders = unused.map(({ id }): Order => ({ type: 'drop', image: id }))
    for (const order of orders) this.#workers.tell(order)
    if (orders.length > 0) this.#order(orders)
  }

  /** Ends the threads. All mounts have ended. */
  stop(): void {
    this.#failure ??= 'the server ends'
    new TaskQueue(this.#data.shared).stop()
    this.#order([{ type: 'end' }])
  }

  #threadData(): ServerThreadData {
    return { ...this.#data, images: this.images.all() }
  }

  #order(orders: readonly Order[]): void {
    for (const order of orders) this.#dispatcher.postMessage(order)
    Atomics.add(this.#news, 0, 1)
    Atomics.notify(this.#news, 0)
    ringBell(this.#data.bell)
  }

  #onMessage(message: ServerMessage): void {
    switch (message.type) {
      case 'log':
        this.#log(message)
        return
      case 'serves':
        this.#mounts.get(message.mount)?.serves()
        return
      case 'unmounted':
        this.#end(message.mount, { reason: 'unmounted' })
        return
      case 'mount failed':
        this.#end(message.mount, { reason: 'failed', message: message.message })
        return
      case 'left':
        this.#end(message.mount, { reason: 'unmounted' })
        this.#mounts.get(message.mount)?.left()
        this.#mounts.delete(message.mount)
        this.#free.push(message.mount)
        return
      case 'dropped':
        this.images.close(message.image)
        return
      case 'prepared':
        collectGarbage()
        trimHeap()
        this.#workers.callAll()
        return
      case 'worker wanted':
        this.#workers.call()
        return
      case 'quiet':
        collectGarbage()
        trimHeap()
        return
      case 'blob':
        this.#openBlob(message)
        return
      case 'failed':
        this.#fail(message.message)
    }
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
