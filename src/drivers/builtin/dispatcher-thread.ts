import '../../sys/plain/own-packages.ts'
import { parentPort } from 'node:worker_threads'
import { type Log, messageOf, omitUndefined, Turn } from '../../base/index.ts'
import {
  ChangeGate,
  Counters,
  GatherReply,
  InlineDataPath,
  type Negotiated,
  PooledBackground,
  PooledDataPath,
  PooledFetcher,
  Protocol,
  rehearse,
  runDeviceLoop,
  taskRunner,
  WorkerPool,
} from '../../fuse/index.ts'
import {
  type AskForBlob,
  emptyUpper,
  hasHostDirectories,
  layerDescriptors,
  NarrowInodes,
  openMolecule,
  openWithUpper,
  Patience,
  packageNeed,
  prepareRehearsal,
  readHostFile,
  syncUpper,
  takesChanges,
  type UpperSpec,
  watchImages,
} from '../../molecule/index.ts'
import { replaceDescriptor } from '../../sys/files/descriptor.ts'
import { isHostRoot } from '../../sys/plain/namespaces.ts'
import { isCompiledCodeSaved, saveCompiledCode } from '../../sys/process/code-cache.ts'
import { collectGarbage } from '../../sys/process/garbage.ts'
import { KeptDescriptors } from '../../sys/process/kept-descriptors.ts'
import { clearUmaskHere } from '../../sys/process/session.ts'
import { faultText } from './fault-text.ts'
import type { ServerDispatcherData } from './shared/messages.ts'
import { serveMounts } from './shared/serve-mounts.ts'
import { dyingCounter, testFault } from './test-faults.ts'
import { threadData } from './thread-data.ts'
import type { DispatcherData, ThreadMessage } from './thread-messages.ts'
import { dropThreadPrivileges, keepDirectoryPrivileges } from './thread-privileges.ts'
import { upkeep } from './upkeep.ts'

/**
 * Entry of the dispatcher thread. It owns all file-system state and is the only reader of the device. It runs the
 * device loop until the file system is unmounted. In a server of several mounts it serves all of them.
 */

/** Empty reads of the device before poll(2), some 100 µs: a client that lists a tree sends its next request by then. */
const SPINS = 300
/** The dispatcher decodes a lone missing block up to this many bytes itself, instead of handing it to a worker. */
const INLINE_LIMIT = 128 << 10
/** Bytes of decoded blocks kept for READs that the shared cache cannot take. */
const FALLBACK_CACHE = 2 << 20

function tell(message: ThreadMessage): void {
  parentPort?.postMessage(message)
}

const data = threadData<DispatcherData | ServerDispatcherData>()
if ('mounts' in data) {
  serveMounts(data)
  // Of this thread.
  process.exit()
}
const { spec, shared, fuseFd, bell, tally, kernel, gate, pressure, legacy, isOneOfMany, kept } = data
const log: Log = (level, message) => tell({ type: 'log', level, message })

