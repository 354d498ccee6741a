import { addressOf } from './ffi.ts'

/**
 * Memory for the structures of system calls. All calls of a thread share it, so that a call allocates nothing. The
 * first use of the address loads the FFI.
 */
export class Scratch {
  readonly bytes: Buffer
  #address: number | undefined

  constructor(size: number) {
    this.bytes = Buffer.alloc(size)
  }

  get address(): number {
    this.#address ??= addressOf(this.bytes)
    return this.#address
  }

  /** The memory as 32-bit words, in the byte order of the machine. */
  words(): Uint32Array {
    return new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length >>> 2)
  }
}
