import fs from 'node:fs'
import { FsError, messageOf, type SourceId } from '../../base/index.ts'
import {
  allocateShared,
  GateKeeper,
  operationName,
  pendingAges,
  readCounters,
  readOpcodes,
  type SharedBuffers,
  TaskQueue,
} from '../../fuse/index.ts'
import { allocateTally, BlobKeepers } from '../../molecule/index.ts'
import { deferred } from '../../sys/plain/promises.ts'
import { openBell, ringBell } from '../../sys/process/bell.ts'
import type { EntryName } from '../../threads.ts'
import type { EndReason, RunningServer, ServeOptions, ServerStats } from '../driver.ts'
import { layerStatus, tellOnce } from '../layer-status.ts'
import { startThread } from './start-thread.ts'
import type { DataWorkerData, DispatcherData, ThreadMessage } from './thread-messages.ts'

/** How long `stop` waits for threads that read from a slow disk. */
const STOP_TIMEOUT_MS = 400

/**
 * Starts the threads that serve one mount: a dispatcher and `workers` data workers over shared buffers. The
 * calling thread keeps its event loop for signals and the control channel.
 * @param fuseFd connection to the kernel; `stop` closes it
 */
export function startServer(fuseFd: number, options: ServeOptions): RunningServer {
  const { spec, workers } = options
  const log = tellOnce(options.log)
  const shared = allocateShared(spec.blockSize, options.cacheSize, workers)
  const ready = deferred<void>()
  const loaded = deferred<void>()
  const ended = deferred<EndReason>()
  const exits: Promise<void>[] = []
  const keepers = new BlobKeepers(spec)
  let stopping = false

  function end(reason: EndReason): void {
    ended.resolve(reason)
    // The thread has already separated bugs from damage: the user gets its text as it is.
    const why = reason.reason === 'failed' ? reason.message : 'unmounted before it was ready'
    ready.reject(new FsError('EIO', why))
    if (reason.reason === 'failed') loaded.reject(new FsError('EIO', why))
    else loaded.resolve()
  }

  function openBlob(image: SourceId, blob: number): void {
    try {
      keepers.open(image, blob)
    } catch (error) {
      log('error', `${spec.images[image]?.label}: ${messageOf(error)}`)
    }
  }

  function start(
    entry: EntryName,
    name: string,
    workerData: DispatcherData | DataWorkerData,
    onReady: () => void,
  ): void {
    const worker = startThread(entry, name, workerData)
    worker.on('message', (message: ThreadMessage) => {
      if (message.type === 'log') log(message.level, message.message)
      else if (message.type === 'ready') onReady()
      else if (message.type === 'blob') openBlob(message.image, message.blob)
      else if (message.type === 'unmounted') end({ reason: 'unmounted' })
      else end({ reason: 'failed', message: message.message })
    })
    worker.on('error', (error) =>
      end({ reason: 'failed', message: `${name}: ${error.stack ?? error.message}` }),
    )
    exits.push(
      new Promise((resolve) => {
        worker.on('exit', (code) => {
          // Requests that this thread had taken would wait for ever: ending the mount is better than a hanging one.
          if (!stopping) end({ reason: 'failed', message: `${name} ended with exit code ${code}` })
          resolve()
        })
      }),
    )
  }

  const tally = allocateTally(workers + 1, spec.images.length)
  const bell = workers === 0 ? undefined : openBell()
  const gate = new GateKeeper(() => {
    if (bell !== undefined && !stopping) ringBell(bell)
  })
  const data = { spec, shared, fuseFd, bell, tally }
  let loading = workers
  const workerIsReady = (): void => {
    loading -= 1
    if (loading === 0) loaded.resolve()
  }
  // The dispatcher needs the CPUs until it has answered INIT; READs wait in the queue until workers run.
  const startWorkers = (): void => {
    for (let thread = 1; thread <= workers && !stopping; thread++) {
      start('data-worker', `data worker ${thread}`, { ...data, thread }, workerIsReady)
    }
    if (workers === 0) loaded.resolve()
  }
  start('dispatcher', 'dispatcher', { ...data, kernel: options.kernel, gate: gate.memory }, () => {
    ready.resolve()
    startWorkers()
  })
  // A caller that does not wait for `ready` learns of the failure from `ended`.
  ready.promise.catch(() => undefined)
  loaded.promise.catch(() => undefined)

  return {
    ready: ready.promise,
    loaded: loaded.promise,
    ended: ended.promise,
    holdChanges: () => gate.hold(),
    stats: () => ({
      pending: pendingOf(pendingAges(shared)),
      counters: readCounters(shared),
      operations: operationsOf(shared),
      cacheSize: shared.slotCount * shared.slotSize,
      layers: layerStatus(spec, tally),
    }),
    async stop() {
      stopping = true
      new TaskQueue(shared).stop()
      const timeout = new Promise<void>((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref())
      await Promise.race([Promise.all(exits), timeout])
      fs.closeSync(fuseFd)
      if (bell !== undefined) fs.closeSync(bell)
    },
  }
}

function operationsOf(shared: SharedBuffers): ServerStats['operations'] {
  const sums: Record<string, number> = {}
  for (const [opcode, count] of readOpcodes(shared)) {
    const name = operationName(opcode)
    sums[name] = (sums[name] ?? 0) + count
  }
  return sums
}

function pendingOf(ages: readonly number[]): ServerStats['pending'] {
  return { reads: ages.length, oldestMs: Math.max(0, ...ages) }
}
