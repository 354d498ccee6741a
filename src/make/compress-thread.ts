import '../sys/plain/own-packages.ts'
import { parentPort, workerData } from 'node:worker_threads'
import { openEncoder } from '../codecs/encode/index.ts'
import { answerUntilEnd } from '../sys/process/end-thread.ts'
import type { CompressData, CompressJob } from './compress-pool.ts'

/** Entry of a thread that compresses blocks for an image that is being made. */

const { settings, slots } = workerData as CompressData
const { blockSize } = settings
const encoder = openEncoder(settings)

answerUntilEnd(({ slot, length }: CompressJob) => {
  const input = new Uint8Array(slots, slot * 2 * blockSize, length)
  // A result that is not smaller is of no use.
  const output = new Uint8Array(slots, (slot * 2 + 1) * blockSize, length - 1)
  const packed: CompressJob = { slot, length: length > 1 ? encoder.encode(input, output) : 0 }
  parentPort?.postMessage(packed)
})
