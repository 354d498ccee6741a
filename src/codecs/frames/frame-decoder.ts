import type { Tier } from '../common/codec.ts'

/**
 * Bytes of content that a frame may have where it is entered in the middle: all of it before the byte that is wanted is
 * decoded. Programs that cut a stream into frames make them smaller: zstd's seekable format and zstd:chunked of some
 * KiB to MiB, pzstd of 8 MiB, and 32 MiB at its highest usual level.
 */
export const FRAME_MAX = 32 << 20

/** What one call of `FrameDecoder.decode` did. */
export interface FrameStep {
  /** Bytes of output. */
  readonly made: number
  /** Bytes of input that were taken. */
  readonly taken: number
  /** The frame has ended. */
  readonly ended: boolean
}

/** Decodes one frame of zstd at a time, or passes over a skippable one. One for each thread. */
export interface FrameDecoder {
  /** Library, for messages. */
  readonly library: string
  readonly tier: Tier
  /** Begins with the first byte of a frame. What was begun before is forgotten. */
  begin(): void
  /**
   * Decodes until the input is used up, the output is full, or the frame ends. Where nothing is taken and nothing made, it
   * needs more input.
   * @throws FsError EIO for damaged data; EFBIG for a frame of more than `FRAME_MAX` bytes, where that matters to the library
   */
  decode(input: Uint8Array, output: Uint8Array): FrameStep
  /** Frees what a library holds. */
  close(): void
}
