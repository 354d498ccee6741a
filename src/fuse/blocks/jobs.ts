import type { ReplyToken, SourceId, SyncKind } from '../../base/index.ts'
import type { SharedBuffers } from './shared-buffers.ts'

/** Most pieces of one job: 256 blocks of 4 KiB (the smallest block size) and a partial one at each end. */
export const MAX_SEGMENTS = 258
/** In place of a slot: zero bytes. */
export const HOLE = -1
/** Most jobs at once. The dispatcher answers further READs itself. */
export const MAX_JOBS = 128

const SEGMENT_INTS = 3
const HEADER_INTS = 11
const JOB_INTS = HEADER_INTS + MAX_SEGMENTS * SEGMENT_INTS

export const JOBS_SIZE = MAX_JOBS * JOB_INTS * 4

const FREE = 0
const WAITING = 1
const DONE = 2

// Indices of the header's ints.
const STATE = 0
const CLOCK = 1
const KIND = 2
const COUNT = 3
const TOKEN_LOW = 4
const TOKEN_HIGH = 5
const FD = 6
const OFFSET_LOW = 7
const OFFSET_HIGH = 8
const RESULT = 9
// Of a fetch: LENGTH and ROOM lie in place of the token. At its end ROOM holds the number of bytes read.
const LENGTH = 4
const ROOM = 5
const BUFFER = 10
/** Of a reply, in place of the buffer. */
const MOUNT = 10

/**
 * What a worker does with the segments: answer a READ; write them to a file; or write them and start writeback. A sync
 * (`all`, `data`, `file system`) and a fetch, which reads a piece of an image, have no segments.
 */
const KINDS = ['reply', 'write', 'write out', 'all', 'data', 'file system', 'fetch'] as const
export type JobKind = (typeof KINDS)[number]

/** One of several mounts, as far as answers to its READs go. */
export interface Asker {
  /** Descriptor of its connection. */
  readonly device: number
  /** Its place among the mounts of the server. */
  readonly mount: number
}

/** A piece of an image that a worker reads for the dispatcher. */
export interface FetchJob {
  /** Index of the image. */
  readonly source: SourceId
  readonly position: number
  /** Bytes that must be read. */
  readonly length: number
  /** Bytes to read where the file can give them; at least `length`. */
  readonly room: number
  /** Index of the buffer in `SharedBuffers.fetches` that takes the bytes. */
  readonly buffer: number
}

/**
 * The jobs of data workers, in memory that all threads share. The dispatcher takes a free job, describes it and queues
 * it. The worker that answers a READ frees its job; other jobs end with a result that the dispatcher collects.
 */
export class JobTable {
  readonly #ints: Int32Array
  readonly #free: number[] = []

  constructor(shared: SharedBuffers) {
    this.#ints = new Int32Array(shared.jobs)
  }

