import { fstatSync } from 'node:fs'
import { type Blobs, FsError, messageOf } from '../base/index.ts'
import { pread } from '../sys/files/file-io.ts'
import { PageCacheProbe } from '../sys/files/page-cache.ts'

/** Ints for each blob in the shared `states`. */
const NUMBERS = 4
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

/** The blobs of one image. Plain data for all threads. */
export interface BlobsSpec {
  /** O_PATH descriptor of the folder in which the files lie. */
  readonly folder: number
  /** Names of the files as bytes, one after the other, all of one length. */
  readonly names: SharedArrayBuffer
  readonly nameLength: number
  /** The ints of `BlobStates`. */
  readonly states: SharedArrayBuffer
}

/** @param names of the files, all of one length */
export function allocateBlobs(folder: number, names: readonly string[]): BlobsSpec {
  const nameLength = names[0]?.length ?? 0
  const bytes = Buffer.from(new SharedArrayBuffer(names.length * nameLength))
  names.forEach((name, blob) => {
    if (name.length !== nameLength) throw new FsError('EIO', `blob ${name}: digests of different lengths`)
    bytes.write(name, blob * nameLength, 'latin1')
  })
  const states = new SharedArrayBuffer(names.length * NUMBERS * Int32Array.BYTES_PER_ELEMENT)
  return { folder, names: bytes.buffer as SharedArrayBuffer, nameLength, states }
}

/** How many blobs an image has. */
export function blobCount(spec: BlobsSpec): number {
  return new BlobStates(spec).count
}

/** The names of all blobs of an image, in order. */
export function blobNames(spec: BlobsSpec): readonly string[] {
  const states = new BlobStates(spec)
  return Array.from({ length: states.count }, (_, blob) => states.nameOf(blob))
}

/** Descriptors of an image's open blobs at this moment, and of their folder. */
export function blobDescriptors(spec: BlobsSpec): readonly number[] {
  const states = new BlobStates(spec)
  const open = Array.from({ length: states.count }, (_, blob) => states.descriptor(blob))
  return [spec.folder, ...open.filter((fd) => fd !== undefined)]
}

/** The shared state of the blobs. All access is atomic. */
export class BlobStates {
  readonly count: number
  readonly #numbers: Int32Array
  readonly #spec: BlobsSpec

  constructor(spec: BlobsSpec) {
    this.#spec = spec
    this.#numbers = new Int32Array(spec.states)
    this.count = this.#numbers.length / NUMBERS
  }

  nameOf(blob: number): string {
    const { names, nameLength } = this.#spec
    return Buffer.from(names, blob * nameLength, nameLength).toString('latin1')
  }

  /** The descriptor; undefined where the blob is not open. */
  descriptor(blob: number): number | undefined {
    const state = Atomics.load(this.#numbers, blob * NUMBERS + STATE)
    return state > 0 ? state - 1 : undefined
  }

  /** Counts this thread as a user. Until `release`, a descriptor that `descriptor` gives stays open. */
  use(blob: number): void {
    Atomics.add(this.#numbers, blob * NUMBERS + USERS, 1)
  }

  release(blob: number): void {
    Atomics.sub(this.#numbers, blob * NUMBERS + USERS, 1)
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
  }

  /**
   * Asks for a blob and waits for the answer.
   * @returns false where the main thread failed to open it meanwhile; else the caller looks at `descriptor` again
   */
  wait(blob: number, ask: (blob: number) => void): boolean {
    const at = blob * NUMBERS
    const failures = Atomics.load(this.#numbers, at + FAILURES)
    const answers = Atomics.load(this.#numbers, at + ANSWERS)
    ask(blob)
    Atomics.wait(this.#numbers, at + ANSWERS, answers)
    return Atomics.load(this.#numbers, at + FAILURES) === failures
  }

  #answer(blob: number): void {
    Atomics.add(this.#numbers, blob * NUMBERS + ANSWERS, 1)
    Atomics.notify(this.#numbers, blob * NUMBERS + ANSWERS)
  }
}

/** The blobs of one image in one thread. */
export class SharedBlobs implements Blobs {
  readonly #states: BlobStates
  readonly #label: string
  readonly #ask: (blob: number) => void
  readonly #pageCache: PageCacheProbe | undefined

  /**
   * @param label names the image in messages
   * @param ask asks the main thread to open a blob (`BlobKeeper.open`), without waiting
   * @param probes false for a thread that never asks what is at hand (`FileSource`)
   */
  constructor(spec: BlobsSpec, label: string, ask: (blob: number) => void, probes = true) {
    this.#states = new BlobStates(spec)
    this.#label = label
    this.#ask = ask
    this.#pageCache = probes ? new PageCacheProbe(spec.folder) : undefined
  }

  readInto(blob: number, position: number, target: Uint8Array): void {
    this.#using(blob, () => {
      const fd = this.#open(blob)
      const count = this.#read(blob, fd, position, target)
      if (count === target.length) return
      throw new FsError('EIO', `${this.#what(blob)}: ends at ${position + count}`)
    })
  }

  sizeOf(blob: number): number {
    return this.#using(blob, () => fstatSync(this.#open(blob)).size)
  }

  isAtHand(blob: number, position: number, length: number): boolean {
    return this.#using(blob, () => {
      const fd = this.#states.descriptor(blob)
      if (fd === undefined) return false
      const inside = Math.max(0, Math.min(length, fstatSync(fd).size - position))
      return this.#pageCache?.isAtHand(position, inside, fd) !== false
    })
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
    return `${this.#label}: blob ${this.#states.nameOf(blob)}`
  }
}
