import { closeSync, constants, fstatSync } from 'node:fs'
import { FsError } from '../base/index.ts'
import { openAt } from '../sys/files/at.ts'
import { beginReading } from '../sys/files/file-io.ts'
import { BlobStates, type BlobsSpec } from './blobs.ts'

const { O_NONBLOCK, O_RDONLY } = constants

/** Most open blobs of one image, unless threads read more of them at once. */
const OPEN_BLOBS = 128
/** Bytes of a blob that are read beforehand. */
const FETCHED = 1 << 20

/**
 * Opens the blobs of one image for all threads of a mount, and closes those that were opened longest ago. It runs on
 * the main thread. It opens files by one name below a held folder, so the kernel resolves no path of the machine.
 */
export class BlobKeeper {
  readonly #folder: number
  readonly #nameOf: (blob: number) => string
  readonly #states: BlobStates
  readonly #limit: number
  /** Open blobs in the order in which they were opened. */
  readonly #open = new Map<number, number>()

  /** @param nameOf gives the file of a blob. @throws FsError EIO */
  constructor(spec: BlobsSpec, nameOf: (blob: number) => string, limit: number = OPEN_BLOBS) {
    this.#folder = spec.folder
    this.#nameOf = nameOf
    this.#states = new BlobStates(spec)
    this.#limit = limit
  }

  /** Number of open blobs. */
  get count(): number {
    return this.#open.size
  }

  /**
   * Opens a blob for a thread that waits for it (`SharedBlobs`), if it is not open yet.
   * @throws FsError with the reason why it cannot be opened; the waiting threads are awake by then
   */
  open(blob: number): void {
    const present = this.#open.get(blob)
    if (present !== undefined) {
      // The thread looked before the blob was open, and still waits.
      this.#states.publish(blob, present)
      return
    }
    let fd: number
    try {
      fd = openBlob(this.#folder, this.#nameOf(blob))
    } catch (error) {
      this.#states.fail(blob)
      throw error
    }
    this.#open.set(blob, fd)
    this.#states.publish(blob, fd)
    this.#closeOldest()
  }

  /** Opens a blob that will be read soon, and begins to read it. It may be missing: whoever reads it will be told. */
  expect(blob: number): void {
    if (this.#open.has(blob)) return
    try {
      this.open(blob)
    } catch (error) {
      if (error instanceof FsError) return
      throw error
    }
    const fd = this.#open.get(blob)
    if (fd !== undefined) beginReading(fd, 0, FETCHED)
  }

  /** A thread has ended, perhaps while it read a blob. @param thread its `threadId` */
  forgetThread(thread: number): void {
    this.#states.forgetThread(thread)
  }

  #closeOldest(): void {
    for (const [blob, fd] of this.#open) {
      if (this.#open.size <= this.#limit) return
      // In this order: a thread first counts itself and then looks for the descriptor, so a thread that saw it is
      // counted.
      this.#states.withdraw(blob)
      if (this.#states.isUsed(blob)) this.#states.publish(blob, fd)
      else {
        this.#open.delete(blob)
        closeSync(fd)
      }
    }
  }
}

/**
 * Opens one file of a folder of blobs.
 * @returns a descriptor; the caller closes it
 * @throws FsError ENOENT, EACCES, ELOOP for a symbolic link, EIO for anything but a regular file
 */
export function openBlob(folder: number, name: string): number {
  const fd = openAt(folder, name, O_RDONLY | O_NONBLOCK)
  if (fstatSync(fd).isFile()) return fd
  closeSync(fd)
  throw new FsError('EIO', `${name}: is not a regular file`)
}
