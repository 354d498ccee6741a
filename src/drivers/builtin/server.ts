import fs from 'node:fs'
import { FsError, messageOf, type SourceId } from '../../base/index.ts'
import {
  allocateShared,
  GateKeeper,
  pendingAges,
  readCounters,
  readOpcodes,
  type SharedBuffers,
  TaskQueue,
} from '../../fuse/index.ts'
import { allocateTally, BlobKeepers, type BlobWish, type PackageNeed } from '../../molecule/index.ts'
import { trimHeap } from '../../sys/ffi/memory.ts'
import { replaceDescriptor } from '../../sys/files/descriptor.ts'
import { deferred } from '../../sys/plain/promises.ts'
import { openBell, ringBell } from '../../sys/process/bell.ts'
import { KeptDescriptors } from '../../sys/process/kept-descriptors.ts'
import { openMemoryPressure } from '../../sys/process/memory-pressure.ts'
import type { EndReason, RunningServer, ServeOptions } from '../driver.ts'
import { layerStatus, tellOnce } from '../layer-status.ts'
import { DataWorkers } from './data-workers.ts'
import { Dispatcher } from './dispatcher.ts'
import { operationsOf, pendingOf } from './server-stats.ts'
import { holdThreadCode, type ThreadCode } from './thread-code.ts'
import type { ThreadData, ThreadMessage } from './thread-messages.ts'
import { shedStart, shrinkHeap } from './upkeep.ts'

/** How long `stop` waits for threads that read from a slow disk. */
const STOP_TIMEOUT_MS = 400

/** What a process has that goes on after the mount. */
export interface LastingProcess {
  /** For data workers. */
  readonly code: ThreadCode | undefined
  /** A descriptor of an empty file. */
  readonly nothing: number
}

/** A mount with threads of its own. */
export interface OwnThreads extends RunningServer {
  /** Resolves after `stop`, when they have ended: nothing uses the descriptors of the mount any more. */
  readonly over: Promise<void>
}

/**
 * Starts the threads that serve one mount: a dispatcher, and up to `workers` data workers when there is work for them,
 * over shared buffers. The calling thread keeps its event loop for signals and the control channel.
 * @param fuseFd connection to the kernel; `stop` closes it
 * @param lasting absent in a process that ends with the mount
 */
