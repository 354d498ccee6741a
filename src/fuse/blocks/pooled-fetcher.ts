import {
  type BlockStore,
  codeOfErrno,
  ERRNO,
  errnoOf,
  type Fetch,
  type Fetcher,
  FsError,
  type Piece,
  type SourceId,
} from '../../base/index.ts'
import type { JobTable } from './jobs.ts'
import { FETCH_SIZE, MAX_FETCHES, type SharedBuffers } from './shared-buffers.ts'
import type { WorkerPool } from './worker-pool.ts'

/** A piece that a worker reads. */
interface UnderWay {
  readonly source: SourceId
  readonly position: number
  readonly length: number
  readonly room: number
  readonly buffer: number
  readonly job: number
  piece: Piece | undefined
}

/** Lets the data workers read pieces of images that are not in the page cache. Used by the dispatcher. */
export class PooledFetcher implements Fetcher {
  readonly most = FETCH_SIZE
  readonly #pool: WorkerPool
  readonly #sizeOf: (source: SourceId) => number
  readonly #underWay = new Set<UnderWay>()
  readonly #buffers = Array.from({ length: MAX_FETCHES }, (_, buffer) => buffer)
  /** Most pieces of one image under way: while its disk does not answer, one worker stays free for the other images. */
  readonly #mostOfOne: number
  #ready = false

  /** @param sizeOf gives the bytes of an image's file */
  constructor(pool: WorkerPool, sizeOf: (source: SourceId) => number) {
    this.#pool = pool
    this.#sizeOf = sizeOf
    this.#mostOfOne = Math.max(1, pool.shared.workers - 1)
  }

  /** False until an idle worker was seen once, and where none can be started. */
  get ready(): boolean {
    if (this.#pool.isOnDemand) return !this.#pool.staff.isRefused
    this.#ready ||= this.#pool.queue.idle > 0
    return this.#ready
  }

  /** Whether a piece of an image is under way. */
  isBusyWith(source: SourceId): boolean {
    this.#collect()
    for (const one of this.#underWay) if (one.source === source) return true
    return false
  }

  fetch(source: SourceId, position: number, length: number): Fetch {
    if (length > FETCH_SIZE) throw new RangeError(`a piece of ${length} bytes`)
    let own: UnderWay | undefined
    return {
      poll: () => {
        this.#collect()
        own ??= this.#joined(source, position, length) ?? this.#begin(source, position, length)
        return own?.piece
      },
    }
  }

  /** A piece under way that another request began and that contains this one. */
  #joined(source: SourceId, position: number, length: number): UnderWay | undefined {
    for (const one of this.#underWay) {
      if (one.source !== source || position < one.position) continue
      // Only these bytes are sure to come: the rest of its room is read where possible.
      if (position + length <= one.position + one.length) return one
    }
    return undefined
  }

  /** @returns undefined where too many pieces are under way */
  #begin(source: SourceId, position: number, length: number): UnderWay | undefined {
    let ofSource = 0
    for (const one of this.#underWay) if (one.source === source) ofSource += 1
    if (ofSource >= this.#mostOfOne) return undefined
    const buffer = this.#buffers.pop()
    if (buffer === undefined) return undefined
    const job = this.#pool.jobs.take()
    if (job === undefined) {
      this.#buffers.push(buffer)
      return undefined
    }
    const left = this.#sizeOf(source) - position
    const room = Math.max(length, Math.min(FETCH_SIZE, left))
    const begun: UnderWay = { source, position, length, room, buffer, job, piece: undefined }
    this.#underWay.add(begun)
    this.#pool.jobs.putFetch(job, begun)
    this.#pool.submit(job, [])
    return begun
  }

  #collect(): void {
    const { jobs, shared } = this.#pool
    for (const one of this.#underWay) {
      const bytes = jobs.fetchOf(one.job).room
      const result = jobs.collect(one.job)
      if (result === undefined) continue
      const { source, position, length } = one
      const content =
        result === 0
          ? // A copy: the buffer is soon used again.
            Uint8Array.from(fetchBuffer(shared, one.buffer).subarray(0, bytes))
          : failure(one, result)
      one.piece = { source, position, length, content }
      this.#underWay.delete(one)
      this.#buffers.push(one.buffer)
    }
  }
}

function failure({ position, length }: UnderWay, errno: number): FsError {
  const code = codeOfErrno(errno)
  if (code === 'ENODATA') return new FsError(code, `file ends at or before ${position + length}`)
  return new FsError(code, `read at ${position}: ${code} (errno ${errno})`)
}

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
