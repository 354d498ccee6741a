import type { SharedBuffers } from './shared-buffers.ts'

/** Counters, one row of 64-bit floats for each thread; only that thread writes its row. */
export const COUNTERS = [
  'requests',
  // Those open now, where the mount counts them (`countsOpens`).
  'openFiles',
  'cacheHits',
  'cacheMisses',
  'inlineReads',
  'pooledReads',
  'failedReads',
] as const
/** Name of a counter. */
export type Counter = (typeof COUNTERS)[number]

/** Requests are counted by their opcode below this, and together under 0 where it is not. */
const OPCODES = 64

/** Memory for the counters of one mount among several, which its dispatcher alone changes. */
export function allocateCounters(): SharedArrayBuffer {
  return new SharedArrayBuffer(countersSize(0))
}

/** Bytes of the counters: a row for the dispatcher and for each worker, and one of requests by opcode. */
export function countersSize(workers: number): number {
  return (workers + 1) * COUNTERS.length * 8 + OPCODES * 8
}

/** The dispatcher alone counts requests: one row, behind those of the threads. */
function opcodesOf({ counters }: SharedBuffers): Float64Array {
  return new Float64Array(counters, counters.byteLength - OPCODES * 8, OPCODES)
}

/** One thread's row of counters; row 0 is the dispatcher's. */
export class Counters {
  readonly #row: Float64Array
  readonly #opcodes: Float64Array

  constructor(shared: SharedBuffers, thread: number) {
    this.#opcodes = opcodesOf(shared)
    this.#row = new Float64Array(shared.counters, thread * COUNTERS.length * 8, COUNTERS.length)
  }

  /** Adds to a counter of this thread. */
  add(counter: Counter, amount = 1): void {
    const at = COUNTERS.indexOf(counter)
    this.#row[at] = (this.#row[at] ?? 0) + amount
  }

  /** Counts one request. For the dispatcher. @param opcode as the kernel sent it */
  addRequest(opcode: number): void {
    const at = opcode < OPCODES ? opcode : 0
    this.#opcodes[at] = (this.#opcodes[at] ?? 0) + 1
    this.add('requests')
  }
}

/** How many requests there were of each opcode; 0 stands for those that no kernel has yet. */
export function readOpcodes(shared: SharedBuffers): ReadonlyMap<number, number> {
  return new Map([...opcodesOf(shared).entries()].filter(([, count]) => count > 0))
}

/** Sums the rows of all threads. */
export function readCounters(shared: SharedBuffers): Record<Counter, number> {
  const all = new Float64Array(shared.counters)
  const sums = COUNTERS.map((_, column) => {
    let sum = 0
    for (let row = 0; row <= shared.workers; row++) sum += all[row * COUNTERS.length + column] ?? 0
    return sum
  })
  return Object.fromEntries(COUNTERS.map((name, i) => [name, sums[i]])) as Record<Counter, number>
}
