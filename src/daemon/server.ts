import fs from 'node:fs'
import { Worker } from 'node:worker_threads'
import { FsError } from '../base/index.ts'
import { allocateShared, type LogLevel, pendingAges, readCounters, TaskQueue } from '../fuse/index.ts'
import { allocateTally, readTally } from '../molecule.ts'
import type { MountStatus } from './control-protocol.ts'
import type { EndReason, RunningServer, ServerOptions } from './server-types.ts'
import type { DataWorkerData, DispatcherData, ThreadMessage } from './thread-messages.ts'

/**
 * Heap of one thread, MiB. What is large (decoded blocks, replies) lies outside of the heap and is bounded elsewhere;
 * a small young generation keeps short-lived objects from spreading over memory that then stays resident.
 */
const HEAP_LIMITS = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 512 }

/** Different errors that are logged; more of them say nothing new. */
const TOLD_ERRORS = 1000

/** How long `stop` waits for threads that are still in a read from a slow disk. */
const STOP_TIMEOUT_MS = 400

/**
 * Starts the threads that serve one mount: a dispatcher and `threads` data workers over shared buffers. The
 * calling thread keeps its event loop for signals and the control channel.
 */
export function startServer(options: ServerOptions): RunningServer {
  const { spec, fuseFd, threads, log } = options
  const shared = allocateShared(spec.blockSize, options.cacheSize, threads)
  const ready = deferred<void>()
  const ended = deferred<EndReason>()
  const exits: Promise<void>[] = []
  const told = new Set<string>()
  let stopping = false

  function end(reason: EndReason): void {
    ended.resolve(reason)
    // The threads have told bugs from damage already: this text is for the user as it is.
    const why = reason.reason === 'failed' ? reason.message : 'unmounted before it was ready'
    ready.reject(new FsError('EIO', why))
  }

  /** Damage that many readers meet in many threads is one line. */
  function logOnce(level: LogLevel, message: string): void {
    if (level !== 'error') log(level, message)
    else if (!told.has(message) && told.size < TOLD_ERRORS) {
      told.add(message)
      log(level, message)
    }
  }

  function start(file: string, name: string, workerData: DispatcherData | DataWorkerData): void {
    const worker = new Worker(new URL(file, import.meta.url), {
      name,
      workerData,
      resourceLimits: HEAP_LIMITS,
    })
    worker.on('message', (message: ThreadMessage) => {
      if (message.type === 'log') logOnce(message.level, message.message)
      else if (message.type === 'ready') ready.resolve()
      else if (message.type === 'unmounted') end({ reason: 'unmounted' })
      else end({ reason: 'failed', message: message.message })
    })
    worker.on('error', (error) =>
      end({ reason: 'failed', message: `${name}: ${error.stack ?? error.message}` }),
    )
    exits.push(
      new Promise((resolve) => {
        worker.on('exit', (code) => {
          // Requests that this thread had taken would wait for ever: better no mount than a hanging one.
          if (!stopping) end({ reason: 'failed', message: `${name} ended with exit code ${code}` })
          resolve()
        })
      }),
    )
  }

  const images = spec.images.length
  const tally = allocateTally(threads + 1, images)
  const data = { spec, shared, fuseFd, tally }
  start('./dispatcher.js', 'dispatcher', { ...data, debug: options.debug })
  // Until the first request is answered the dispatcher needs the CPUs; reads wait in the queue that long.
  const startWorkers = (): void => {
    for (let thread = 1; thread <= threads && !stopping; thread++) {
      start('./data-worker.js', `data worker ${thread}`, { ...data, thread })
    }
  }
  ready.promise.then(startWorkers, () => undefined)
  // Whoever does not wait for `ready` learns of the failure from `ended`.
  ready.promise.catch(() => undefined)

  return {
    ready: ready.promise,
    ended: ended.promise,
    stats: () => ({
      pending: pendingOf(pendingAges(shared)),
      counters: readCounters(shared),
      cacheSize: shared.slotCount * shared.slotSize,
      layers: spec.images.map(({ label, verity }, image) => {
        const { blocksChecked, failures } = readTally(tally, images, image)
        const state = verity === undefined ? 'unverified' : failures > 0 ? 'failed' : 'verified'
        return { label, state, blocksChecked, failures }
      }),
    }),
    async stop() {
      stopping = true
      new TaskQueue(shared).stop()
      const timeout = new Promise<void>((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref())
      await Promise.race([Promise.all(exits), timeout])
      fs.closeSync(fuseFd)
    },
  }
}

function pendingOf(ages: readonly number[]): MountStatus['pending'] {
  return { reads: ages.length, oldestMs: Math.max(0, ...ages) }
}

/** `Promise.withResolvers`, which Node 20 lacks. */
function deferred<T>(): {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (reason: Error) => void
} {
  let resolve: (value: T) => void = () => undefined
  let reject: (reason: Error) => void = () => undefined
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue
    reject = onError
  })
  return { promise, resolve, reject }
}
