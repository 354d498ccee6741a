import { type ByteSource, DamageError, FsError, messageOf, viewOf } from '../../src/base/index.ts'
import type { Codec } from '../../src/codecs/index.ts'
import type { MetadataBlock, MetadataCache, MetadataShelf } from './metadata-cache.ts'
import { METADATA_SIZE } from './metadata-reference.ts'

const HEADER_SIZE = 2
export const STORED_UNCOMPRESSED = 0x8000
// Bytes fetched at once: a table is mostly walked forwards, and with dm-verity underneath, reading each block
// by itself would verify the 4 KiB that two neighbours share twice.
const WINDOW_SIZE = 16 << 10

/** Stored bytes of one table, the part that was read last. */
export class MetadataWindow {
  readonly #source: ByteSource
  readonly #end: number
  readonly #size: number
  // Made at the first read: many tables of many layers are never looked at.
  #bytes = new Uint8Array(0)
  #start = 0
  #length = 0

  constructor(source: ByteSource, start: number, end: number) {
    this.#source = source
    this.#end = end
    this.#size = Math.min(WINDOW_SIZE, Math.max(0, end - start))
  }

  /** A view of `length` bytes at `position`, valid until the next call. The caller keeps it inside the table. */
  fetch(position: number, length: number): Uint8Array {
    const at = position - this.#start
    if (at >= 0 && at + length <= this.#length) return this.#bytes.subarray(at, at + length)
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.#size)
    const wanted = Math.min(this.#size, this.#end - position)
    this.#length = 0
    try {
      this.#source.readInto(position, this.#bytes.subarray(0, wanted))
      this.#length = wanted
    } catch (error) {
      if (wanted === length || !(error instanceof FsError)) throw error
      // Damage further on is no reason to refuse what is whole.
      this.#source.readInto(position, this.#bytes.subarray(0, length))
      this.#length = length
    }
    this.#start = position
    return this.#bytes.subarray(0, length)
  }
}

/** Reads and decodes metadata blocks of one image, through a cache that images can share. */
export class MetadataReader {
  readonly label: string
  readonly #source: ByteSource
  readonly #codec: Codec
  readonly #cache: MetadataCache
  readonly #shelf: MetadataShelf = new Map()
  #last: MetadataBlock | undefined

  constructor(source: ByteSource, codec: Codec, cache: MetadataCache, label: string) {
    this.#source = source
    this.#codec = codec
    this.#cache = cache
    this.label = label
  }

  /** Each table has its own, so that walking two in turns reads each byte once. */
  window(start: number, end: number): MetadataWindow {
    return new MetadataWindow(this.#source, start, end)
  }

  /** The block whose header stands at `position`; nothing at or after `end` is read. */
  block(position: number, end: number, window: MetadataWindow, what: string): MetadataBlock {
    const last = this.#last
    if (last !== undefined && last.position === position) return last
    let block = this.#cache.get(this.#shelf, position)
    if (block === undefined) {
      // Kept only when it decoded: a failed read leaves the cache as it was.
      block = this.#decode(position, end, window, what)
      this.#cache.add(this.#shelf, block)
    }
    this.#last = block
    return block
  }

  #decode(position: number, end: number, window: MetadataWindow, what: string): MetadataBlock {
    if (position + HEADER_SIZE > end) {
      throw new DamageError(
        this.label,
        position,
        `${what}: metadata block at ${position} runs past the end of the table at ${end}`,
      )
    }
    const header = viewOf(window.fetch(position, HEADER_SIZE)).getUint16(0, true)
    const storedSize = header & (STORED_UNCOMPRESSED - 1)
    const dataStart = position + HEADER_SIZE
    const next = dataStart + storedSize
    if (storedSize === 0 || storedSize > METADATA_SIZE || next > end) {
      throw new DamageError(
        this.label,
        position,
        `${what}: metadata block at ${position} has stored size ${storedSize}, expected 1..${METADATA_SIZE} and at most ${end - dataStart} left in the table`,
      )
    }
    const stored = window.fetch(dataStart, storedSize)
    const bytes = Buffer.from(new ArrayBuffer(METADATA_SIZE))
    let length = storedSize
    if ((header & STORED_UNCOMPRESSED) !== 0) bytes.set(stored)
    else length = this.#decompress(stored, bytes, position, what)
    return { position, next, length, bytes, view: viewOf(bytes) }
  }

  #decompress(stored: Uint8Array, target: Uint8Array, position: number, what: string): number {
    let length: number
    try {
      length = this.#codec.decode(stored, target)
    } catch (error) {
      const reason = messageOf(error)
      throw new DamageError(this.label, position, `${what}: metadata block at ${position}: ${reason}`, {
        cause: error,
      })
    }
    if (length <= 0 || length > target.length) {
      throw new DamageError(
        this.label,
        position,
        `${what}: metadata block at ${position} decodes to ${length} bytes`,
      )
    }
    return length
  }
}
