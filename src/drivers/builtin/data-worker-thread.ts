import { type Log, omitUndefined } from '../../base/index.ts'
import '../../sys/plain/own-packages.ts'
import { parentPort } from 'node:worker_threads'
import { GatherReply, runDataWorker } from '../../fuse/index.ts'
import { type AskForBlob, openBlockStore, watchImages } from '../../molecule/index.ts'
import { saveCompiledCode } from '../../sys/process/code-cache.ts'
import { threadData } from './thread-data.ts'
import type { DataWorkerData, ThreadMessage } from './thread-messages.ts'
import { dropThreadPrivileges } from './thread-privileges.ts'

/** Entry of a data worker: decodes blocks until the pool stops. */

const { spec, shared, fuseFd, bell, tally, thread } = threadData<DataWorkerData>()
function tell(message: ThreadMessage): void {
  parentPort?.postMessage(message)
}

const log: Log = (level, message) => tell({ type: 'log', level, message })
const watch = watchImages(tally, thread, spec.images.length, (message) => log('error', message))

const askForBlob: AskForBlob = (image, blob) => tell({ type: 'blob', image, blob })
const store = openBlockStore(spec, { watch, askForBlob })
dropThreadPrivileges(log)
saveCompiledCode()
tell({ type: 'ready' })
const target = new GatherReply(fuseFd, shared)
runDataWorker({ shared, thread, target, ...omitUndefined({ bell }), store, log })
store.close?.()