export function startServer(fuseFd: number, options: ServeOptions, lasting?: LastingProcess): OwnThreads {
  const { spec, workers } = options
  const log = tellOnce(options.log)
  let shared = allocateShared(spec.blockSize, options.cacheSize, workers)
  const ready = deferred<void>()
  const loaded = deferred<void>()
  const ended = deferred<EndReason>()
  const keepers = new BlobKeepers(spec)
  let serves = false
  let stopping = false

  function end(reason: EndReason): void {
    ended.resolve(reason)
    // The thread has already separated bugs from damage: the user gets its text as it is.
    const why = reason.reason === 'failed' ? reason.message : 'unmounted before it was ready'
    ready.reject(new FsError('EIO', why))
    if (reason.reason === 'failed') loaded.reject(new FsError('EIO', why))
    else loaded.resolve()
  }

  function openBlob(image: SourceId, blob: number, wish: BlobWish): void {
    try {
      keepers.open(image, blob, wish)
    } catch (error) {
      log('error', `${spec.images[image]?.label}: ${messageOf(error)}`)
    }
  }

  function onMessage(message: ThreadMessage): void {
    switch (message.type) {
      case 'log':
        log(message.level, message.message)
        return
      case 'serves':
        ready.resolve()
        void staffWorkers(message.packages)
        return
      case 'prepared':
        // What the start left in this thread would stay until the mount is quiet for the first time.
        shedStart()
        // What directories of the machine hold needs no decoding, and the dispatcher copies what is in memory.
        if (spec.images.length > 0) dataWorkers.callAll()
        return
      case 'worker wanted':
        dataWorkers.call()
        return
      case 'quiet':
        shrinkHeap()
        return
      case 'blob':
        openBlob(message.image, message.blob, message.wish)
        return
    }
  }

  /**
   * The dispatcher needs the CPUs until it has answered INIT; READs wait in the queue until workers run. Those of a
   * later dispatcher load no package, as that one does not: paths may lead into the mount by then.
   */
  async function staffWorkers(packages: PackageNeed): Promise<void> {
    const mayResolve = !serves
    serves = true
    try {
      if (code === undefined || (packages !== 'none' && mayResolve)) await dataWorkers.startAll()
      loaded.resolve()
    } catch (error) {
      end({ reason: 'failed', message: messageOf(error) })
    }
  }

  const kept = lasting === undefined ? undefined : new KeptDescriptors()
  const tally = allocateTally(workers + 1, spec.images.length)
  const bell = workers === 0 ? undefined : openBell()
  const pressure = openMemoryPressure()
  const gate = new GateKeeper(() => {
    if (bell !== undefined && !stopping) ringBell(bell)
  })
  const threadData = (): ThreadData => ({ spec, shared, fuseFd, bell, tally })
  const code =
    workers === 0
      ? undefined
      : lasting === undefined
        ? holdThreadCode('data-worker', { isHurried: true })
        : lasting.code
  const newWorkers = (data = threadData()): DataWorkers =>
    new DataWorkers({
      data: () => data,
      most: workers,
      code,
      restMs: options.restMs,
      log,
      onMessage,
      onExit: (thread) => keepers.forgetThread(thread),
      onEmpty: trimHeap,
    })
  let dataWorkers = newWorkers()

  function renewBuffers(): SharedBuffers {
    const old = shared
    void dataWorkers.retire()
    shared = { ...allocateShared(spec.blockSize, options.cacheSize, workers), counters: old.counters }
    dataWorkers = newWorkers()
    return old
  }

  const dispatcher = new Dispatcher({
    fuseFd,
    served: options,
    log,
    data: () => ({
      ...threadData(),
      ...{ kernel: options.kernel, gate: gate.memory, pressure },
      ...{ isOneOfMany: lasting !== undefined, kept: kept?.memory },
    }),
    onMessage,
    onEnd: end,
    onExit: (thread) => keepers.forgetThread(thread),
    renewBuffers,
  })
  // A caller that does not wait for `ready` learns of the failure from `ended`.
  ready.promise.catch(() => undefined)
  loaded.promise.catch(() => undefined)

  const over = deferred<void>()

  function close(): void {
    fs.closeSync(fuseFd)
    // What a dispatcher that died had open of the upper.
    kept?.closeAll()
    for (const fd of [bell, pressure]) if (fd !== undefined) fs.closeSync(fd)
    if (lasting !== undefined) trimHeap()
    over.resolve()
  }

  return {
    over: over.promise,
    ready: ready.promise,
    loaded: loaded.promise,
    ended: ended.promise,
    holdChanges: () => gate.hold(),
    stats: () => ({
      pending: pendingOf(pendingAges(shared)),
      counters: readCounters(shared),
      operations: operationsOf(readOpcodes(shared)),
      cacheSize: shared.slotCount * shared.slotSize,
      layers: layerStatus(spec, tally),
    }),
    async stop() {
      stopping = true
      new TaskQueue(shared).stop()
      const timeout = new Promise<void>((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref())
      const threads = Promise.all([dispatcher.stop(), dataWorkers.stop()])
      if (lasting === undefined) {
        await Promise.race([threads, timeout])
        close()
        return
      }
      // While a thread may use them, their numbers must not become other files.
      const ended = threads.then(close)
      const isLate = await Promise.race([ended.then(() => false), timeout.then(() => true)])
      if (!isLate) return
      // The connection ends, and with it the dispatcher.
      replaceDescriptor(lasting.nothing, fuseFd)
      if (bell !== undefined) ringBell(bell)
    },
  }
}
