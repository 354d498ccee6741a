import { MAX_READ } from '../../base/index.ts'

/**
 * Memory that the dispatcher and the data workers share: the block cache, the jobs of the workers, and the queue
 * between them.
 *
 * Who may do what:
 * - the dispatcher alone decides which block lies in which slot (its index is a plain Map) and pins slots;
 * - a worker fills a slot after claiming it (QUEUED -> FILLING), and unpins;
 * - a slot is reused only by the dispatcher, and only while nobody pins it.
 */
export interface SharedBuffers {
  readonly slotSize: number
  readonly slotCount: number
  readonly workers: number
  readonly blocks: SharedArrayBuffer
  readonly slots: SharedArrayBuffer
  readonly positions: SharedArrayBuffer
  readonly jobs: SharedArrayBuffer
  readonly queue: SharedArrayBuffer
  readonly counters: SharedArrayBuffer
  readonly zeros: SharedArrayBuffer
  /** Where workers put pieces of images that the dispatcher asked for (`FETCH_SIZE` each). */
  readonly fetches: SharedArrayBuffer
}

/** Holes are written from this many shared zero bytes. */
export const ZEROS_SIZE = MAX_READ

/** Most bytes of an image that a worker reads for the dispatcher at once: what was asked for, and what follows it. */
export const FETCH_SIZE = 64 << 10
/** Such pieces under way at once. */
export const MAX_FETCHES = 8
