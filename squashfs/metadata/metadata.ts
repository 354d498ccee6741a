import { type ByteSource, DamageError, FsError, messageOf, viewOf } from '../../src/base/index.ts'
import type { Codec } from '../../src/codecs/index.ts'
import type { MetadataBlock, MetadataCache, MetadataShelf } from './metadata-cache.ts'
import { METADATA_SIZE } from './metadata-reference.ts'

const HEADER_SIZE = 2
const STORED_UNCOMPRESSED = 0x8000
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

/** A run of consecutive metadata blocks, [start, end) in the image: no reference leads out of it. */
export class MetadataTable {
  readonly start: number
  readonly end: number
  readonly what: string
  readonly #reader: MetadataReader
  readonly #window: MetadataWindow

  constructor(reader: MetadataReader, start: number, end: number, name: string) {
    this.#reader = reader
    this.start = start
    this.end = end
    this.what = `${reader.label}: ${name}`
    this.#window = reader.window(start, end)
  }

  /** @param position byte position in the image */
  block(position: number): MetadataBlock {
    if (position < this.start || position >= this.end) {
      throw this.damage(position, `block at ${position} outside ${this.start}..${this.end}`)
    }
    return this.#reader.block(position, this.end, this.#window, this.what)
  }

  /** @param position of what is damaged, in the image */
  damage(position: number, message: string): DamageError {
    return new DamageError(this.#reader.label, position, `${this.what}: ${message}`)
  }
}

/** Longest record that is taken in one piece, bytes: a name in a directory has 256. */
export const TAKE_MAX = 512

/**
 * Reads records one after the other, across block boundaries. `take` makes a record contiguous and tells where
 * it lies in `view` and `bytes`, which are valid until the next call: no copy unless it crosses a boundary.
 */
export class MetadataCursor {
  readonly table: MetadataTable
  view: DataView
  bytes: Buffer
  #block: MetadataBlock
  #offset: number
  #markedBlock: MetadataBlock
  #markedOffset: number
  #scratch: Buffer | undefined
  #scratchView: DataView | undefined

  /**
   * @param position position of a block in the image
   * @param offset in the decoded block; at or past its end it is EIO
   */
  constructor(table: MetadataTable, position: number, offset: number) {
    this.table = table
    this.#block = this.#open(position, offset)
    this.#offset = offset
    this.#markedBlock = this.#block
    this.#markedOffset = offset
    this.view = this.#block.view
    this.bytes = this.#block.bytes
  }

  /** Remembers where the cursor stands, for `back`. */
  mark(): void {
    this.#markedBlock = this.#block
    this.#markedOffset = this.#offset
  }

  /** Goes back to the last `mark`, after a record that was not read to its end. */
  back(): void {
    this.#block = this.#markedBlock
    this.#offset = this.#markedOffset
  }

  /** Where the next byte lies; where a block is used up, that is the start of its successor. */
  get blockPosition(): number {
    return this.#offset === this.#block.length ? this.#block.next : this.#block.position
  }

  get offset(): number {
    return this.#offset === this.#block.length ? 0 : this.#offset
  }

  seek(position: number, offset: number): void {
    this.#block = this.#open(position, offset)
    this.#offset = offset
  }

  /**
   * @param length at most TAKE_MAX, where `recordsAhead` did not tell that more lies in one piece. The caller has bounded
   *   what an image says
   * @returns index of the record's first byte in `view` and `bytes`
   */
  take(length: number): number {
    const at = this.#offset
    const block = this.#block
    if (at + length <= block.length) {
      this.#offset = at + length
      this.view = block.view
      this.bytes = block.bytes
      return at
    }
    if (at === block.length) {
      this.#advance()
      if (length <= this.#block.length) return this.take(length)
    }
    return this.#takeAcross(length)
  }

  /**
   * How many records of `size` bytes lie in one piece from here, at most `limit`, and makes `view` and `bytes` those of
   * that piece: 0 where the next one crosses a block boundary. The cursor stays; the first record is at `offset`.
   */
  recordsAhead(size: number, limit: number): number {
    const block = this.#block
    this.view = block.view
    this.bytes = block.bytes
    return Math.min(limit, Math.floor((block.length - this.#offset) / size))
  }

  /** True where `bytes` is a copy that a later call overwrites, not the block itself. */
  get isCopy(): boolean {
    return this.bytes === this.#scratch
  }

  skip(length: number): void {
    let left = length
    while (left > this.#block.length - this.#offset) {
      left -= this.#block.length - this.#offset
      this.#advance()
    }
    this.#offset += left
  }

  /** A copy of the next `length` bytes. The caller has bounded `length`. */
  copy(length: number): Uint8Array {
    const target = new Uint8Array(length)
    this.#copyInto(target)
    return target
  }

  #open(position: number, offset: number): MetadataBlock {
    const block = this.table.block(position)
    if (offset >= block.length) {
      throw this.table.damage(
        position,
        `offset ${offset} in the block at ${position}, which decodes to ${block.length} bytes`,
      )
    }
    return block
  }

  #takeAcross(length: number): number {
    if (length > TAKE_MAX) throw new Error(`bug: ${length} bytes in one piece, at most ${TAKE_MAX}`)
    if (this.#scratch === undefined) {
      this.#scratch = Buffer.from(new ArrayBuffer(TAKE_MAX))
      this.#scratchView = viewOf(this.#scratch)
    }
    const scratch = this.#scratch
    this.#copyInto(scratch.subarray(0, length))
    this.bytes = scratch
    this.view = this.#scratchView ?? viewOf(scratch)
    return 0
  }

  #copyInto(target: Uint8Array): void {
    let done = 0
    while (done < target.length) {
      if (this.#offset === this.#block.length) this.#advance()
      const count = Math.min(target.length - done, this.#block.length - this.#offset)
      target.set(this.#block.bytes.subarray(this.#offset, this.#offset + count), done)
      this.#offset += count
      done += count
    }
  }

  #advance(): void {
    if (this.#block.next >= this.table.end) {
      const { end } = this.table
      throw this.table.damage(end, `a record runs past the end of the table at ${end}`)
    }
    this.#block = this.table.block(this.#block.next)
    this.#offset = 0
  }
}
