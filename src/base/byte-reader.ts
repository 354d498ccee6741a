import { FsError } from './errno.ts'

/** Buffers are pooled: a view that ignores `byteOffset` reads someone else's bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Bounds-checked little-endian cursor over the bytes [start, end) of a shared view. Reading past the end is
 * `EIO` with the name of the structure. Inodes and directories of squashfs go without one: a walk reads too many.
 */
export class ByteReader {
  readonly #view: DataView
  readonly #end: number
  readonly #what: string
  #position: number

  constructor(view: DataView, start: number, end: number, what: string) {
    if (start < 0 || end < start || end > view.byteLength) {
      throw new FsError('EIO', `${what}: range ${start}..${end} outside 0..${view.byteLength}`)
    }
    this.#view = view
    this.#position = start
    this.#end = end
    this.#what = what
  }

  static over(bytes: Uint8Array, what: string): ByteReader {
    return new ByteReader(viewOf(bytes), 0, bytes.byteLength, what)
  }

  get remaining(): number {
    return this.#end - this.#position
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true)
  }

  i16(): number {
    return this.#view.getInt16(this.#take(2), true)
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), true)
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true)
  }

  /** A u64 used as an offset or size: exact as a number, or the record is corrupt (`EIO`). */
  offset64(): number {
    const at = this.#take(8)
    const high = this.#view.getUint32(at + 4, true)
    if (high > 0x1f_ffff) throw new FsError('EIO', `${this.#what}: value at byte ${at} exceeds 2^53`)
    return high * 2 ** 32 + this.#view.getUint32(at, true)
  }

  /** A view, not a copy: copy it to keep it past the life of the buffer. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length)
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + at, length)
  }

  skip(length: number): void {
    this.#take(length)
  }

  #take(length: number): number {
    if (length > this.remaining) {
      throw new FsError(
        'EIO',
        `${this.#what}: need ${length} bytes at ${this.#position}, have ${this.remaining}`,
      )
    }
    const at = this.#position
    this.#position += length
    return at
  }
}
