import { createHash, type Hash } from 'node:crypto'
import { ftruncateSync, writeSync } from 'node:fs'
import { codeOfErrno, FsError } from '../../src/base/index.ts'
import type { ImageOutput, OutputMark } from './block-queue.ts'

/** A position, with the state of the digest there. */
class FileMark implements OutputMark {
  readonly position: number
  readonly hash: Hash | undefined

  constructor(position: number, hash: Hash | undefined) {
    this.position = position
    this.hash = hash?.copy()
  }
}

/** An image that goes to an open file. Its bytes are hashed while they are at hand, if that is wanted. */
export class FileOutput implements ImageOutput {
  readonly #fd: number
  readonly #label: string
  #position = 0
  #hash: Hash | undefined

  /**
   * @param fd open for writing, empty; stays the caller's
   * @param isHashed `digest` will be asked for
   */
  constructor(fd: number, label: string, isHashed = false) {
    this.#fd = fd
    this.#label = label
    this.#hash = isHashed ? createHash('sha256') : undefined
  }

  get position(): number {
    return this.#position
  }

  write(bytes: Uint8Array): void {
    this.#position += this.#writeAt(bytes, this.#position)
    this.#hash?.update(bytes)
  }

  writeAt(bytes: Uint8Array, position: number): void {
    this.#writeAt(bytes, position)
    this.#hash?.update(bytes)
  }

  mark(): OutputMark {
    return new FileMark(this.#position, this.#hash)
  }

  rewind(mark: OutputMark): void {
    if (!(mark instanceof FileMark)) throw new FsError('EINVAL', 'a mark of another output')
    this.#position = mark.position
    // The mark may be used again.
    this.#hash = mark.hash?.copy()
  }

  /** Cuts off what stood behind the last position after a rewind, and fills up to it. */
  finish(): void {
    ftruncateSync(this.#fd, this.#position)
  }

  /**
   * SHA-256 of all that was written and not taken back by `rewind`, in the order in which it was written: the superblock
   * comes last. Equal images have equal ones. Ends the use of the output.
   * @returns undefined if the output was told that nobody wants it
   */
  digest(): Buffer | undefined {
    return this.#hash?.digest()
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
