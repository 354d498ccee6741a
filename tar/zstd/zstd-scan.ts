import { FsError, isErrno } from '../../src/base/index.ts'
import { FRAME_MAX, type FrameDecoder } from '../../src/codecs/frames/index.ts'
import { NotEnterable } from '../build/not-enterable.ts'
import { Feed } from '../gzip/feed.ts'
import { type OnCheckpoint, SpanCutter } from '../gzip/span-cutter.ts'

const OUTPUT = 256 << 10
const NOTHING = new Uint8Array(0)
const FORM = `zstd in frames of more than ${FRAME_MAX >> 20} MiB`

/**
 * Decodes a stream of zstd frames (RFC 8878, 3.1) and finds where it can be entered: at the beginnings of frames. Skippable
 * frames, such as the tables of zstd:chunked and of the seekable format, are passed over.
 * @param next gives the chunks of the blob; each may be used again when the next one is asked for
 * @param onCheckpoint gets them in order, the first one at the first byte of the archive
 * @throws FsError EIO for damaged data; NotEnterable for a frame of more than `FRAME_MAX` bytes
 */
export function* scanZstd(
  next: () => Uint8Array | undefined,
  decoder: FrameDecoder,
  onCheckpoint: OnCheckpoint,
): Generator<Buffer> {
  const feed = new Feed(next)
  const cutter = new SpanCutter(onCheckpoint)
  let archiveAt = 0
  while (feed.chunk() !== undefined) {
    const frameAt = feed.position
    cutter.start({ blobAt: frameAt, archiveAt, bits: 0, window: NOTHING })
    decoder.begin()
    for (let made = 0, ended = false; !ended; ) {
      const output = Buffer.allocUnsafeSlow(OUTPUT)
      const filled = fill(feed, decoder, output)
      ended = filled.ended
      made += filled.length
      archiveAt += filled.length
      if (made > FRAME_MAX) throw new NotEnterable(FORM)
      if (filled.length > 0) yield output.subarray(0, filled.length)
    }
  }
  cutter.finish()
}

/** Decodes until the output is full or the frame ends. */
function fill(
  feed: Feed,
  decoder: FrameDecoder,
  output: Uint8Array,
): { readonly length: number; readonly ended: boolean } {
  let length = 0
  while (length < output.length) {
    const step = decodeSome(feed, decoder, output.subarray(length))
    length += step.made
    if (step.ended) return { length, ended: true }
  }
  return { length, ended: false }
}

/** @throws FsError EIO at the end of the data; NotEnterable */
function decodeSome(
  feed: Feed,
  decoder: FrameDecoder,
  output: Uint8Array,
): { readonly made: number; readonly ended: boolean } {
  // The decoder may have content of a frame whose bytes it has taken.
  const chunk = feed.chunk() ?? NOTHING
  try {
    const { made, taken, ended } = decoder.decode(chunk, output)
    if (made === 0 && taken === 0 && !ended) {
      throw new FsError('EIO', `zstd data end at byte ${feed.position}, too early`)
    }
    feed.take(taken)
    return { made, ended }
  } catch (error) {
    if (isErrno(error, 'EFBIG')) throw new NotEnterable(FORM)
    throw error
  }
}
