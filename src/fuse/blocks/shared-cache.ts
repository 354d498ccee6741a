import { MAX_BLOCK_SIZE } from '../../base/index.ts'
import { countersSize } from './counters.ts'
import { JOBS_SIZE } from './jobs.ts'
import { FETCH_SIZE, MAX_FETCHES, type SharedBuffers, ZEROS_SIZE } from './shared-buffers.ts'
import { POSITION_SIZE, SLOT_SIZE } from './slots.ts'
import { queueSize } from './task-queue.ts'

/**
 * Allocates the memory that all threads of a mount share.
 * @param slotSize bytes of one slot: the largest block size of the mount, at most `MAX_BLOCK_SIZE`
 * @param cacheSize bytes for all slots; at least 8 slots are made whatever it says, so that a READ that
 *   crosses blocks always finds room
 * @throws RangeError for larger slots
 */
export function allocateShared(slotSize: number, cacheSize: number, workers: number): SharedBuffers {
  if (slotSize > MAX_BLOCK_SIZE) throw new RangeError(`slots of ${slotSize} bytes`)
  const slotCount = Math.max(8, Math.floor(cacheSize / slotSize))
  return {
    slotSize,
    slotCount,
    workers,
    blocks: new SharedArrayBuffer(slotSize * slotCount),
    slots: new SharedArrayBuffer(SLOT_SIZE * slotCount),
    positions: new SharedArrayBuffer(POSITION_SIZE * slotCount),
    jobs: new SharedArrayBuffer(JOBS_SIZE),
    queue: new SharedArrayBuffer(queueSize(slotCount, workers)),
    counters: new SharedArrayBuffer(countersSize(workers)),
    zeros: new SharedArrayBuffer(ZEROS_SIZE),
    fetches: new SharedArrayBuffer(MAX_FETCHES * FETCH_SIZE),
  }
}
