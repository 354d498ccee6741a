import { createHash } from 'node:crypto'
import { FsError } from '../../base/index.ts'
import type { Digest } from '../../oci/index.ts'

/** What the bytes of a stream must be. */
export interface Expected {
  /** Absent: nothing is known of them. */
  readonly digest?: Digest | undefined
  /** Bytes. */
  readonly size?: number | undefined
}

/** Passes the bytes of a stream on, and hashes and counts them. */
export class HashedStream implements AsyncIterable<Uint8Array> {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #expected: Expected
  readonly #hash
  readonly #onProgress: ((done: number) => void) | undefined
  #length = 0

  /** @param onProgress gets the number of bytes so far */
  constructor(
    stream: AsyncIterable<Uint8Array>,
    expected: Expected = {},
    onProgress?: (done: number) => void,
  ) {
    this.#chunks = stream[Symbol.asyncIterator]()
    this.#expected = expected
    this.#hash = createHash(expected.digest?.algorithm ?? 'sha256')
    this.#onProgress = onProgress
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const { size = Infinity } = this.#expected
    for (let next = await this.#chunks.next(); next.done !== true; next = await this.#chunks.next()) {
      this.#length += next.value.length
      this.#hash.update(next.value)
      this.#onProgress?.(this.#length)
      if (this.#length > size) return
      yield next.value
    }
  }

  /**
   * Reads what is left, and compares.
   * @param what names the bytes in messages: `blob`
   * @throws FsError EIO where they are not those that were expected
   */
  async check(what: string): Promise<void> {
    for await (const _ of this);
    const { digest, size } = this.#expected
    if (size !== undefined && this.#length !== size) {
      const found = this.#length > size ? 'has more' : `has ${this.#length}`
      throw new FsError('EIO', `the ${what} must have ${size} bytes, and ${found}: fetch the image again`)
    }
    if (digest === undefined) return
    const actual = this.#hash.digest('hex')
    if (actual === digest.hex) return
    throw new FsError(
      'EIO',
      `the ${what} has digest ${digest.algorithm}:${actual}, and ${digest.text} is expected: fetch the image again`,
    )
  }
}
