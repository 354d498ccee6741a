import { statisticsOf } from '../report/index.ts'

/** One hot part of the code. */
export interface MicroCase {
  readonly name: string
  /** What one operation is, for the reader of the table. */
  readonly operation: string
  /**
   * Does `count` operations on inputs that change from one to the next, so that no branch or cache learns one of them.
   * @returns something that depends on the work, so that none of it can be left out
   */
  run(count: number): number
  /** Bytes that one operation takes in or gives out; adds MB/s to the table. */
  readonly bytes?: number
}

export interface MicroResult {
  readonly name: string
  readonly operation: string
  /** Of one operation. */
  readonly nanoseconds: { readonly median: number; readonly min: number; readonly max: number }
  readonly bytes?: number
}

const SAMPLES = 9
const SAMPLE_MS = 60
/** Until the code is compiled. */
const WARM_UP_MS = 150

let sink = 0

/**
 * Time of one operation. Processor time of this process, not of the clock: on a machine with other work the latter
 * would be part of the answer.
 */
export function measureCase({ name, operation, run, bytes }: MicroCase): MicroResult {
  let count = 1
  for (let spent = 0; spent < WARM_UP_MS; ) {
    const ms = cpuMs(() => run(count))
    spent += Math.max(ms, 0.05)
    // As many operations as take one sample's time; the clock of the kernel is too coarse for less than 1 ms.
    count = Math.max(1, Math.ceil(ms < 1 ? count * 4 : (count * SAMPLE_MS) / ms))
  }
  const nanoseconds = statisticsOf(
    Array.from({ length: SAMPLES }, () => (cpuMs(() => run(count)) * 1e6) / count),
  )
  return { name, operation, nanoseconds, ...(bytes === undefined ? {} : { bytes }) }
}

function cpuMs(work: () => number): number {
  const start = process.cpuUsage()
  sink = (sink + work()) | 0
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1000
}
