import { type Blobs, FsError, messageOf } from '../base/index.ts'
import { pread } from '../sys/files/file-io.ts'
import { PageCacheProbe } from '../sys/files/page-cache.ts'

/** Numbers that the threads share for each blob. */
const NUMBERS = 4
/** Its descriptor, plus 1; 0 where it is closed. */
const STATE = 0
/** How many threads are reading it, or wait for it. */
const USERS = 1
/** How often the main thread tried to open it, and how often it failed. Threads wait for the first. */
const ANSWERS = 2
const FAILURES = 3

/** The blobs of one image: plain data for all threads. */
export interface BlobsSpec {
  /** O_PATH descriptor of the folder in which the files lie. */
  readonly folder: number
  /** Names of the files, as bytes, all of one length, one after the other. */
  readonly names: SharedArrayBuffer
  readonly nameLength: number
  /** What is open. */
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

/** What is open of an image's blobs at this moment, their folder included. */
export function blobDescriptors(spec: BlobsSpec): readonly number[] {
  const states = new BlobStates(spec)
  const open = Array.from({ length: states.count }, (_, blob) => states.descriptor(blob))
  return [spec.folder, ...open.filter((fd) => fd !== undefined)]
}

/** The numbers behind a spec. All access is atomic. */
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

  /** From here to `release` a descriptor that `descriptor` gives stays open. */
  use(blob: number): void {
    Atomics.add(this.#numbers, blob * NUMBERS + USERS, 1)
  }

  release(blob: number): void {
    Atomics.sub(this.#numbers, blob * NUMBERS + USERS, 1)
  }

  isUsed(blob: number): boolean {
    return Atomics.load(this.#numbers, blob * NUMBERS + USERS) > 0
  }

  /** Says to all threads what a blob is open as. */
  publish(blob: number, fd: number): void {
    Atomics.store(this.#numbers, blob * NUMBERS + STATE, fd + 1)
    this.#answer(blob)
  }

  /** Says to the threads that wait for a blob that it cannot be opened. */
  fail(blob: number): void {
    Atomics.add(this.#numbers, blob * NUMBERS + FAILURES, 1)
    this.#answer(blob)
  }

  /** No thread begins to use the descriptor any more. Those that do already are counted. */
  withdraw(blob: number): void {
    Atomics.store(this.#numbers, blob * NUMBERS + STATE, 0)
  }

  /**
   * Asks for a blob and waits for the answer.
   * @returns false where the main thread failed to open it meanwhile; otherwise `descriptor` may know it
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
  readonly #pageCache: PageCacheProbe

  /**
   * @param label of the image, for messages
   * @param ask asks the main thread to open a blob (`BlobKeeper.open`), and does not wait for it
   */
  constructor(spec: BlobsSpec, label: string, ask: (blob: number) => void) {
    this.#states = new BlobStates(spec)
    this.#label = label
    this.#ask = ask
    this.#pageCache = new PageCacheProbe(spec.folder)
  }

  readInto(blob: number, position: number, target: Uint8Array): void {
    this.#using(blob, () => {
      const fd = this.#open(blob)
      const count = this.#read(blob, fd, position, target)
      if (count === target.length) return
      throw new FsError('EIO', `${this.#what(blob)}: ends at ${position + count}`)
    })
  }

  isAtHand(blob: number, position: number, length: number): boolean {
    return this.#using(blob, () => {
      const fd = this.#states.descriptor(blob)
      return fd !== undefined && this.#pageCache.isAtHand(position, length, fd)
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

  /** @returns a descriptor that stays open as long as this thread counts as a user */
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
