import { DamageError } from '../../src/base/index.ts'
import type { Pages } from './pages.ts'
import { readSegments, type Segment, WORD } from './segments.ts'

/** Elements without any bytes that one list may have beyond the words of the message: they cost time all the same. */
const SPARE_ELEMENTS = 64 << 10

/** Kinds of pointers (Cap'n Proto, "Encoding"). */
const STRUCT = 0
const LIST = 1
const FAR = 2
/** Sizes of elements of lists: bytes, and structs behind a tag word. */
const BYTES = 2
const COMPOSITE = 7
/** A far pointer leads to two words in front of content that lies elsewhere. */
const DOUBLE_FAR = 4

/** A struct as it lies in the image. Fields beyond what it has are zero. */
export interface StructView {
  readonly segment: number
  /** Byte position of the data; the pointers follow. */
  readonly at: number
  /** Bytes of data. */
  readonly data: number
  /** Number of pointers. */
  readonly pointers: number
}

/** A list of structs, one after the other. */
export interface StructList extends StructView {
  readonly count: number
  /** Bytes from one to the next. */
  readonly step: number
}

/** Bytes as they lie in the image. */
export interface DataRef {
  readonly at: number
  readonly length: number
}

const NO_DATA: DataRef = { at: 0, length: 0 }
const NOTHING: StructView = { segment: 0, at: 0, data: 0, pointers: 0 }
const NO_STRUCTS: StructList = { ...NOTHING, count: 0, step: 0 }

/** Where a pointer leads, with the second half of the word that says what lies there. */
interface Target {
  readonly segment: number
  readonly at: number
  readonly kind: number
  readonly half: number
}

/**
 * Reads a message of Cap'n Proto where it lies: nothing is decoded before it is asked for. Strict: whatever leads out of
 * its segment is damage, and a struct or a list must be what the schema says. For one thread.
 */
export class Message {
  readonly label: string
  /** Words of all segments: what any well-formed message can hold. */
  readonly words: number
  readonly #pages: Pages
  readonly #segments: readonly Segment[]

  /** @throws DamageError, FsError EIO */
  constructor(pages: Pages) {
    this.label = pages.label
    this.#pages = pages
    this.#segments = readSegments(pages)
    this.words = this.#segments.reduce((sum, { start, end }) => sum + (end - start) / WORD, 0)
  }

  /** Most elements that all lists of one sort may have together: every word is visited once in a well-formed message. */
  get budget(): number {
    return this.words + SPARE_ELEMENTS
  }

  damage(at: number, message: string): DamageError {
    return new DamageError(this.label, at, `${this.label}: ${message}`)
  }

  /** @throws DamageError for a message without a word */
  root(): StructView {
    const first = this.#segments[0]
    if (first === undefined || first.end === first.start) throw this.damage(0, 'an empty message')
    return this.#struct(0, first.start)
  }

  element({ segment, at, step, data, pointers }: StructList, index: number): StructView {
    return { segment, at: at + index * step, data, pointers }
  }

  u16({ at, data }: StructView, offset: number): number {
    return offset + 2 > data ? 0 : this.#pages.u16(at + offset)
  }

  u32({ at, data }: StructView, offset: number): number {
    return offset + 4 > data ? 0 : this.#pages.u32(at + offset)
  }

  /** A number; one above 2^53 is rounded, and no safe integer. */
  u64({ at, data }: StructView, offset: number): number {
    if (offset + 8 > data) return 0
    return this.#pages.u32(at + offset + 4) * 2 ** 32 + this.#pages.u32(at + offset)
  }

