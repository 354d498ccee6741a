import { closeSync } from 'node:fs'

/** Beyond them a descriptor is not noted: no process of ours raises its limit further. */
const MOST = 1 << 20

/**
 * Notes of the descriptors that one thread keeps open, in shared memory: where it dies, another one closes them. Node does
 * that for files that its own functions have opened, and for no others.
 */
export class KeptDescriptors {
  readonly memory: SharedArrayBuffer
  /** One bit each. */
  readonly #words: Int32Array

  /** @param memory of another thread's object; new memory where absent, of which only what is used is touched */
  constructor(memory = new SharedArrayBuffer(MOST >>> 3)) {
    this.memory = memory
    this.#words = new Int32Array(memory)
  }

  add(fd: number): void {
    if (fd < MOST) Atomics.or(this.#words, fd >>> 5, 1 << (fd & 31))
  }

  /** To be called before it is closed: then its number may be another file's at once. */
  delete(fd: number): void {
    if (fd < MOST) Atomics.and(this.#words, fd >>> 5, ~(1 << (fd & 31)))
  }

  /** Closes those that are noted. To be called when the thread has ended, and whoever else it gave them to. */
  closeAll(): void {
    for (const [at, bits] of this.#words.entries()) {
      if (bits === 0) continue
      for (let bit = 0; bit < 32; bit++) if ((bits & (1 << bit)) !== 0) this.#close(at * 32 + bit)
    }
  }

  #close(fd: number): void {
    this.delete(fd)
    closeSync(fd)
  }
}
