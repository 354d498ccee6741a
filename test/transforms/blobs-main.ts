import { parentPort, workerData } from 'node:worker_threads'
import { type BlobsSpec, SharedBlobs } from '../../src/transforms/index.ts'

/** A thread that reads blobs in an order of its own. Blob i holds its index, as 4 bytes, 1 000 times. */
export interface BlobReading {
  readonly spec: BlobsSpec
  readonly count: number
  readonly reads: number
  /** Odd; threads differ in it. */
  readonly step: number
}

const { spec, count, reads, step } = workerData as BlobReading
const blobs = new SharedBlobs(spec, 'image', (blob) => parentPort?.postMessage({ ask: blob }))
const target = Buffer.alloc(64)
let wrong = 0
for (let i = 0, blob = step % count; i < reads; i++, blob = (blob * 7 + step + i) % count) {
  blobs.readInto(blob, (i % 900) * 4, target)
  for (let at = 0; at < target.length; at += 4) if (target.readUInt32LE(at) !== blob) wrong += 1
}
parentPort?.postMessage({ wrong })
