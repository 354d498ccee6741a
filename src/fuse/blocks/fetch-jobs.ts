import { type BlockStore, ERRNO, errnoOf, FsError } from '../../base/index.ts'
import type { JobTable } from './jobs.ts'
import { FETCH_SIZE, type SharedBuffers } from './shared-buffers.ts'

/** One of the buffers for pieces, in memory that all threads share. */
export function fetchBuffer(shared: SharedBuffers, buffer: number): Uint8Array {
  return new Uint8Array(shared.fetches, buffer * FETCH_SIZE, FETCH_SIZE)
}

/** Reads a piece of an image for the dispatcher, in a data worker, and ends the job. Never throws. */
export function runFetch(shared: SharedBuffers, jobs: JobTable, store: BlockStore, job: number): void {
  const { source, position, length, room, buffer } = jobs.fetchOf(job)
  const target = fetchBuffer(shared, buffer)
  const read = (bytes: number): number => {
    if (store.readRaw === undefined) throw new FsError('EIO', 'no images to read')
    store.readRaw(source, position, target.subarray(0, bytes))
    return bytes
  }
  try {
    jobs.endFetch(job, readMost(read, length, room))
  } catch (error) {
    // The dispatcher adds the place to the message. An error without a system call behind it means that the file ended
    // early.
    const isShort = error instanceof FsError && error.cause === undefined
    jobs.end(job, isShort ? ERRNO.ENODATA : errnoOf(error instanceof FsError ? error.cause : error))
  }
}

/** Reads `room` bytes, or only `length` where the rest cannot be read. */
function readMost(read: (bytes: number) => number, length: number, room: number): number {
  if (room > length) {
    try {
      return read(room)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
    }
  }
  return read(length)
}
