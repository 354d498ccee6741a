import fs from 'node:fs'
import { FsError, messageOf, omitUndefined } from '../../../base/index.ts'
import { allocateCounters, allocateRequestMemory, MAX_MOUNTS } from '../../../fuse/index.ts'
import { ImageRegistry } from '../../../molecule/index.ts'
import { deferred } from '../../../sys/plain/promises.ts'
import type { RunningServer, ServeOptions } from '../../driver.ts'
import { Deaths } from '../deaths.ts'
import { deathText, whyLast } from '../dispatcher-restart.ts'
import { type OwnThreads, startServer } from '../server.ts'
import { lacksResend } from '../test-faults.ts'
import { shedStart, shrinkHeap } from '../upkeep.ts'
import type { Order, ServerMessage } from './messages.ts'
import { ServerThreads, type SharedServerOptions } from './server-threads.ts'
import { SharedMount } from './shared-mount.ts'
import { TreeMemories } from './tree-memories.ts'

/**
 * The mounts of a server and their images, as the main thread sees them, which keeps its event loop. Read-only mounts of
 * images have one dispatcher and its data workers in common; all others have threads of their own.
 */
export class SharedServer {
  readonly images: ImageRegistry
  readonly #options: SharedServerOptions
  readonly #threads: ServerThreads
  readonly #trees = new TreeMemories()
  /** Deaths of dispatchers that handled a request of no mount. */
  readonly #deaths = new Deaths()
  /** Images that are dropped and may be in use. */
  readonly #dropping = new Set<number>()
  readonly #mounts = new Map<number, SharedMount>()
  /** Places in the table that are free and were used before. */
  readonly #free: number[] = []
  /** Takes the place of descriptors that are let go. */
  readonly #nothing = fs.openSync('/dev/null', 'r')
  readonly #failed = deferred<void>()
  #failure: string | undefined
  #hadMounts = false

  /** To be made while paths can be resolved. */
  constructor(options: SharedServerOptions) {
    this.#options = options
    this.images = new ImageRegistry(options.workers + 1)
    this.#threads = new ServerThreads({
      ...options,
      images: () => this.images.all(),
      onMessage: (message) => this.#onMessage(message),
      onExit: (thread) => this.images.forgetThread(thread),
      onDeath: (why) => this.#onDeath(why),
    })
  }

  /** Resolves when its threads serve nobody any more. */
  get failed(): Promise<void> {
    return this.#failed.promise
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
    this.#threads.pool.table.reset(mount)
    const own = new SharedMount({
      ...options,
      ...{ mount, fuseFd, images, pool: this.#threads.pool, trees: this.#trees },
      requests: allocateRequestMemory(this.#threads.requests.request),
      cacheSize: this.#options.cacheSize,
      counters: allocateCounters(),
      leave: () => this.#threads.order([{ type: 'leave', mount }]),
    })
    this.#mounts.set(mount, own)
    if (this.#failure !== undefined) own.end({ reason: 'failed', message: this.#failure })
    const news = images.map((image): Order => ({ type: 'image', image }))
    this.#threads.order([...news, { type: 'mount', order: own.order(!this.#hadMounts) }])
    this.#hadMounts = true
    return own.running
  }

  /**
   * Serves a mount by threads of its own: its system calls may stop, and those of others must not.
   * @param fuseFd connection to the kernel; its `stop` closes it
   */
  serveApart(fuseFd: number, options: Pick<ServeOptions, 'spec' | 'kernel' | 'log'>): OwnThreads {
    const { cacheSize, workers } = this.#options
    const lasting = { code: this.#threads.code, nothing: this.#nothing }
    return startServer(fuseFd, { ...options, cacheSize, workers }, lasting)
  }

  /** A mount that was not made lets its images go. */
  dropUnused(): void {
    const unused = this.images.unused(this.#nothing)
    const orders = unused.map(({ id }): Order => ({ type: 'drop', image: id }))
    for (const { id } of unused) this.#dropping.add(id)
    if (orders.length > 0) this.#threads.order(orders)
  }

  /** Ends the threads. All mounts have ended. */
  stop(): void {
    this.#failure ??= 'the server ends'
    this.#threads.stop()
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
        this.#threads.callWorkers()
        return
      case 'worker wanted':
        this.#threads.callWorker()
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
    this.#threads.afterOldWorkers(() => {
      if (this.#mounts.get(mount) !== own) return
      own.left()
      this.#mounts.delete(mount)
      this.#free.push(mount)
    })
  }

  /** This dispatcher and its workers do not use an image any more. */
  #drop(image: number): void {
    this.#threads.afterOldWorkers(() => {
      if (this.#dropping.delete(image)) this.images.close(image)
    })
  }

  /** Another dispatcher goes on with all mounts but those that end. */
  #onDeath(why: string): void {
    if (this.#failure !== undefined) return
    const mounts = [...this.#mounts.values()]
    const killer = mounts.find((one) => one.isServed && one.leftBehind.handled !== undefined)
    const deaths = killer?.deaths ?? this.#deaths
    deaths.add()
    const what = deathText(killer?.leftBehind, why)
    const last = whyLast(this.#deaths, 'all mounts end')
    if (last !== undefined) {
      this.#fail(`${what}; ${last}`)
      return
    }
    this.#threads.renewPool()
    for (const one of mounts) {
      if (!one.isServed) continue
      const isLost = one.renew(this.#threads.pool, !lacksResend()) === 'some are lost'
      const end = one === killer ? whyLast(deaths, 'the mount ends') : undefined
      const reason = end ?? (isLost ? 'requests are lost' : one.whyMortal)
      if (reason !== undefined) this.#end(one.mount, { reason: 'failed', message: `${what}; ${reason}` })
    }
    const [served, over] = [mounts.filter((one) => one.isServed), mounts.filter((one) => !one.isServed)]
    // The dispatcher that was to let them go is gone.
    for (const { mount } of over) this.#leave(mount)
    for (const image of this.#dropping) this.#drop(image)
    try {
      this.#threads.start()
      this.#threads.order(served.map((one, i): Order => ({ type: 'mount', order: one.order(i === 0) })))
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
    if (mount === undefined && image === undefined) this.#options.log(level, message)
    for (const one of this.#mounts.values()) {
      if (one.mount === mount || (image !== undefined && one.shows(image))) one.log(level, message)
    }
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
