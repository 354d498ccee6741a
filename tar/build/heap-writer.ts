import { writeSync } from 'node:fs'
import { FsError } from '../../src/base/index.ts'

const BUFFER = 1 << 20

/** Writes a file from a byte on, in order. */
export class HeapWriter {
  readonly #fd: number
  readonly #limit: number
  readonly #buffer = Buffer.alloc(BUFFER)
  #written: number
  #filled = 0

  /** @param limit most bytes of the file */
  constructor(fd: number, start: number, limit = Infinity) {
    this.#fd = fd
    this.#limit = limit
    this.#written = start
  }

  /** Byte at which the next one will be. */
  get position(): number {
    return this.#written + this.#filled
  }

  /** @returns where the bytes are. @throws FsError EFBIG behind the limit; ErrnoException ENOSPC, … */
  add(bytes: Uint8Array): number {
    const at = this.position
    if (at + bytes.length > this.#limit) {
      throw new FsError('EFBIG', `its index has more than ${this.#limit >> 20} MiB, which is the limit`)
    }
    if (this.#filled + bytes.length > BUFFER) this.flush()
    if (bytes.length > BUFFER) this.#write(bytes)
    else {
      this.#buffer.set(bytes, this.#filled)
      this.#filled += bytes.length
    }
    return at
  }

  /** Fills up with zeros to a multiple of `unit`. */
  align(unit: number): void {
    this.add(Buffer.alloc((unit - (this.position % unit)) % unit))
  }

  flush(): void {
    this.#write(this.#buffer.subarray(0, this.#filled))
    this.#filled = 0
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#written + done)
    }
    this.#written += bytes.length
  }
}
