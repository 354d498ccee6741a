import '../../sys/plain/own-packages.ts'
import { parentPort, workerData } from 'node:worker_threads'
import { type ExtentSink, errnoCodeOf, messageOf } from '../../base/index.ts'
import { openBlockStore } from '../../molecule/index.ts'
import { answerUntilEnd } from '../../sys/process/end-thread.ts'
import { DataWriter } from './data-writer.ts'
import type { WriteData, WriteJob, WriteMessage, WriteResult } from './jobs.ts'
import { makeFile } from './make-file.ts'
import { describePieces } from './pieces.ts'

/** Entry of a thread that decodes files of images and writes them into directories that are open. */

const { spec, manner } = workerData as WriteData

function tell(message: WriteMessage): void {
  parentPort?.postMessage(message)
}

const store = openBlockStore(spec, {
  askForBlob: (image, blob, wish) => tell({ type: 'blob', image, blob, wish }),
})
const writer = new DataWriter(store)

function run(job: WriteJob): WriteResult {
  const { id, pieces } = job
  const describe = (sink: ExtentSink): void => describePieces(pieces, sink)
  try {
    if ('name' in job) return { id, made: makeFile(job, manner, (fd) => writer.write(fd, describe)) }
    writer.write(job.fd, describe, job.offset)
    return { id }
  } catch (error) {
    return { id, failure: { code: errnoCodeOf(error), message: messageOf(error) } }
  }
}

answerUntilEnd((jobs: readonly WriteJob[]) => tell({ type: 'done', results: jobs.map(run) }))
