/** How objects of one message lie: in one segment, or in several, which far pointers of one or two words join. */
export type Segmentation = 'one' | 'far' | 'double far'

const SEGMENTS = 5

/** Where an object lies. */
export interface Spot {
  readonly segment: number
  readonly word: number
}

/** What lies at a spot: the second half of a pointer to it, and its kind. */
export interface Made extends Spot {
  readonly kind: number
  readonly half: number
}

/** A struct or list that is being filled. */
export interface StructSizes {
  readonly data: number
  readonly pointers: number
}

/** Makes Cap'n Proto messages word by word, also such that no builder makes. */
export class MessageBuilder {
  readonly #segments: number[][]
  readonly #segmentation: Segmentation
  #next = 0

  constructor(segmentation: Segmentation = 'one') {
    this.#segmentation = segmentation
    this.#segments = Array.from({ length: segmentation === 'one' ? 1 : SEGMENTS }, () => [])
    // The root pointer is the first word of the first segment.
    this.#segments[0]!.push(0, 0)
  }

  /** Room for words, all zero. */
  allocate(words: number, segment = this.#next++ % this.#segments.length): Spot {
    const content = this.#segments[segment]!
    const word = content.length / 2
    for (let i = 0; i < 2 * words; i++) content.push(0)
    return { segment, word }
  }

  struct({ data, pointers }: StructSizes): Made {
    return { ...this.allocate(data + pointers), kind: 0, half: data + pointers * 2 ** 16 }
  }

  /** A list of structs. @returns where its first element begins, too */
  list(count: number, { data, pointers }: StructSizes): Made & { readonly first: number } {
    const words = count * (data + pointers)
    const spot = this.allocate(1 + words)
    this.put(spot, 0, count * 4, data + pointers * 2 ** 16)
    return { ...spot, kind: 1, half: 7 + words * 8, first: spot.word + 1 }
  }

  data(bytes: Uint8Array): Made {
    const spot = this.allocate(Math.ceil(bytes.length / 8))
    const padded = Buffer.alloc(Math.ceil(bytes.length / 8) * 8)
    padded.set(bytes)
    for (let at = 0; at < padded.length; at += 8) {
      this.put(spot, at / 8, padded.readUInt32LE(at), padded.readUInt32LE(at + 4))
    }
    return { ...spot, kind: 1, half: 2 + bytes.length * 8 }
  }

  /** Writes one word, `offset` words behind a spot. */
  put({ segment, word }: Spot, offset: number, low: number, high: number): void {
    const content = this.#segments[segment]!
    content[2 * (word + offset)] = low >>> 0
    content[2 * (word + offset) + 1] = high >>> 0
  }

  /** Writes a pointer to an object, `offset` words behind a spot. */
  point(from: Spot, offset: number, to: Made): void {
    const place = { segment: from.segment, word: from.word + offset }
    if (place.segment === to.segment) this.#near(place, to)
    else if (this.#segmentation === 'double far') this.#doubleFar(place, to)
    else {
      const pad = this.allocate(1, to.segment)
      this.#near(pad, to)
      this.put(place, 0, pad.word * 8 + 2, pad.segment)
    }
  }

  root(to: Made): void {
    this.point({ segment: 0, word: 0 }, 0, to)
  }

  finish(): Buffer {
    const count = this.#segments.length
    const table = Buffer.alloc(Math.ceil((1 + count) / 2) * 8)
    table.writeUInt32LE(count - 1, 0)
    for (const [i, content] of this.#segments.entries()) table.writeUInt32LE(content.length / 2, 4 + 4 * i)
    return Buffer.concat([
      table,
      ...this.#segments.map((content) => Buffer.from(Uint32Array.from(content).buffer)),
    ])
  }

  #near(place: Spot, to: Made): void {
    this.put(place, 0, (to.word - place.word - 1) * 4 + to.kind, to.half)
  }

  #doubleFar(place: Spot, to: Made): void {
    const pad = this.allocate(2)
    this.put(pad, 0, to.word * 8 + 2, to.segment)
    this.put(pad, 1, to.kind, to.half)
    this.put(place, 0, pad.word * 8 + 6, pad.segment)
  }
}
