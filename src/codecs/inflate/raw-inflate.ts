import { FsError } from '../../base/index.ts'
import type { Tier } from '../common/codec.ts'

/** Bytes of output that deflate may refer back to (RFC 1951, 2). */
export const WINDOW = 1 << 15

/** A place between two blocks of a deflate stream, where decoding can begin. */
export interface EntryPoint {
  /** Bits of the byte before the place that belong to what follows, 0 to 7: its upper ones. */
  readonly bits: number
  /** That byte; anything where `bits` is 0. */
  readonly before: number
  /** The output before the place, at most `WINDOW` bytes. */
  readonly window: Uint8Array
}

/** The first bit of a stream. */
export const STREAM_START: EntryPoint = { bits: 0, before: 0, window: new Uint8Array(0) }

/** What one call of `RawInflate.inflate` did. */
export interface Inflated {
  /** Bytes of output. */
  readonly made: number
  /** Bytes of input that were taken. */
  readonly taken: number
  /** The stream has ended. */
  readonly ended: boolean
  /** Where the call ended between two blocks of the stream: as `EntryPoint.bits`. */
  readonly boundary?: number
}

/** Decodes one deflate stream at a time, without header and check sum. One for each thread. */
export interface RawInflate {
  /** Library, for messages. */
  readonly library: string
  readonly tier: Tier
  /** Begins anew. What was begun before is forgotten. */
  begin(point: EntryPoint): void
  /**
   * Decodes until the input is used up, the output is full, or the stream ends.
   * @param stopAtBlocks ends at each boundary of blocks as well
   * @throws FsError EIO for damaged data
   */
  inflate(input: Uint8Array, output: Uint8Array, stopAtBlocks: boolean): Inflated
  /** Frees what a library holds. */
  close(): void
}

/** zlib's own numbers (zlib.h). */
export const Z = {
  NO_FLUSH: 0,
  BLOCK: 5,
  OK: 0,
  STREAM_END: 1,
  BUF_ERROR: -5,
  /** `data_type`: behind a block, within the last block. */
  AT_BOUNDARY: 128,
  IN_LAST: 64,
  BITS: 7,
} as const

/** The boundary that `data_type` tells of. */
export function boundaryOf(dataType: number, ended: boolean): { readonly boundary?: number } {
  const isBoundary = (dataType & Z.AT_BOUNDARY) !== 0 && (dataType & Z.IN_LAST) === 0 && !ended
  return isBoundary ? { boundary: dataType & Z.BITS } : {}
}

/** The error for a result that is none of those expected. */
export function inflateDamage(library: string, result: number): FsError {
  return new FsError('EIO', `damaged deflate data (${library}: ${result})`)
}
