import { fstatSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
import { type Blobs, FsError, messageOf } from '../base/index.ts'
import { pread } from '../sys/files/file-io.ts'
import { liesInMemory, PageCacheProbe } from '../sys/files/page-cache.ts'

/** Ints for each blob in the shared `states`. */
const NUMBERS = 5
/** Descriptor of the blob plus 1; 0 where it is closed. */
const STATE = 0
/** Number of threads that read the blob, or wait for it. */
const USERS = 1
/**
 * How often the main thread answered a wish for the blob, and how often it could not open it. Threads wait for a change
 * of ANSWERS.
 */
const ANSWERS = 2
const FAILURES = 3
/** 1 once a thread has said that the blob will be read, until it is closed. */
const EXPECTED = 4

/**
 * Behind the blobs: which thread counts as a user of which blob, for the case that it dies. Threads beyond these are not
 * noted.
 */
const HANDS = 64
/** Ints of a hand. The number of its thread plus 1; 0 where nobody has it. */
const OWNER = 0
/** The blob plus 1; 0 for none. */
const HELD = 1
const HAND_NUMBERS = 2

/** A thread waits for a blob, or says that one will be read. */
export type BlobWish = 'wanted' | 'expected'

/** Asks for a blob of one image to be opened, and does not wait for it. */
export type AskForBlob = (blob: number, wish: BlobWish) => void

/** The blobs of one image. Plain data for all threads. */
export interface BlobsSpec {
  /** O_PATH descriptor of the folder in which the files lie; of `places` the descriptor of the file. */
  readonly folder: number
  /** Whether the files lie in memory (`liesInMemory`). */
  readonly inMemory: boolean
  /** Where the blobs are parts of one file: the first byte and the length of each. Absent: each is a file. */
  readonly places?: SharedArrayBuffer
  /** The ints of `BlobStates`. */
  readonly states: SharedArrayBuffer
}

/** @param count of the blobs: whoever opens them knows their names */
export function allocateBlobs(folder: number, count: number): BlobsSpec {
  const ints = count * NUMBERS + HANDS * HAND_NUMBERS
  return {
    folder,
    inMemory: liesInMemory(folder),
    states: new SharedArrayBuffer(ints * Int32Array.BYTES_PER_ELEMENT),
  }
}

/** A part of a file, bytes. */
export interface BlobPlace {
  readonly offset: number
  readonly length: number
}

/**
 * Blobs that are parts of one file.
 * @param fd of the file, open for reading; the spec has it from then on
 * @param parts one for each blob
 */
export function allocateParts(fd: number, parts: readonly BlobPlace[]): BlobsSpec {
  const spec = allocateBlobs(fd, parts.length)
  const places = new SharedArrayBuffer(parts.length * 2 * Float64Array.BYTES_PER_ELEMENT)
  const states = new BlobStates(spec)
  new Float64Array(places).set(parts.flatMap(({ offset, length }) => [offset, length]))
  // All of them are open, and nobody closes them.
  for (const blob of parts.keys()) states.publish(blob, fd)
  return { ...spec, places }
}

/** Where a blob lies in the file of which it is a part; undefined where it is a file. */
export function placeOf({ places }: BlobsSpec, blob: number): BlobPlace | undefined {
  if (places === undefined) return undefined
  const [offset = 0, length = 0] = new Float64Array(places).subarray(blob * 2, blob * 2 + 2)
  return { offset, length }
}

/** How many blobs an image has. */
export function blobCount(spec: BlobsSpec): number {
  return new BlobStates(spec).count
}

/** Descriptors of an image's open blobs at this moment, and of their folder. */
export function blobDescriptors(spec: BlobsSpec): readonly number[] {
  if (spec.places !== undefined) return [spec.folder]
  const states = new BlobStates(spec)
  const open = Array.from({ length: states.count }, (_, blob) => states.descriptor(blob))
  return [spec.folder, ...open.filter((fd) => fd !== undefined)]
}

/** The shared state of the blobs. All access is atomic. */
export class BlobStates {
  readonly count: number
  readonly #numbers: Int32Array
  /** Where the hand of this thread is, once it has one. */
  #hand: number | undefined

  constructor({ states }: BlobsSpec) {
    this.#numbers = new Int32Array(states)
    this.count = (this.#numbers.length - HANDS * HAND_NUMBERS) / NUMBERS
  }

  /** The descriptor; undefined where the blob is not open. */
  descriptor(blob: number): number | undefined {
    const state = Atomics.load(this.#numbers, blob * NUMBERS + STATE)
    return state > 0 ? state - 1 : undefined
  }

  /**
   * Counts this thread as a user, of one blob at a time. Until `release`, a descriptor that `descriptor` gives stays open.
   */
  use(blob: number): void {
    Atomics.add(this.#numbers, blob * NUMBERS + USERS, 1)
    // In this order: a thread that dies in between is counted for good, and a blob that is used is never closed.
    this.#hand ??= this.#takeHand()
    if (this.#hand !== undefined) Atomics.store(this.#numbers, this.#hand + HELD, blob + 1)
  }

  release(blob: number): void {
    if (this.#hand !== undefined) Atomics.store(this.#numbers, this.#hand + HELD, 0)
    Atomics.sub(this.#numbers, blob * NUMBERS + USERS, 1)
  }

  /** For another thread, after the end of one: it is no user any more. @param thread its `threadId` */
  forgetThread(thread: number): void {
    const hand = this.#handOf(thread)
    if (hand === undefined) return
    const held = Atomics.exchange(this.#numbers, hand + HELD, 0)
    if (held > 0) Atomics.sub(this.#numbers, (held - 1) * NUMBERS + USERS, 1)
    Atomics.store(this.#numbers, hand + OWNER, 0)
  }

  #takeHand(): number | undefined {
    const own = this.#handOf(threadId)
    if (own !== undefined) return own
    for (let hand = this.count * NUMBERS; hand < this.#numbers.length; hand += HAND_NUMBERS) {
      if (Atomics.compareExchange(this.#numbers, hand + OWNER, 0, threadId + 1) === 0) return hand
    }
    return undefined
  }

  #handOf(thread: number): number | undefined {
    for (let hand = this.count * NUMBERS; hand < this.#numbers.length; hand += HAND_NUMBERS) {
      if (Atomics.load(this.#numbers, hand + OWNER) === thread + 1) return hand
    }
    return undefined
  }

  isUsed(blob: number): boolean {
    return Atomics.load(this.#numbers, blob * NUMBERS + USERS) > 0
  }

  /** Gives all threads the descriptor of an open blob, and wakes those that wait for it. */
  publish(blob: number, fd: number): void {
    Atomics.store(this.#numbers, blob * NUMBERS + STATE, fd + 1)
    this.#answer(blob)
  }

  /** Notes that a blob cannot be opened, and wakes the threads that wait for it. */
  fail(blob: number): void {
    Atomics.add(this.#numbers, blob * NUMBERS + FAILURES, 1)
    this.#answer(blob)
  }

  /** Keeps threads from beginning to use the descriptor. Threads that use it already are counted. */
  withdraw(blob: number): void {
    Atomics.store(this.#numbers, blob * NUMBERS + STATE, 0)
    Atomics.store(this.#numbers, blob * NUMBERS + EXPECTED, 0)
  }

  /** Notes that a blob will be read. @returns false where that was known, or the blob is open */
  expect(blob: number): boolean {
    if (Atomics.load(this.#numbers, blob * NUMBERS + STATE) > 0) return false
    return Atomics.exchange(this.#numbers, blob * NUMBERS + EXPECTED, 1) === 0
  }

  /**
   * Asks for a blob and waits for the answer.
   * @returns false where the main thread failed to open it meanwhile; else the caller looks at `descriptor` again
   */
  wait(blob: number, ask: AskForBlob): boolean {
    const at = blob * NUMBERS
    const failures = Atomics.load(this.#numbers, at + FAILURES)
    const answers = Atomics.load(this.#numbers, at + ANSWERS)
    ask(blob, 'wanted')
    Atomics.wait(this.#numbers, at + ANSWERS, answers)
    return Atomics.load(this.#numbers, at + FAILURES) === failures
  }

  #answer(blob: number): void {
    Atomics.add(this.#numbers, blob * NUMBERS + ANSWERS, 1)
    Atomics.notify(this.#numbers, blob * NUMBERS + ANSWERS)
  }
}

const WHOLE_FILE: BlobPlace = { offset: 0, length: Infinity }

/** The blobs of one image in one thread. */
export class SharedBlobs implements Blobs {
  readonly #spec: BlobsSpec
  readonly #states: BlobStates
  readonly #label: string
  readonly #ask: AskForBlob
  readonly #pageCache: PageCacheProbe

  /**
   * @param label names the image in messages
   * @param ask asks the main thread to open a blob (`BlobKeeper`), without waiting
   */
  constructor(spec: BlobsSpec, label: string, ask: AskForBlob) {
    this.#spec = spec
    this.#states = new BlobStates(spec)
    this.#label = label
    this.#ask = ask
    this.#pageCache = new PageCacheProbe(spec.folder, spec.inMemory)
  }

  readInto(blob: number, position: number, target: Uint8Array): void {
    this.#using(blob, () => {
      const fd = this.#open(blob)
      const { offset, length } = placeOf(this.#spec, blob) ?? WHOLE_FILE
      const inside = Math.max(0, Math.min(target.length, length - position))
      const count = this.#read(blob, fd, offset + position, target.subarray(0, inside))
      if (count === target.length) return
      throw new FsError('EIO', `${this.#what(blob)}: ends at ${position + count}`)
    })
  }

  sizeOf(blob: number): number {
    return this.#using(blob, () => placeOf(this.#spec, blob)?.length ?? fstatSync(this.#open(blob)).size)
  }

  isAtHand(blob: number, position: number, length: number): boolean {
    return this.#using(blob, () => {
      const fd = this.#states.descriptor(blob)
      if (fd === undefined) return false
      const place = placeOf(this.#spec, blob) ?? { offset: 0, length: fstatSync(fd).size }
      const inside = Math.max(0, Math.min(length, place.length - position))
      return this.#pageCache.isAtHand(place.offset + position, inside, fd)
    })
  }

  expect(blob: number): void {
    if (blob >= 0 && blob < this.#states.count && this.#states.expect(blob)) this.#ask(blob, 'expected')
  }

  #using<T>(blob: number, work: () => T): T {
    if (!(blob >= 0 && blob < this.#states.count)) {
      throw new FsError('EIO', `${this.#label}: blob ${blob} of ${this.#states.count}`)
    }
    this.#states.use(blob)
    try {
      return work()
    } finally {
      this.#states.release(blob)
    }
  }

  /** @returns a descriptor that stays open while this thread counts as a user */
  #open(blob: number): number {
    for (;;) {
      const fd = this.#states.descriptor(blob)
      if (fd !== undefined) return fd
      if (!this.#states.wait(blob, this.#ask))
        throw new FsError('EIO', `${this.#what(blob)}: cannot be opened`)
    }
  }

  #read(blob: number, fd: number, position: number, target: Uint8Array): number {
    try {
      return pread(fd, position, target)
    } catch (error) {
      throw new FsError('EIO', `${this.#what(blob)}: ${messageOf(error)}`, { cause: error })
    }
  }

  #what(blob: number): string {
    return `${this.#label}: blob ${blob}`
  }
}
