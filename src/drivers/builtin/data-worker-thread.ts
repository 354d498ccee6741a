import { type Log, omitUndefined } from '../../base/index.ts'
import '../../sys/plain/own-packages.ts'
import { parentPort, workerData } from 'node:worker_threads'
import { GatherReply, runDataWorker } from '../../fuse/index.ts'
import { type AskForBlob, openBlockStore, watchImages } from '../../molecule/index.ts'
import { descriptorsAreHeld } from '../../sys/plain/proc.ts'
import type { DataWorkerData, ThreadMessage } from './thread-messages.ts'
import { dropThreadPrivileges } from './thread-privileges.ts'

/** Entry of a data worker: decodes blocks until the pool stops. */

const { spec, shared, fuseFd, bell, tally, thread } = workerData as DataWorkerData
function tell(message: ThreadMessage): void {
  parentPort?.postMessage(message)
}

descriptorsAreHeld()
const log: Log = (level, message) => tell({ type: 'log', level, message })
const watch = watchImages(tally, thread, spec.images.length, (message) => log('error', message))

const askForBlob: AskForBlob = (image, blob) => tell({ type: 'blob', image, blob })
const store = openBlockStore(spec, { watch, askForBlob })
dropThreadPrivileges(log)
tell({ type: 'ready' })
const target = new GatherReply(fuseFd, shared)
runDataWorker({ shared, thread, target, ...omitUndefined({ bell }), store, log })
store.close?.()