  /** Takes a free job. Only the dispatcher may call it. @returns undefined where all are in use */
  take(): number | undefined {
    if (this.#free.length === 0) {
      for (let job = 0; job < MAX_JOBS; job++) if (this.#state(job) === FREE) this.#free.push(job)
    }
    return this.#free.pop()
  }

  /**
   * The answer to a READ.
   * @param segments three ints each: slot or HOLE, from, length
   * @param asker whose READ it is, in a server of several mounts
   */
  putReply(job: number, token: ReplyToken, segments: Int32Array, asker?: Asker): void {
    const at = job * JOB_INTS
    this.#ints[at + TOKEN_LOW] = token.low
    this.#ints[at + TOKEN_HIGH] = token.high
    this.#ints[at + FD] = asker?.device ?? -1
    this.#ints[at + MOUNT] = asker?.mount ?? 0
    this.#put(job, 'reply', segments)
  }

  /** @param offset where the segments go in the file, bytes */
  putWrite(job: number, kind: 'write' | 'write out', fd: number, offset: number, segments: Int32Array): void {
    const at = job * JOB_INTS
    this.#ints[at + FD] = fd
    this.#ints[at + OFFSET_LOW] = offset
    this.#ints[at + OFFSET_HIGH] = offset / 2 ** 32
    this.#put(job, kind, segments)
  }

  putSync(job: number, kind: SyncKind, fd: number): void {
    this.#ints[job * JOB_INTS + FD] = fd
    this.#put(job, kind, new Int32Array(0))
  }

  putFetch(job: number, { source, position, length, room, buffer }: FetchJob): void {
    const at = job * JOB_INTS
    this.#ints[at + FD] = source
    this.#ints[at + OFFSET_LOW] = position
    this.#ints[at + OFFSET_HIGH] = position / 2 ** 32
    this.#ints[at + LENGTH] = length
    this.#ints[at + ROOM] = room
    this.#ints[at + BUFFER] = buffer
    this.#put(job, 'fetch', new Int32Array(0))
  }

  fetchOf(job: number): FetchJob {
    return {
      source: this.fd(job),
      position: this.offset(job),
      length: this.#int(job, LENGTH),
      room: this.#int(job, ROOM),
      buffer: this.#int(job, BUFFER),
    }
  }

  kind(job: number): JobKind {
    const kind = KINDS[this.#int(job, KIND)]
    if (kind === undefined) throw new RangeError(`job ${job} of no kind`)
    return kind
  }

  /** Token of a reply job. */
  token(job: number): ReplyToken {
    return { low: this.#int(job, TOKEN_LOW) >>> 0, high: this.#int(job, TOKEN_HIGH) >>> 0 }
  }

  /** Whose READ a reply job answers, where that was said. */
  asker(job: number): Asker {
    return { device: this.fd(job), mount: this.#int(job, MOUNT) }
  }

  fd(job: number): number {
    return this.#int(job, FD)
  }

  offset(job: number): number {
    return (this.#int(job, OFFSET_HIGH) >>> 0) * 2 ** 32 + (this.#int(job, OFFSET_LOW) >>> 0)
  }

  /** A copy of the segments: three ints each. */
  segments(job: number): Int32Array {
    const start = job * JOB_INTS + HEADER_INTS
    return this.#ints.subarray(start, start + this.#int(job, COUNT) * SEGMENT_INTS)
  }

  /**
   * How long a job has been waiting or under way, milliseconds; undefined for other jobs.
   * @param device whose replies alone count
   */
  age(job: number, device?: number): number | undefined {
    if (this.#state(job) !== WAITING) return undefined
    if (device !== undefined && (this.kind(job) !== 'reply' || this.fd(job) !== device)) return undefined
    // Wraps around after 24 days, like `clock`.
    return Math.max(0, (clock() - this.#int(job, CLOCK)) | 0)
  }

  release(job: number): void {
    Atomics.store(this.#ints, job * JOB_INTS + STATE, FREE)
  }

  /** @param result 0, or the errno of what failed */
  end(job: number, result: number): void {
    this.#ints[job * JOB_INTS + RESULT] = result
    Atomics.store(this.#ints, job * JOB_INTS + STATE, DONE)
  }

  /** Ends a fetch that succeeded. @param bytes number of bytes read */
  endFetch(job: number, bytes: number): void {
    this.#ints[job * JOB_INTS + ROOM] = bytes
    this.end(job, 0)
  }

  /** Frees a job that has ended. @returns its result; undefined while the job has not ended */
  collect(job: number): number | undefined {
    if (this.#state(job) !== DONE) return undefined
    const result = this.#int(job, RESULT)
    this.release(job)
    return result
  }

  #put(job: number, kind: JobKind, segments: Int32Array): void {
    const at = job * JOB_INTS
    this.#ints[at + CLOCK] = clock()
    this.#ints[at + KIND] = KINDS.indexOf(kind)
    this.#ints[at + COUNT] = segments.length / SEGMENT_INTS
    this.#ints.set(segments, at + HEADER_INTS)
    Atomics.store(this.#ints, at + STATE, WAITING)
  }

  #state(job: number): number {
    return Atomics.load(this.#ints, job * JOB_INTS + STATE)
  }

  #int(job: number, field: number): number {
    return this.#ints[job * JOB_INTS + field] ?? 0
  }
}

/** Milliseconds on a clock that all threads share, in 32 bits. */
function clock(): number {
  return Date.now() | 0
}

/**
 * The ages of all jobs that wait for a worker or are under way, milliseconds.
 * @param device of one mount; absent: of all, and of all kinds of jobs
 */
export function pendingAges(shared: SharedBuffers, device?: number): readonly number[] {
  const jobs = new JobTable(shared)
  return Array.from({ length: MAX_JOBS }, (_, job) => jobs.age(job, device)).filter(
    (age) => age !== undefined,
  )
}
