import { FsError } from '../../src/base/index.ts'

/** Bytes of a blob, taken chunk by chunk. */
export class Feed {
  readonly #next: () => Uint8Array | undefined
  #rest: Uint8Array = new Uint8Array(0)
  /** Byte of the blob that comes next. */
  position: number

  /** @param next gives the next chunk, which may lie where the last one did */
  constructor(next: () => Uint8Array | undefined, position = 0) {
    this.#next = next
    this.position = position
  }

  /** What is there of the chunk, never empty; undefined at the end. */
  chunk(): Uint8Array | undefined {
    while (this.#rest.length === 0) {
      const next = this.#next()
      if (next === undefined) return undefined
      this.#rest = next
    }
    return this.#rest
  }

  take(length: number): void {
    this.#rest = this.#rest.subarray(length)
    this.position += length
  }

  byte(): number | undefined {
    const value = this.chunk()?.[0]
    if (value !== undefined) this.take(1)
    return value
  }

  /** @throws FsError EIO at the end */
  must(): number {
    const value = this.byte()
    if (value === undefined) throw new FsError('EIO', `gzip data end at byte ${this.position}, in a header`)
    return value
  }
}
