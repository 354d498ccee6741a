import '../../sys/plain/own-packages.ts'
import { parentPort } from 'node:worker_threads'
import { type Log, messageOf, omitUndefined } from '../../base/index.ts'
import { Counters, type Negotiated, readOpcodes, runDeviceLoop } from '../../fuse/index.ts'
import {
  type AskForBlob,
  emptyUpper,
  hasHostDirectories,
  layerDescriptors,
  openMolecule,
  openWithUpper,
  packageNeed,
  syncUpper,
  takesChanges,
  type UpperSpec,
  watchImages,
} from '../../molecule/index.ts'
import { replaceDescriptor } from '../../sys/files/descriptor.ts'
import { isHostRoot } from '../../sys/plain/namespaces.ts'
import {
  isCompiledCodeSaved,
  leaveCompiledCode,
  saveCompiledCode,
  saveForNow,
} from '../../sys/process/code-cache.ts'
import { collectGarbage } from '../../sys/process/garbage.ts'
import { KeptDescriptors } from '../../sys/process/kept-descriptors.ts'
import { clearUmaskHere } from '../../sys/process/session.ts'
import { faultText } from './fault-text.ts'
import { inTurn } from './idle-work.ts'
import { buildServing, SPINS } from './serving.ts'
import type { ServerDispatcherData } from './shared/messages.ts'
import { serveMounts } from './shared/serve-mounts.ts'
import { dyingCounter, testFault } from './test-faults.ts'
import { threadData } from './thread-data.ts'
import type { DispatcherData, ThreadMessage } from './thread-messages.ts'
import { dropThreadPrivileges, keepDirectoryPrivileges } from './thread-privileges.ts'
import { Understudy } from './understudy.ts'
import { upkeep } from './upkeep.ts'

/**
 * Entry of the dispatcher thread. It owns all file-system state and is the only reader of the device. It runs the
 * device loop until the file system is unmounted. In a server of several mounts it serves all of them.
 */

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
  const hasWorkers = shared.workers > 0 && bell !== undefined
  const askForBlob: AskForBlob = (image, blob, wish) => tell({ type: 'blob', image, blob, wish })
  const warn = (message: string): void => log('warn', message)
  const memory = legacy && {
    generation: legacy.generation,
    directories: {
      chunks: legacy.directories,
      grown: (chunk: SharedArrayBuffer) => tell({ type: 'directories', chunk }),
    },
  }
  const writes = takesChanges(spec.upper)
  // What a mount without changes does, the first one has compiled.
  if (!writes && isCompiledCodeSaved()) leaveCompiledCode()
  // Modes come from the kernel with the umask of the caller taken away, and copies have those of their layer.
  if (writes) clearUmaskHere()
  const surroundings = { watch, askForBlob, warn, memory, kept: kept && new KeptDescriptors(kept) }
  const counters = new Counters(shared, 0)
  const fault = testFault('dispatcher')
  const namesTrusted = isHostRoot()
  const { molecule, writable, pool, protocol, fetcher, runTask } = buildServing({
    ...{ spec, shared, fd: fuseFd, bell, kernel, counters, log, namesTrusted },
    counterOf: fault && ((request) => dyingCounter(counters, fault, request)),
    callWorker: () => tell({ type: 'worker wanted' }),
    open: (around) => {
      const all = { ...around, ...surroundings }
      return spec.upper === undefined ? openMolecule(spec, all) : openWithUpper(spec, spec.upper, all)
    },
    gate: writes ? gate : undefined,
    requests: legacy?.requests,
    negotiated: legacy?.negotiated,
    onInit: serves,
  })
  const layered = 'closeUpper' in molecule ? molecule : undefined
  const hasDirectories = layered !== undefined || hasHostDirectories(spec)
  const lasting = spec.upper?.temporary === true ? 'change for now' : 'change'
  if (hasDirectories) keepDirectoryPrivileges(writable === undefined ? 'read' : lasting, log)
  else dropThreadPrivileges(log)
  const understudy = Understudy.of(spec, { kernel, namesTrusted, fetcher })
  const idleWork = inTurn(
    ...(understudy?.rehearsals() ?? []),
    isCompiledCodeSaved() ? undefined : () => savesCode(writes),
    // Before a thread starts: V8 takes no compiled code while its flags are other ones.
    collectsGarbage,
    hasWorkers && pool.isOnDemand ? callsWorkers : undefined,
  )
  const keeping = upkeep({
    pool,
    runTask,
    log,
    forgetMetadata: () => molecule.giveBack(),
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
  molecule.closeLayers()
  understudy?.close()
  layered?.closeUpper()
  if (writes) saveCompiledCode(kindsOfWork())
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
function savesCode(isForNow: boolean): boolean {
  if (isForNow) saveForNow()
  else saveCompiledCode()
  return false
}

/** Requests of each opcode are a kind of work: what makes changes runs in few mounts, and is compiled when it is needed. */
function kindsOfWork(): bigint {
  return [...readOpcodes(shared).keys()].reduce((kinds, opcode) => kinds | (1n << BigInt(opcode)), 0n)
}

/** What the start left. V8 lets the heap grow in proportion to what it found alive last. @returns false: it is over */
function collectsGarbage(): boolean {
  collectGarbage()
  return false
}
