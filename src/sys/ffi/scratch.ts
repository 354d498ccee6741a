import { addressOf } from './ffi.ts'

/**
 * Memory that system calls read from or write to, used again by every call of a thread: a call then allocates
 * nothing. The FFI's library is not loaded before the address is asked for.
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

  /** The memory as words of 32 bits, in the order of the machine. */
  words(): Uint32Array {
    return new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length >>> 2)
  }
}
