import { closeSync, constants, fstatSync } from 'node:fs'
import { FsError } from '../base/index.ts'
import { openAt } from '../sys/files/at.ts'
import { BlobStates, type BlobsSpec } from './blobs.ts'

const { O_NONBLOCK, O_RDONLY } = constants

/** Blobs of one image that are open at a time, as long as no more are read at once. */
const OPEN_BLOBS = 128

/**
 * Opens the blobs of one image for all threads of a mount, and closes those that were opened longest ago. Lives in the
 * main thread. Files are opened by one name below a held folder, so no path of the machine is resolved.
 */
export class BlobKeeper {
  readonly #folder: number
  readonly #states: BlobStates
  readonly #limit: number
  /** Open blobs in the order in which they were opened. */
  readonly #open = new Map<number, number>()

  constructor(spec: BlobsSpec, limit: number = OPEN_BLOBS) {
    this.#folder = spec.folder
    this.#states = new BlobStates(spec)
    this.#limit = limit
  }

  /** Blobs that are open. */
  get count(): number {
    return this.#open.size
  }

  /**
   * Opens a blob for a thread that waits for it (`SharedBlobs`), if it is not open yet.
   * @throws FsError that says why it cannot be opened; the thread was given its answer before
   */
  open(blob: number): void {
    const present = this.#open.get(blob)
    if (present !== undefined) {
      // The thread may have looked before it was open, and waits since.
      this.#states.publish(blob, present)
      return
    }
    let fd: number
    try {
      fd = openFile(this.#folder, this.#states.nameOf(blob))
    } catch (error) {
      this.#states.fail(blob)
      throw error
    }
    this.#open.set(blob, fd)
    this.#states.publish(blob, fd)
    this.#closeOldest()
  }

  #closeOldest(): void {
    for (const [blob, fd] of this.#open) {
      if (this.#open.size <= this.#limit) return
      // In this order: a thread counts itself first and looks for the descriptor then, so one that saw it is counted.
      this.#states.withdraw(blob)
      if (this.#states.isUsed(blob)) this.#states.publish(blob, fd)
      else {
        this.#open.delete(blob)
        closeSync(fd)
      }
    }
  }
}

/** @throws FsError ENOENT, EACCES, ELOOP for a symbolic link, EIO for what is no regular file */
function openFile(folder: number, name: string): number {
  const fd = openAt(folder, name, O_RDONLY | O_NONBLOCK)
  if (fstatSync(fd).isFile()) return fd
  closeSync(fd)
  throw new FsError('EIO', `${name}: is not a regular file`)
}
