/** A small seeded generator (mulberry32): the same seed gives the same trees on every machine. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A 32-bit unsigned integer. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }

  /** An integer in [low, high]. */
  int(low: number, high: number): number {
    return low + (this.next() % (high - low + 1))
  }

  /** True with the probability `p`. */
  chance(p: number): boolean {
    return this.next() < p * 2 ** 32
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.next() % items.length]
    if (item === undefined) throw new Error('pick from an empty list')
    return item
  }

  /** Bytes that do not compress. */
  bytes(length: number): Buffer {
    const out = Buffer.alloc(length)
    let i = 0
    for (; i + 4 <= length; i += 4) out.writeUInt32LE(this.next(), i)
    for (; i < length; i += 1) out[i] = this.next() & 0xff
    return out
  }

  /** Bytes that compress to about a third: words of a small vocabulary. */
  text(length: number): Buffer {
    const words: string[] = []
    for (let size = 0; size < length; ) {
      const word = WORDS[this.next() % WORDS.length] ?? ''
      const piece = this.chance(0.1) ? `${word} ${this.next()}\n` : `${word} `
      words.push(piece)
      size += piece.length
    }
    return Buffer.from(words.join('').slice(0, length))
  }
}

const WORDS = 'layer block inode table merge root tree upper lower name value offset length hash salt'.split(
  ' ',
)
