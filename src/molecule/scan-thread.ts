import '../sys/plain/own-packages.ts'
import { parentPort, workerData } from 'node:worker_threads'
import { withSource } from '../base/index.ts'
import { type ScanReport, verifyRange } from '../verity/index.ts'
import { rawSource, verityOf } from './image-file.ts'
import type { ImageSpec } from './spec.ts'

/** Entry of a thread that verifies one range of an image. */

export interface ScanData {
  readonly spec: ImageSpec
  readonly from: number
  readonly to: number
  /**
   * Ends the thread when the word becomes 1. `Worker.terminate` may stop it while it loads the package for foreign
   * functions, whose start then ends the whole process (SIGABRT).
   */
  readonly stop: Int32Array
}

export type ScanMessage =
  /** Data blocks done since the last message. */
  | { readonly type: 'progress'; readonly blocks: number }
  | { readonly type: 'report'; readonly report: ScanReport }

const { spec, from, to, stop } = workerData as ScanData
const verity = verityOf(spec)
if (verity === undefined) throw new Error('scan: an image without a root hash')
const table = verity

function tell(message: ScanMessage): void {
  parentPort?.postMessage(message)
}

let told = 0
const onProgress = (done: number): void => {
  if (Atomics.load(stop, 0) === 1) throw new Error('the verification was stopped')
  tell({ type: 'progress', blocks: done - told })
  told = done
}
const report = withSource(rawSource(spec), (source) => verifyRange({ source, table, from, to, onProgress }))
tell({ type: 'report', report })
