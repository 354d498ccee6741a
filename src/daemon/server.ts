import fs from 'node:fs'
import { Worker } from 'node:worker_threads'
import { allocateShared, readCounters, TaskQueue } from '../fuse/index.ts'
import { allocateTally, readTally } from '../molecule.ts'
import type { EndReason, RunningServer, ServerOptions } from './server-types.ts'
import type { DataWorkerData, DispatcherData, ThreadMessage } from './thread-messages.ts'

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
  let stopping = false

  function end(reason: EndReason): void {
    ended.resolve(reason)
    ready.reject(new Error(reason.reason === 'failed' ? reason.message : 'unmounted before it was ready'))
  }

  function start(file: string, name: string, workerData: DispatcherData | DataWorkerData): void {
    const worker = new Worker(new URL(file, import.meta.url), { name, workerData })
    worker.on('message', (message: ThreadMessage) => {
      if (message.type === 'log') log(message.level, message.message)
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
  for (let thread = 1; thread <= threads; thread++) {
    start('./data-worker.js', `data worker ${thread}`, { ...data, thread })
  }
  // Whoever does not wait for `ready` learns of the failure from `ended`.
  ready.promise.catch(() => undefined)

  return {
    ready: ready.promise,
    ended: ended.promise,
    stats: () => ({
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
