import { FsError } from '../../src/base/index.ts'

/** Words of one segment: pointers reach 2^29 words. */
const WORDS_MAX = 2 ** 29
const WORD = 8
const FIRST_BYTES = 64 << 10

/** A struct in the message, or the first one of a list: byte position, and how many bytes of data stand before the pointers. */
export interface NewStruct {
  readonly at: number
  readonly data: number
}

/** Words of data and pointers of a struct. */
export interface StructSizes {
  readonly data: number
  readonly pointers: number
}

/** Writes a message of Cap'n Proto in one segment. Everything is zero until it is set. */
export class MessageWriter {
  #bytes = Buffer.alloc(FIRST_BYTES)
  #end = WORD

  /** @throws FsError EFBIG */
  root(sizes: StructSizes): NewStruct {
    return this.#struct(0, sizes)
  }

  struct(from: NewStruct, pointer: number, sizes: StructSizes): NewStruct {
    return this.#struct(pointerAt(from, pointer), sizes)
  }

  /** A list of structs, each behind the other; `element` gives them. */
  list(from: NewStruct, pointer: number, count: number, { data, pointers }: StructSizes): NewStruct {
    const words = count * (data + pointers)
    const at = this.#allocate(1 + words)
    this.#point(pointerAt(from, pointer), at, 1, 7 + words * 8)
    this.#bytes.writeUInt32LE(count * 4, at)
    this.#bytes.writeUInt32LE(data + pointers * 2 ** 16, at + 4)
    return { at: at + WORD, data: data * WORD }
  }

  element({ at, data }: NewStruct, { data: words, pointers }: StructSizes, index: number): NewStruct {
    return { at: at + index * (words + pointers) * WORD, data }
  }

  data(from: NewStruct, pointer: number, bytes: Uint8Array): void {
    const at = this.#allocate(Math.ceil(bytes.length / WORD))
    this.#point(pointerAt(from, pointer), at, 1, 2 + bytes.length * 8)
    this.#bytes.set(bytes, at)
  }

  u16({ at }: NewStruct, offset: number, value: number): void {
    this.#bytes.writeUInt16LE(value, at + offset)
  }

  u32({ at }: NewStruct, offset: number, value: number): void {
    this.#bytes.writeUInt32LE(value, at + offset)
  }

  u64({ at }: NewStruct, offset: number, value: number): void {
    this.#bytes.writeBigUInt64LE(BigInt(value), at + offset)
  }

  /** The message with its table of segments. Nothing is set any more. */
  finish(): Buffer {
    const table = Buffer.alloc(WORD)
    table.writeUInt32LE(this.#end / WORD, 4)
    return Buffer.concat([table, this.#bytes.subarray(0, this.#end)])
  }

  #struct(pointer: number, { data, pointers }: StructSizes): NewStruct {
    const at = this.#allocate(data + pointers)
    this.#point(pointer, at, 0, data + pointers * 2 ** 16)
    return { at, data: data * WORD }
  }

  #point(from: number, to: number, kind: number, half: number): void {
    this.#bytes.writeInt32LE(((to - from) / WORD - 1) * 4 + kind, from)
    this.#bytes.writeUInt32LE(half, from + 4)
  }

  #allocate(words: number): number {
    const at = this.#end
    this.#end += words * WORD
    if (this.#end > WORDS_MAX * WORD)
      throw new FsError('EFBIG', 'the metadata of the image are larger than 4 GiB')
    if (this.#end > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.#end, Math.min(this.#bytes.length * 2, WORDS_MAX * WORD)))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    return at
  }
}

function pointerAt({ at, data }: NewStruct, pointer: number): number {
  return at + data + pointer * WORD
}
