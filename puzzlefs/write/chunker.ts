import { hash } from 'node:crypto'

/** Sizes of chunks, bytes: the first and the last chunk of all may be smaller. */
const LEAST = 16 << 10
const CENTER = 64 << 10
export const MOST = 256 << 10

/**
 * Where the hash has zeros in all of these bits a chunk ends: more of them before the average size, so that small chunks
 * are rare, and fewer after it (FastCDC 2020, normalized chunking of level 1 for 64 KiB). The upper and the lower half.
 */
const BEFORE = { high: 0x0000_d907, low: 0x0353_7000 } as const
const AFTER = { high: 0x0000_d90f, low: 0x0353_0000 } as const

/** What each byte adds to the hash: the first half of the MD5 of 64 times that byte, as two words. */
const GEAR_HIGH = new Uint32Array(256)
const GEAR_LOW = new Uint32Array(256)
for (let byte = 0; byte < 256; byte++) {
  const digest = hash('md5', Buffer.alloc(64, byte), 'buffer')
  GEAR_HIGH[byte] = digest.readUInt32BE(0)
  GEAR_LOW[byte] = digest.readUInt32BE(4)
}

/** The length of the chunk at the beginning of some bytes. @param bytes all that there are, or `MOST` and more */
export function cut(bytes: Uint8Array): number {
  const length = Math.min(bytes.length, MOST)
  if (length <= LEAST) return length
  let [high, low] = [0, 0]
  // The original takes two bytes at once, so the last one of an odd number is not looked at.
  const center = Math.min(CENTER, length) & ~1
  const end = length & ~1
  let at = LEAST
  for (const [stop, mask] of [
    [center, BEFORE],
    [end, AFTER],
  ] as const) {
    for (; at < stop; at++) {
      const byte = bytes[at] ?? 0
      const sum = ((low << 1) >>> 0) + (GEAR_LOW[byte] ?? 0)
      high = ((high << 1) | (low >>> 31)) + (GEAR_HIGH[byte] ?? 0) + (sum > 0xffff_ffff ? 1 : 0)
      high >>>= 0
      low = sum >>> 0
      if ((high & mask.high) === 0 && (low & mask.low) === 0) return at
    }
  }
  return length
}

/** Cuts a stream into chunks by its content: what is inserted in the middle changes the chunks around it alone. */
export class Chunker {
  #bytes = new Uint8Array(2 * MOST)
  #length = 0

  /** The rest of the stream. */
  finish(): Generator<Uint8Array> {
    return this.#complete(1)
  }

  /** Takes bytes of the stream. @returns chunks that are complete, in order; each is valid until the next is asked for */
  *push(bytes: Uint8Array): Generator<Uint8Array> {
    for (let done = 0; done < bytes.length; ) {
      const part = bytes.subarray(done, done + this.#bytes.length - this.#length)
      this.#bytes.set(part, this.#length)
      this.#length += part.length
      done += part.length
      if (this.#length >= MOST) yield* this.#complete(MOST)
    }
  }

  /** @param least bytes that must be there for a cut */
  *#complete(least: number): Generator<Uint8Array> {
    let start = 0
    while (this.#length - start >= least) {
      const length = cut(this.#bytes.subarray(start, this.#length))
      yield this.#bytes.subarray(start, start + length)
      start += length
    }
    this.#bytes.copyWithin(0, start, this.#length)
    this.#length -= start
  }
}