try {
  const watch = watchImages(tally, 0, spec.images.length, (message) => log('error', message))
  const pool = new WorkerPool(shared, () => tell({ type: 'worker wanted' }))
  const hasWorkers = shared.workers > 0 && bell !== undefined
  const background = hasWorkers ? new PooledBackground(pool) : undefined
  const turn = new Turn()
  const fetcher = new PooledFetcher(pool, (image) => spec.images[image]?.source.size ?? 0)
  const patience = hasWorkers ? new Patience(turn, fetcher) : undefined
  const askForBlob: AskForBlob = (image, blob, wish) => tell({ type: 'blob', image, blob, wish })
  const warn = (message: string): void => log('warn', message)
  const memory = legacy && {
    generation: legacy.generation,
    directories: {
      chunks: legacy.directories,
      grown: (chunk: SharedArrayBuffer) => tell({ type: 'directories', chunk }),
    },
  }
  // Modes come from the kernel with the umask of the caller taken away, and copies have those of their layer.
  if (takesChanges(spec.upper)) clearUmaskHere()
  const around = {
    ...{ watch, patience, background, askForBlob, warn, memory },
    kept: kept && new KeptDescriptors(kept),
  }
  const layered = spec.upper === undefined ? undefined : openWithUpper(spec, spec.upper, around)
  const { fileSystem, store, closeLayers, giveBack } = layered ?? openMolecule(spec, around)
  const writable = takesChanges(spec.upper) ? layered?.fileSystem : undefined
  const counters = new Counters(shared, 0)
  const fallback = new InlineDataPath(fileSystem, store, readHostFile, FALLBACK_CACHE, {
    // A client may truncate a file of the upper between two requests of a reader.
    shortReads: writable !== undefined,
  })
  const target = new GatherReply(fuseFd, shared)
  const dataPath = new PooledDataPath({
    fileSystem,
    store,
    target,
    pool,
    counters,
    fallback,
    inlineLimit: INLINE_LIMIT,
    prefetch: true,
  })
  const numbers = kernel.ino32 ? new NarrowInodes() : undefined
  const fault = testFault('dispatcher')
  const protocol = new Protocol({
    fileSystem,
    dataPath,
    ...(writable === undefined
      ? {}
      : { writable, gate: new ChangeGate(gate, () => writable.restoreTimes()) }),
    namesTrusted: isHostRoot(),
    turn,
    ...(numbers === undefined ? {} : { shownInode: (ino) => numbers.shown(ino) }),
    log,
    kernel,
    counters: fault === undefined ? counters : dyingCounter(counters, fault, () => protocol.requestBytes),
    requests: legacy?.requests,
    negotiated: legacy?.negotiated,
    onInit: serves,
  })
  const hasDirectories = layered !== undefined || hasHostDirectories(spec)
  const lasting = spec.upper?.temporary === true ? 'change for now' : 'change'
  if (hasDirectories) keepDirectoryPrivileges(writable === undefined ? 'read' : lasting, log)
  else dropThreadPrivileges(log)
  const stage = prepareRehearsal(spec)
  const idleWork = inTurn(
    stage && rehearse(stage.open),
    isCompiledCodeSaved() ? undefined : savesCode,
    // Before a thread starts: V8 takes no compiled code while its flags are other ones.
    collectsGarbage,
    hasWorkers && pool.isOnDemand ? callsWorkers : undefined,
  )
  const runTask = taskRunner({ shared, thread: 0, target, store, log, ...omitUndefined({ bell }) })
  const keeping = upkeep({
    pool,
    runTask,
    log,
    forgetMetadata: giveBack,
    tellQuiet: () => tell({ type: 'quiet' }),
  })
  if (legacy?.negotiated !== undefined) serves(legacy.negotiated)
  runDeviceLoop({
    fd: fuseFd,
    protocol,
    log,
    spins: SPINS,
    ...omitUndefined({ bell, idleWork, pressure }),
    ...keeping,
    helper: () => {
      // The last data of a file may have come after its time.
      writable?.restoreTimes()
      keeping.helper()
    },
  })
  // Release the files of the layers first, while the caller's umount(8) is about to return: the caller may unmount the
  // file systems of the layers next. The descriptor numbers stay in use, so that a worker in the middle of a block
  // cannot read another file through them.
  for (const fd of layerDescriptors(spec)) replaceDescriptor(fuseFd, fd)
  closeLayers()
  stage?.close()
  layered?.closeUpper()
  // A process of one mount does both itself.
  const upper = isOneOfMany ? spec.upper : undefined
  if (upper !== undefined) writeBack(upper)
  tell({ type: 'unmounted' })
  if (upper !== undefined) emptyUpper(upper)
} catch (error) {
  tell({ type: 'failed', message: faultText(error) })
}

/** Here and not in the main thread, which has other mounts to look after: the disk may not answer. */
function writeBack(upper: UpperSpec): void {
  try {
    syncUpper(upper)
  } catch (error) {
    log('error', `${upper.label}: ${messageOf(error)}`)
  }
}

function serves(negotiated: Negotiated): void {
  tell({ type: 'serves', packages: packageNeed(), negotiated })
}

/** A worker takes some 40 ms to come. @returns false: it is over */
function callsWorkers(): boolean {
  tell({ type: 'prepared' })
  return false
}

/** After the rehearsal, so that the code is there that answers requests. @returns false: it is over */
function savesCode(): boolean {
  saveCompiledCode()
  return false
}

/** What the start left. V8 lets the heap grow in proportion to what it found alive last. @returns false: it is over */
function collectsGarbage(): boolean {
  collectGarbage()
  return false
}

/** Pieces of idle work one after another. @returns undefined where there are none */
function inTurn(...works: readonly ((() => boolean) | undefined)[]): (() => boolean) | undefined {
  const left = works.filter((work) => work !== undefined)
  if (left.length === 0) return undefined
  return () => {
    if (left[0]?.() !== true) left.shift()
    return left.length > 0
  }
}
