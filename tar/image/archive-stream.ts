import { inflateRawSync } from 'node:zlib'
import { type ByteSource, DamageError, messageOf } from '../../src/base/index.ts'
import { type EntryPoint, STREAM_START, WINDOW } from '../../src/codecs/inflate/index.ts'
import type { StoredCheckpoint } from '../format/layout.ts'
import { Feed } from '../gzip/feed.ts'
import type { IndexPages } from './index-pages.ts'
import type { SpanDecoder } from './span-decoder.ts'
import { type Span, spanAt } from './spans.ts'

/** Bytes of a blob that are read at a time. */
const INPUT = 64 << 10
/** Bytes that are decoded at a time to pass over them. */
const SKIPPED = 64 << 10
/** What is decoded at once where a decoder takes a whole piece, bytes of output and of input. */
const PIECE_MAX = 4 << 20

/** Reads the archive in a compressed blob from any byte on. The stream of the last read stays open for the next one. */
export class ArchiveStream {
  readonly #pages: IndexPages
  readonly #blob: ByteSource
  readonly #decoder: SpanDecoder
  readonly #input = new Uint8Array(INPUT)
  #feed = new Feed(() => undefined)
  /** Checkpoint at which the open stream began. */
  #checkpoint = -1
  /** Byte of the archive that comes next. */
  #archiveAt = 0

  /** @param decoder of the thread, which several streams may use in turn */
  constructor(pages: IndexPages, blob: ByteSource, decoder: SpanDecoder) {
    this.#pages = pages
    this.#blob = blob
    this.#decoder = decoder
  }

  /** Fills `target` with the archive from `position` on. @throws FsError EIO */
  read(position: number, target: Uint8Array): void {
    const span = spanAt(this.#pages, position)
    const isOpen =
      this.#decoder.user === this && this.#checkpoint === span.checkpoint && this.#archiveAt <= position
    // A read that failed leaves nothing to go on with.
    this.#decoder.user = undefined
    try {
      if (!isOpen) {
        const point = this.#pages.checkpoint(span.checkpoint)
        if (this.#readPiece(span, point, position, target)) return
        this.#begin(point)
        this.#checkpoint = span.checkpoint
      }
      const skipped = new Uint8Array(Math.min(SKIPPED, position - this.#archiveAt))
      while (this.#archiveAt < position) this.#fill(skipped.subarray(0, position - this.#archiveAt))
      this.#fill(target)
    } catch (error) {
      throw new DamageError(this.#pages.label, span.start, `${this.#pages.label}: ${messageOf(error)}`, {
        cause: error,
      })
    }
    this.#decoder.user = this
  }

  isAtHand(position: number): boolean {
    const { checkpoint } = spanAt(this.#pages, position)
    const start = this.#pages.checkpoint(checkpoint).blobAt
    return this.#blob.isAtHand?.(start, Math.min(this.#endOf(checkpoint) - start, PIECE_MAX)) !== false
  }

  #endOf(checkpoint: number): number {
    const { checkpointCount, blobSize } = this.#pages.header
    return checkpoint + 1 < checkpointCount ? this.#pages.checkpoint(checkpoint + 1).blobAt : blobSize
  }

  /** @returns false where the decoder does not take pieces, or not this one */
  #readPiece(span: Span, point: StoredCheckpoint, position: number, target: Uint8Array): boolean {
    const { piece: decodePiece } = this.#decoder
    if (decodePiece === undefined) return false
    const length = position + target.length - span.start
    const end = this.#endOf(span.checkpoint)
    if (length > PIECE_MAX || end - point.blobAt > PIECE_MAX) return false
    const input = new Uint8Array(end - point.blobAt)
    this.#blob.readInto(point.blobAt, input)
    const piece = decodePiece(this.#entry(point), input, length)
    // A member may end in it.
    if (piece === undefined) return false
    target.set(piece.subarray(position - span.start))
    return true
  }

  #begin(point: StoredCheckpoint): void {
    let at = point.blobAt
    const next = (): Uint8Array | undefined => {
      const length = Math.min(INPUT - (at % INPUT), this.#pages.header.blobSize - at)
      if (length <= 0) return undefined
      const chunk = this.#input.subarray(0, length)
      this.#blob.readInto(at, chunk)
      at += length
      return chunk
    }
    this.#decoder.begin(this.#entry(point))
    this.#feed = new Feed(next, point.blobAt)
    this.#archiveAt = point.archiveAt
  }

  #entry({ blobAt, bits, window, windowSize }: StoredCheckpoint): EntryPoint {
    const before = new Uint8Array(1)
    if (bits > 0) this.#blob.readInto(blobAt - 1, before)
    const stored = windowSize === 0 ? undefined : this.#pages.read(window, windowSize)
    const options = { maxOutputLength: WINDOW }
    return {
      bits,
      before: before[0] ?? 0,
      window: stored === undefined ? STREAM_START.window : inflateRawSync(stored, options),
    }
  }

  #fill(target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const made = this.#decoder.decode(this.#feed, target.subarray(done))
      this.#archiveAt += made
      done += made
    }
  }
}
