import { type Log, omitUndefined } from '../../base/index.ts'
import '../../sys/plain/own-packages.ts'
import { parentPort } from 'node:worker_threads'
import { GatherReply, runDataWorker } from '../../fuse/index.ts'
import { type AskForBlob, openBlockStore, watchImages } from '../../molecule/index.ts'
import { saveCompiledCode } from '../../sys/process/code-cache.ts'
import { dyingWorker } from './test-faults.ts'
import { threadData } from './thread-data.ts'
import type { DataWorkerData, ThreadMessage } from './thread-messages.ts'
import { dropThreadPrivileges } from './thread-privileges.ts'

/** Entry of a data worker: decodes blocks until the pool stops, or there is nothing to do any more. */

const { spec, shared, fuseFd, bell, tally, thread, restMs } = threadData<DataWorkerData>()
function tell(message: ThreadMessage): void {
  parentPort?.postMessage(message)
}

const log: Log = (level, message) => tell({ type: 'log', level, message })
const watch = watchImages(tally, thread, spec.images.length, (message) => log('error', message))

const askForBlob: AskForBlob = (image, blob, wish) => tell({ type: 'blob', image, blob, wish })
const store = openBlockStore(spec, { watch, askForBlob, probes: false })
dropThreadPrivileges(log)
tell({ type: 'ready' })
const [target, blocks] = dyingWorker(new GatherReply(fuseFd, shared), store)
const ask = (): void => tell({ type: 'worker wanted' })
runDataWorker({ shared, thread, target, ...omitUndefined({ bell, restMs }), store: blocks, log, ask })
// With what decodes: it has worked.
saveCompiledCode()
tell({ type: 'left' })
store.close?.()
