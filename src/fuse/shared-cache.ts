import type { BlockRef, BlockStore } from '../base/index.ts'

/**
 * Memory that the dispatcher and the data workers share: the block cache, the reads that wait for a worker,
 * and the queue between them. Only layout and atomic state live here.
 *
 * Who may do what:
 * - the dispatcher alone decides which block lies in which slot (its index is a plain Map) and pins slots;
 * - a worker fills a slot after claiming it (QUEUED -> FILLING), and unpins;
 * - a slot is reused only by the dispatcher, and only while nobody pins it.
 */

export const SLOT_FREE = 0
export const SLOT_QUEUED = 1
export const SLOT_FILLING = 2
export const SLOT_READY = 3
export const SLOT_FAILED = 4

export const READ_FREE = 0
export const READ_WAITING = 1

/** Pieces of one READ: 256 blocks of 4 KiB (the smallest block size) and a partial one at each end. */
export const MAX_SEGMENTS = 258
/** In place of a slot: zero bytes. */
export const HOLE = -1
/** READs that may wait for workers at once; one more is answered by the dispatcher itself. */
export const MAX_READS = 128
const SEGMENT_INTS = 3
const READ_HEADER_INTS = 5
const READ_INTS = READ_HEADER_INTS + MAX_SEGMENTS * SEGMENT_INTS

/** Holes are written from this many shared zero bytes; a READ is never larger. */
export const ZEROS_SIZE = 1 << 20

/** Counters, one row of 64-bit floats for each thread; a row is written by its thread only. */
export const COUNTERS = [
  'requests',
  'cacheHits',
  'cacheMisses',
  'inlineReads',
  'pooledReads',
  'failedReads',
] as const
export type Counter = (typeof COUNTERS)[number]

export interface SharedBuffers {
  readonly slotSize: number
  readonly slotCount: number
  readonly workers: number
  readonly blocks: SharedArrayBuffer
  readonly slots: SharedArrayBuffer
  readonly positions: SharedArrayBuffer
  readonly reads: SharedArrayBuffer
  readonly queue: SharedArrayBuffer
  readonly counters: SharedArrayBuffer
  readonly zeros: SharedArrayBuffer
}

const SLOT_INTS = 7
const QUEUE_HEADER_INTS = 16

/**
 * @param slotSize bytes of one slot: the largest block size of the mount
 * @param cacheSize bytes for all slots; at least 8 slots are made whatever it says, so that a READ that
 *   crosses blocks always finds room
 */
export function allocateShared(slotSize: number, cacheSize: number, workers: number): SharedBuffers {
  const slotCount = Math.max(8, Math.floor(cacheSize / slotSize))
  const capacity = queueCapacity(slotCount)
  return {
    slotSize,
    slotCount,
    workers,
    blocks: new SharedArrayBuffer(slotSize * slotCount),
    slots: new SharedArrayBuffer(slotCount * SLOT_INTS * 4),
    positions: new SharedArrayBuffer(slotCount * 8),
    reads: new SharedArrayBuffer(MAX_READS * READ_INTS * 4),
    queue: new SharedArrayBuffer((QUEUE_HEADER_INTS + capacity) * 4),
    counters: new SharedArrayBuffer((workers + 1) * COUNTERS.length * 8),
    zeros: new SharedArrayBuffer(ZEROS_SIZE),
  }
}

/** Room for all READs beside as many slots: see `pushFill`. */
function queueCapacity(slotCount: number): number {
  return 2 ** Math.ceil(Math.log2(slotCount + MAX_READS + 1))
}

/** The slots: state, pins and what to decode into each. */
export class Slots {
  readonly count: number
  readonly size: number
  readonly #bytes: Buffer
  readonly #ints: Int32Array
  readonly #positions: Float64Array

  constructor(shared: SharedBuffers) {
    this.count = shared.slotCount
    this.size = shared.slotSize
    this.#bytes = Buffer.from(shared.blocks)
    this.#ints = new Int32Array(shared.slots)
    this.#positions = new Float64Array(shared.positions)
  }

  /** The whole room of a slot. */
  bytes(slot: number): Uint8Array {
    return this.#bytes.subarray(slot * this.size, (slot + 1) * this.size)
  }

