import { FsError } from '../../src/base/index.ts'

/** Bytes of a stream, taken in pieces of any size. */
export class ByteQueue {
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Buffer = Buffer.alloc(0)
  #position = 0

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]()
  }

  /** Bytes taken so far. */
  get position(): number {
    return this.#position
  }

  /**
   * Takes exactly so many bytes.
   * @returns undefined at the end of the stream
   * @throws FsError EIO if the stream ends within them
   */
  async take(length: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = []
    for (let missing = length; missing > 0; ) {
      const part = await this.#some(missing)
      if (part === undefined) {
        if (missing === length) return undefined
        throw this.#tooShort(missing)
      }
      parts.push(part)
      missing -= part.length
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts)
  }

  /** Takes exactly so many bytes, in pieces. @throws FsError EIO if the stream ends before */
  async *stream(length: number): AsyncGenerator<Buffer> {
    for (let missing = length; missing > 0; ) {
      const part = await this.#some(missing)
      if (part === undefined) throw this.#tooShort(missing)
      missing -= part.length
      yield part
    }
  }

  /** @throws FsError EIO if the stream ends before */
  async skip(length: number): Promise<void> {
    for await (const _ of this.stream(length));
  }

  /** Takes all that is left. @returns bytes from the first one on that is not zero */
  async drain(): Promise<number> {
    let length = 0
    for (let part = await this.#some(Infinity); part !== undefined; part = await this.#some(Infinity)) {
      const zeros = length > 0 ? 0 : part.findIndex((byte) => byte !== 0)
      length += zeros < 0 ? 0 : part.length - zeros
    }
    return length
  }

  /** Ends the stream before its end. */
  async close(): Promise<void> {
    await this.#chunks.return?.()
  }

  async #some(most: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const { value, done } = await this.#chunks.next()
      if (done === true) return undefined
      this.#rest = Buffer.from(value.buffer, value.byteOffset, value.length)
    }
    const part = this.#rest.subarray(0, Math.min(most, this.#rest.length))
    this.#rest = this.#rest.subarray(part.length)
    this.#position += part.length
    return part
  }

  #tooShort(missing: number): FsError {
    return new FsError('EIO', `the archive ends at byte ${this.#position}, ${missing} bytes too early`)
  }
}
