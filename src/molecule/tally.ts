import type { VerityWatch } from '../base/index.ts'
import { describeFailure, type VerityCounters, type VerityFailure } from '../verity/index.ts'

/** What verification has found in one image since the mount, over all threads. */
export interface ImageTally {
  readonly blocksChecked: number
  readonly hashBlocksChecked: number
  readonly failures: number
}

const COLUMNS = 3
/** Memory in which all threads count, a row for each thread and image. */
export function allocateTally(threads: number, images: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * images * COLUMNS * 8)
}

/** Sums over the threads. */
export function readTally(tally: SharedArrayBuffer, images: number, image: number): ImageTally {
  const all = new Float64Array(tally)
  const sums = [0, 0, 0]
  for (let row = image; row * COLUMNS < all.length; row += images) {
    for (let column = 0; column < COLUMNS; column++) {
      sums[column] = (sums[column] ?? 0) + (all[row * COLUMNS + column] ?? 0)
    }
  }
  const [blocksChecked = 0, hashBlocksChecked = 0, failures = 0] = sums
  return { blocksChecked, hashBlocksChecked, failures }
}

/** The watch of one thread over all images: counts in shared memory, and logs each damaged block. */
export function watchImages(
  tally: SharedArrayBuffer,
  thread: number,
  images: number,
  log: (message: string) => void,
): (image: number) => VerityWatch {
  return (image) => ({
    counters: countersIn(new Float64Array(tally, (thread * images + image) * COLUMNS * 8, COLUMNS)),
    onFailure: (failure: VerityFailure) => log(describeFailure(failure)),
  })
}

/** Counters whose values lie in `row`. Metadata and data readers of a thread share the row: each adds to it. */
function countersIn(row: Float64Array): VerityCounters {
  return {
    get blocksChecked() {
      return row[0] ?? 0
    },
    set blocksChecked(value) {
      row[0] = value
    },
    get hashBlocksChecked() {
      return row[1] ?? 0
    },
    set hashBlocksChecked(value) {
      row[1] = value
    },
    get failures() {
      return row[2] ?? 0
    },
    set failures(value) {
      row[2] = value
    },
  }
}