  state(slot: number): number {
    return Atomics.load(this.#ints, slot * SLOT_INTS)
  }

  /** Publishes a new state; whoever waits for it wakes up. */
  setState(slot: number, state: number): void {
    Atomics.store(this.#ints, slot * SLOT_INTS, state)
    Atomics.notify(this.#ints, slot * SLOT_INTS)
  }

  /** True for the one thread that gets to fill the slot. */
  claim(slot: number): boolean {
    return Atomics.compareExchange(this.#ints, slot * SLOT_INTS, SLOT_QUEUED, SLOT_FILLING) === SLOT_QUEUED
  }

  /** Returns when another thread has finished filling the slot. */
  waitFilled(slot: number): void {
    while (this.state(slot) === SLOT_FILLING) {
      Atomics.wait(this.#ints, slot * SLOT_INTS, SLOT_FILLING, 1000)
    }
  }

  pin(slot: number): void {
    Atomics.add(this.#ints, slot * SLOT_INTS + 1, 1)
  }

  unpin(slot: number): void {
    Atomics.sub(this.#ints, slot * SLOT_INTS + 1, 1)
  }

  isPinned(slot: number): boolean {
    return Atomics.load(this.#ints, slot * SLOT_INTS + 1) > 0
  }

  /** Decoded length; meaningful once READY. */
  length(slot: number): number {
    return this.#ints[slot * SLOT_INTS + 2] ?? 0
  }

  /** What to decode: written by the dispatcher before the slot becomes QUEUED. */
  describe(slot: number, block: BlockRef): void {
    const at = slot * SLOT_INTS
    this.#ints[at + 3] = block.source
    this.#ints[at + 4] = block.storedSize
    this.#ints[at + 5] = block.compressed ? 1 : 0
    this.#ints[at + 6] = block.maxSize
    this.#positions[slot] = block.position
  }

  /** True where the slot was made for exactly this block, not another one at the same position. */
  describes(slot: number, block: BlockRef): boolean {
    const at = slot * SLOT_INTS
    return this.#ints[at + 4] === block.storedSize && this.#ints[at + 5] === (block.compressed ? 1 : 0)
  }

  block(slot: number): BlockRef {
    const at = slot * SLOT_INTS
    return {
      source: this.#ints[at + 3] ?? 0,
      position: this.#positions[slot] ?? 0,
      storedSize: this.#ints[at + 4] ?? 0,
      compressed: this.#ints[at + 5] === 1,
      maxSize: this.#ints[at + 6] ?? 0,
    }
  }

  /**
   * Decodes the block of a slot that this thread has claimed, and publishes the outcome.
   * @returns the error where it failed; the slot is then FAILED and is never read.
   */
  fill(slot: number, store: BlockStore): unknown {
    try {
      const length = store.readBlock(this.block(slot), this.bytes(slot))
      this.#ints[slot * SLOT_INTS + 2] = length
      this.setState(slot, SLOT_READY)
      return undefined
    } catch (error) {
      this.setState(slot, SLOT_FAILED)
      return error
    }
  }
}

/** READs whose answer a worker writes: unique, when it came, and the segments (slot or HOLE, from, length). */
export class PendingReads {
  readonly #ints: Int32Array

  constructor(shared: SharedBuffers) {
    this.#ints = new Int32Array(shared.reads)
  }

  isFree(read: number): boolean {
    return Atomics.load(this.#ints, read * READ_INTS) === READ_FREE
  }

  put(read: number, uniqueLow: number, uniqueHigh: number, segments: Int32Array, count: number): void {
    const at = read * READ_INTS
    this.#ints[at + 1] = uniqueLow
    this.#ints[at + 2] = uniqueHigh
    this.#ints[at + 3] = count
    this.#ints[at + 4] = clock()
    this.#ints.set(segments.subarray(0, count * SEGMENT_INTS), at + READ_HEADER_INTS)
    Atomics.store(this.#ints, at, READ_WAITING)
  }

  uniqueLow(read: number): number {
    return (this.#ints[read * READ_INTS + 1] ?? 0) >>> 0
  }

  uniqueHigh(read: number): number {
    return (this.#ints[read * READ_INTS + 2] ?? 0) >>> 0
  }

  /** The segments as stored: three ints each. */
  segments(read: number): Int32Array {
    const at = read * READ_INTS
    const count = this.#ints[at + 3] ?? 0
    const start = at + READ_HEADER_INTS
    return this.#ints.subarray(start, start + count * SEGMENT_INTS)
  }

  /** How long a READ has been waiting, milliseconds; undefined where the place is free. */
  age(read: number): number | undefined {
    const at = read * READ_INTS
    if (Atomics.load(this.#ints, at) === READ_FREE) return undefined
    // Wraps around after 24 days, as the clock does.
    return Math.max(0, (clock() - (this.#ints[at + 4] ?? 0)) | 0)
  }

  release(read: number): void {
    Atomics.store(this.#ints, read * READ_INTS, READ_FREE)
  }
}

/** Milliseconds on a clock that all threads share, in 32 bits. */
function clock(): number {
  return Date.now() | 0
}

/** The ages of all READs that wait for a worker or are being decoded, milliseconds. */
export function pendingAges(shared: SharedBuffers): readonly number[] {
  const reads = new PendingReads(shared)
  return Array.from({ length: MAX_READS }, (_, read) => reads.age(read)).filter((age) => age !== undefined)
}

const HEAD = 0
const TAIL = 1
const SIGNAL = 2
const IDLE = 3
const STOP = 4

/** What a worker takes from the queue: a READ to answer, or a slot to fill. */
export type Task = { readonly read: number } | { readonly slot: number }

/** One producer (the dispatcher), many consumers, first in, first out. */
export class TaskQueue {
  readonly #ints: Int32Array
  readonly #mask: number

  constructor(shared: SharedBuffers) {
    this.#ints = new Int32Array(shared.queue)
    this.#mask = queueCapacity(shared.slotCount) - 1
  }

  pushRead(read: number): void {
    this.#push(read)
  }

  /** @returns false where the room that is left is for READs; the slot is then not filled by this */
  pushFill(slot: number): boolean {
    if (this.#mask + 1 - this.length <= MAX_READS) return false
    this.#push(-1 - slot)
    return true
  }

  /** Workers that wait for a task at this moment. */
  get idle(): number {
    return Atomics.load(this.#ints, IDLE)
  }

  /** Tasks that no worker has taken yet. */
  get length(): number {
    return (Atomics.load(this.#ints, TAIL) - Atomics.load(this.#ints, HEAD)) | 0
  }

  /** Waits for a task; undefined when the pool is told to stop and nothing is left to do. */
  take(): Task | undefined {
    const ints = this.#ints
    for (;;) {
      const signal = Atomics.load(ints, SIGNAL)
      const head = Atomics.load(ints, HEAD)
      if (head === Atomics.load(ints, TAIL)) {
        if (Atomics.load(ints, STOP) === 1) return undefined
        Atomics.add(ints, IDLE, 1)
        Atomics.wait(ints, SIGNAL, signal, 1000)
        Atomics.sub(ints, IDLE, 1)
        continue
      }
      const item = Atomics.load(ints, QUEUE_HEADER_INTS + (head & this.#mask))
      if (Atomics.compareExchange(ints, HEAD, head, (head + 1) | 0) !== head) continue
      return item >= 0 ? { read: item } : { slot: -1 - item }
    }
  }

  stop(): void {
    Atomics.store(this.#ints, STOP, 1)
    Atomics.add(this.#ints, SIGNAL, 1)
    Atomics.notify(this.#ints, SIGNAL)
  }

  #push(item: number): void {
    const ints = this.#ints
    const tail = Atomics.load(ints, TAIL)
    Atomics.store(ints, QUEUE_HEADER_INTS + (tail & this.#mask), item)
    Atomics.store(ints, TAIL, (tail + 1) | 0)
    Atomics.add(ints, SIGNAL, 1)
    if (Atomics.load(ints, IDLE) > 0) Atomics.notify(ints, SIGNAL, 1)
  }
}

/** One thread's row of counters; row 0 is the dispatcher's. */
export class Counters {
  readonly #row: Float64Array

  constructor(shared: SharedBuffers, thread: number) {
    this.#row = new Float64Array(shared.counters, thread * COUNTERS.length * 8, COUNTERS.length)
  }

  add(counter: Counter, amount = 1): void {
    const at = COUNTERS.indexOf(counter)
    this.#row[at] = (this.#row[at] ?? 0) + amount
  }
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