  bit({ at, data }: StructView, offset: number): boolean {
    return offset < data && (this.#pages.u32(at + offset - (offset % 4)) >>> ((offset % 4) * 8)) % 2 === 1
  }

  /** The struct that a pointer of another one leads to; one without fields for a null pointer. @throws DamageError */
  struct(from: StructView, pointer: number): StructView {
    return pointer < from.pointers ? this.#struct(from.segment, pointerAt(from, pointer)) : NOTHING
  }

  /** Whether a pointer is not null. */
  has(from: StructView, pointer: number): boolean {
    if (pointer >= from.pointers) return false
    const at = pointerAt(from, pointer)
    return this.#pages.u32(at) !== 0 || this.#pages.u32(at + 4) !== 0
  }

  /** The list of structs that a pointer leads to; an empty one for a null pointer. @throws DamageError */
  structs(from: StructView, pointer: number): StructList {
    const target = pointer < from.pointers ? this.#target(from.segment, pointerAt(from, pointer)) : undefined
    if (target === undefined) return NO_STRUCTS
    const { segment, at, kind, half } = target
    if (kind !== LIST || half % 8 !== COMPOSITE) throw this.damage(at, 'no list of structs where one belongs')
    const words = Math.floor(half / 8)
    this.#assertInside(segment, at, words + 1)
    const tag = this.#pages.u32(at)
    const sizes = this.#pages.u32(at + 4)
    const data = (sizes & 0xffff) * WORD
    const pointers = sizes >>> 16
    const count = tag >>> 2
    const step = data + pointers * WORD
    if ((tag & 3) !== STRUCT || count * step > words * WORD) {
      throw this.damage(at, `a list of ${count} structs of ${step} bytes in ${words} words`)
    }
    if (count > this.budget) throw this.damage(at, `a list of ${count} structs in ${this.words} words`)
    return { segment, at: at + WORD, data, pointers, count, step }
  }

  /** The bytes that a pointer leads to; none for a null pointer. @throws DamageError */
  data(from: StructView, pointer: number): DataRef {
    const target = pointer < from.pointers ? this.#target(from.segment, pointerAt(from, pointer)) : undefined
    if (target === undefined) return NO_DATA
    const { segment, at, kind, half } = target
    if (kind !== LIST || half % 8 !== BYTES) throw this.damage(at, 'no bytes where they belong')
    const length = Math.floor(half / 8)
    this.#assertInside(segment, at, Math.ceil(length / WORD))
    return { at, length }
  }

  /** A copy. */
  bytes({ at, length }: DataRef): Buffer {
    return this.#pages.bytes(at, length)
  }

  /** A "binary" string, one character a byte. */
  text({ at, length }: DataRef): string {
    return length === 0 ? '' : this.#pages.text(at, length)
  }

  #struct(from: number, position: number): StructView {
    const target = this.#target(from, position)
    if (target === undefined) return NOTHING
    const { segment, at, kind, half } = target
    if (kind !== STRUCT) throw this.damage(position, 'no struct where one belongs')
    const words = half & 0xffff
    const pointers = half >>> 16
    this.#assertInside(segment, at, words + pointers)
    return { segment, at, data: words * WORD, pointers }
  }

  /** @param position of a pointer in a segment. @returns undefined for a null pointer */
  #target(segment: number, position: number): Target | undefined {
    const low = this.#pages.u32(position)
    const half = this.#pages.u32(position + 4)
    if (low === 0 && half === 0) return undefined
    if ((low & 3) !== FAR) return this.#near(segment, position, low, half)
    const pad = this.#landing(low, half, (low & DOUBLE_FAR) === 0 ? 1 : 2)
    const padLow = this.#pages.u32(pad)
    const padHalf = this.#pages.u32(pad + 4)
    if ((low & DOUBLE_FAR) === 0) {
      if ((padLow & 3) === FAR) throw this.damage(pad, 'a far pointer that leads to a far pointer')
      return padLow === 0 && padHalf === 0 ? undefined : this.#near(half, pad, padLow, padHalf)
    }
    if ((padLow & 7) !== FAR) throw this.damage(pad, 'no far pointer in front of a tag')
    const kind = this.#pages.u32(pad + WORD) & 3
    if (kind === FAR) throw this.damage(pad, 'a far pointer as a tag')
    return {
      segment: padHalf,
      at: this.#landing(padLow, padHalf, 0),
      kind,
      half: this.#pages.u32(pad + WORD + 4),
    }
  }

  #near(segment: number, position: number, low: number, half: number): Target {
    return { segment, at: position + WORD + (low >> 2) * WORD, kind: low & 3, half }
  }

  /** Where a far pointer leads. @returns byte position */
  #landing(low: number, segment: number, words: number): number {
    const at = (this.#segments[segment]?.start ?? 0) + (low >>> 3) * WORD
    this.#assertInside(segment, at, words)
    return at
  }

  #assertInside(segment: number, at: number, words: number): void {
    const { start, end } = this.#segments[segment] ?? { start: 0, end: -1 }
    if (at >= start && at + words * WORD <= end) return
    throw this.damage(at, `a pointer to ${words} words at ${at}, outside of segment ${segment}`)
  }
}

function pointerAt({ at, data }: StructView, pointer: number): number {
  return at + data + pointer * WORD
}
