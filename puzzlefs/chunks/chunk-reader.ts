import { hash } from 'node:crypto'
import {
  type BlobChecks,
  type Blobs,
  type BlockReader,
  type BlockRef,
  DamageError,
  FsError,
  messageOf,
} from '../../src/base/index.ts'
import type { Codec } from '../../src/codecs/index.ts'
import type { ChunkTable } from '../rootfs/chunk-table.ts'
import { PART_SIZE, partOf } from './part.ts'
import { framesOf, readSeekTable, type SeekTable } from './seek-table.ts'

/** Most bytes of a chunk as it is stored: the builders stop at 256 KiB. It is read whole, to be verified. */
export const STORED_LIMIT = 16 << 20
/** Most bytes that the frames around one part decode to. */
const FRAMES_LIMIT = 4 << 20

/** Memory for chunks as they are stored, shared by the readers of a thread. */
export class ChunkScratch {
  #stored = new Uint8Array(0)
  #decoded = new Uint8Array(0)

  /** Room for a chunk, until the next call. */
  stored(length: number): Uint8Array {
    if (this.#stored.length < length) this.#stored = new Uint8Array(Math.max(length, PART_SIZE))
    return this.#stored.subarray(0, length)
  }

  /** Room for frames that do not end where a part does, until the next call. */
  decoded(length: number): Uint8Array {
    if (this.#decoded.length < length) this.#decoded = new Uint8Array(length)
    return this.#decoded.subarray(0, length)
  }
}

/** What a reader is made of. */
export interface ChunkReaderOptions {
  readonly label: string
  readonly table: ChunkTable
  readonly blobs: Blobs | undefined
  readonly checks: BlobChecks | undefined
  readonly codec: Codec
  readonly scratch: ChunkScratch
}

/**
 * Reads parts of chunks. A chunk is compared with its sha256 each time it is read: a file can change under us. One that has
 * several parts stays in memory until another is read.
 */
export class ChunkReader implements BlockReader {
  readonly #options: ChunkReaderOptions
  #kept:
    | { readonly chunk: number; readonly bytes: Uint8Array; readonly frames: SeekTable | undefined }
    | undefined

  constructor(options: ChunkReaderOptions) {
    this.#options = options
  }

  /** @throws DamageError, FsError EIO; `target` is then undefined */
  readBlock(block: BlockRef, target: Uint8Array): number {
    const { chunk, part, isCompressed } = partOf(block)
    const { label } = this.#options
    const kept = this.#kept?.chunk === chunk ? this.#kept : undefined
    const bytes = kept?.bytes ?? this.#read(chunk)
    try {
      const frames = isCompressed ? (kept?.frames ?? readSeekTable(bytes)) : undefined
      const size = frames === undefined ? bytes.length : (frames.decoded[frames.frames] ?? 0)
      if (kept === undefined)
        this.#kept = size > PART_SIZE ? { chunk, bytes: bytes.slice(), frames } : undefined
      const from = part * PART_SIZE
      const to = Math.min(size, from + PART_SIZE)
      if (from >= to) throw new FsError('EIO', `it has ${size} bytes, and a file needs some from ${from} on`)
      const out = target.subarray(0, to - from)
      if (frames === undefined) out.set(bytes.subarray(from, to))
      else this.#decode(bytes, frames, from, out)
      return out.length
    } catch (error) {
      throw new DamageError(label, chunk, `${this.#what(chunk)}: ${messageOf(error)}`, { cause: error })
    }
  }

  isAtHand(block: BlockRef): boolean {
    const { chunk } = partOf(block)
    return this.#kept?.chunk === chunk || this.#options.blobs?.isAtHand(chunk, 0, STORED_LIMIT) === true
  }

  expect(block: BlockRef): void {
    this.#options.blobs?.expect(partOf(block).chunk)
  }

  /** A chunk as it is stored, verified. */
  #read(chunk: number): Uint8Array {
    const { table, blobs, checks, scratch, label } = this.#options
    if (blobs === undefined) throw new DamageError(label, chunk, `${label}: chunks without a layout`)
    const expected = table.digest(chunk)
    let bytes: Uint8Array
    try {
      const size = blobs.sizeOf(chunk)
      if (size > STORED_LIMIT) throw new FsError('EIO', `${size} bytes, at most ${STORED_LIMIT}`)
      bytes = scratch.stored(size)
      blobs.readInto(chunk, 0, bytes)
    } catch (error) {
      throw new DamageError(label, chunk, `${this.#what(chunk)}: ${messageOf(error)}`, { cause: error })
    }
    const actual = hash('sha256', bytes, 'binary')
    checks?.checked(actual === expected)
    if (actual === expected) return bytes
    throw new DamageError(
      label,
      chunk,
      `${this.#what(chunk)} is damaged: its sha256 is ${Buffer.from(actual, 'latin1').toString('hex')}`,
    )
  }

  #decode(bytes: Uint8Array, table: SeekTable, from: number, out: Uint8Array): void {
    const { codec, scratch } = this.#options
    const [first, end] = framesOf(table, from, from + out.length)
    const start = table.decoded[first] ?? 0
    const size = (table.decoded[end] ?? 0) - start
    if (size > FRAMES_LIMIT) throw new FsError('EIO', `frames of ${size} bytes, at most ${FRAMES_LIMIT}`)
    const isWhole = start === from && size === out.length
    const decoded = isWhole ? out : scratch.decoded(size)
    const input = bytes.subarray(table.stored[first] ?? 0, table.stored[end] ?? 0)
    if (codec.decodeFrames === undefined) {
      for (let frame = first; frame < end; frame++) {
        const place = decoded.subarray(
          (table.decoded[frame] ?? 0) - start,
          (table.decoded[frame + 1] ?? 0) - start,
        )
        const stored = bytes.subarray(table.stored[frame] ?? 0, table.stored[frame + 1] ?? 0)
        if (place.length > 0) expectLength(codec.decode(stored, place), place.length)
      }
    } else expectLength(codec.decodeFrames(input, decoded), size)
    if (!isWhole) out.set(decoded.subarray(from - start, from - start + out.length))
  }

  #what(chunk: number): string {
    const { label, table } = this.#options
    return `${label}: chunk ${Buffer.from(table.digest(chunk), 'latin1').toString('hex')}`
  }
}

function expectLength(found: number, expected: number): void {
  if (found !== expected) throw new FsError('EIO', `frames of ${found} bytes, the table says ${expected}`)
}
