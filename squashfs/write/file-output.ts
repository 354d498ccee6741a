import { ftruncateSync, writeSync } from 'node:fs'
import { codeOfErrno, FsError } from '../../src/base/index.ts'
import type { ImageOutput } from './block-queue.ts'

/** An image that goes to an open file. */
export class FileOutput implements ImageOutput {
  readonly #fd: number
  readonly #label: string
  #position = 0

  /** @param fd open for writing, empty; stays the caller's */
  constructor(fd: number, label: string) {
    this.#fd = fd
    this.#label = label
  }

  get position(): number {
    return this.#position
  }

  write(bytes: Uint8Array): void {
    this.#position += this.#writeAt(bytes, this.#position)
  }

  writeAt(bytes: Uint8Array, position: number): void {
    this.#writeAt(bytes, position)
  }

  rewind(position: number): void {
    this.#position = position
  }

  /** Cuts off what stood behind the last position after a rewind, and fills up to it. */
  finish(): void {
    ftruncateSync(this.#fd, this.#position)
  }

  #writeAt(bytes: Uint8Array, position: number): number {
    let done = 0
    try {
      while (done < bytes.length) {
        done += writeSync(this.#fd, bytes, done, bytes.length - done, position + done)
      }
    } catch (error) {
      const { errno, code } = error as NodeJS.ErrnoException
      const at = position + done
      throw new FsError(
        codeOfErrno(-(errno ?? 0)),
        `${this.#label}: cannot be written at byte ${at}: ${code}`,
        {
          cause: error,
        },
      )
    }
    return done
  }
}
