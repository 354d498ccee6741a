import { type BlockStore, type LogLevel, omitUndefined, type SourceId } from '../../base/index.ts'
import '../../sys/plain/own-packages.ts'
import { parentPort } from 'node:worker_threads'
import { GatherReply, type JobAskers, runDataWorker } from '../../fuse/index.ts'
import { type AskForBlob, openBlockStore, watchImages } from '../../molecule/index.ts'
import { saveCompiledCode } from '../../sys/process/code-cache.ts'
import type { ServerMessage } from './shared/messages.ts'
import { workerImages } from './shared/worker-images.ts'
import { dyingWorker } from './test-faults.ts'
import { threadData } from './thread-data.ts'
import type { DataWorkerData, ThreadData, ThreadMessage } from './thread-messages.ts'
import { dropThreadPrivileges } from './thread-privileges.ts'

/** Entry of a data worker: decodes blocks until the pool stops, or there is nothing to do any more. */

const data = threadData<DataWorkerData>()
const { shared, bell, thread, restMs } = data
function tell(message: ThreadMessage | ServerMessage): void {
  parentPort?.postMessage(message)
}

const log = (level: LogLevel, message: string, image?: SourceId): void =>
  tell({ type: 'log', level, message, ...omitUndefined({ image }) })

const askForBlob: AskForBlob = (image, blob, wish) => tell({ type: 'blob', image, blob, wish })
const { store, target, askers } = 'spec' in data ? ofOneMount(data) : ofServer(data)
dropThreadPrivileges(log)
tell({ type: 'ready' })
const [reply, blocks] = dyingWorker(target, store)
const ask = (): void => tell({ type: 'worker wanted' })
runDataWorker({
  ...{ shared, thread, target: reply, store: blocks, log, ask },
  ...omitUndefined({ bell, restMs, askers }),
})
// With what decodes: it has worked.
saveCompiledCode()
tell({ type: 'left' })
store.close?.()

interface Surroundings {
  readonly store: BlockStore
  readonly target: GatherReply
  readonly askers?: JobAskers
}

function ofOneMount({ spec, tally, fuseFd }: ThreadData): Surroundings {
  const watch = watchImages(tally, thread, spec.images.length, (message) => log('error', message))
  const store = openBlockStore(spec, { watch, askForBlob })
  return { store, target: new GatherReply(fuseFd, shared) }
}

function ofServer(served: Exclude<DataWorkerData, ThreadData>): Surroundings {
  const reply = new GatherReply(-1, shared)
  const images = workerImages(served, thread, askForBlob, tell)
  return { store: images.store, target: reply, askers: images.askers((device) => reply.aim(device)) }
}
