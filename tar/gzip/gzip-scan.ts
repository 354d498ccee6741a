import { FsError } from '../../src/base/index.ts'
import { type RawInflate, STREAM_START, WINDOW } from '../../src/codecs/inflate/index.ts'
import { Feed } from './feed.ts'
import { readHeader, TRAILER } from './member-header.ts'
import { type OnCheckpoint, SpanCutter } from './span-cutter.ts'

const OUTPUT = 256 << 10
const NO_WINDOW = new Uint8Array(0)

/**
 * Decodes a gzip stream of one or several members (RFC 1952) and finds where it can be entered. What follows the last
 * member is passed over, as gzip does.
 * @param next gives the chunks of the blob; each may be used again when the next one is asked for
 * @param onCheckpoint gets them in order, the first one at the first byte of the archive
 * @throws FsError EIO for damaged data
 */
export function* scanGzip(
  next: () => Uint8Array | undefined,
  inflate: RawInflate,
  onCheckpoint: OnCheckpoint,
): Generator<Buffer> {
  const feed = new Feed(next)
  const cutter = new SpanCutter(onCheckpoint)
  const output = Buffer.alloc(WINDOW + OUTPUT)
  let archiveAt = 0
  for (let first = true; readHeader(feed, first); first = false) {
    inflate.begin(STREAM_START)
    cutter.start({ blobAt: feed.position, archiveAt, bits: 0, window: NO_WINDOW })
    // The output of this member that is kept: up to WINDOW bytes, and what was decoded behind them.
    let end = 0
    let told = 0
    for (let ended = false; !ended; ) {
      const chunk = feed.chunk()
      if (chunk === undefined) throw new FsError('EIO', `gzip data end at byte ${feed.position}, too early`)
      const step = inflate.inflate(chunk, output.subarray(end), true)
      if (step.taken === 0 && step.made === 0 && !step.ended && step.boundary === undefined) {
        throw new FsError('EIO', `gzip data at byte ${feed.position}: nothing can be decoded`)
      }
      feed.take(step.taken)
      end += step.made
      archiveAt += step.made
      ended = step.ended
      if (step.boundary !== undefined) {
        const window = output.subarray(Math.max(0, end - WINDOW), end)
        cutter.boundary({ blobAt: feed.position, archiveAt, bits: step.boundary, window })
      }
      if (end < output.length && !ended) continue
      if (end > told) yield Buffer.from(output.subarray(told, end))
      const kept = Math.min(WINDOW, end)
      output.copyWithin(0, end - kept, end)
      end = told = kept
    }
    for (let i = 0; i < TRAILER; i++) feed.must()
  }
  for (let rest = feed.chunk(); rest !== undefined; rest = feed.chunk()) feed.take(rest.length)
  cutter.finish()
}
