import { MAX_READ } from '../../base/index.ts'

/**
 * Memory that the dispatcher and the data workers share: the block cache, the jobs of the workers, and the queue
 * between them.
 *
 * Who may do what:
 * - only the dispatcher decides which block lies in which slot (its index is a plain Map), and only the dispatcher pins
 *   slots;
 * - a worker fills a slot after claiming it (QUEUED -> FILLING), and unpins;
 * - only the dispatcher reuses a slot, and only one without pins.
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
  /** Buffers for pieces of images that workers read for the dispatcher (`FETCH_SIZE` each). */
  readonly fetches: SharedArrayBuffer
}

/** Number of shared zero bytes from which holes are written. */
export const ZEROS_SIZE = MAX_READ

/** Most bytes of an image that a worker reads for the dispatcher at once: the wanted bytes, and those after them. */
export const FETCH_SIZE = 64 << 10
/** Most such pieces under way at once. */
export const MAX_FETCHES = 8
