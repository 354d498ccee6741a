import { FsError } from '../../base/index.ts'
import type { Codec } from '../common/codec.ts'
import { FRAME_MAX, type FrameDecoder, type FrameStep } from './frame-decoder.ts'
import { FrameEnd } from './frame-end.ts'

/** By a decoder that knows whole frames only: it holds one as it is stored, and then its content. */
export function openWholeFrames(codec: Codec): FrameDecoder {
  let end = new FrameEnd()
  let stored: Uint8Array[] = []
  let storedSize = 0
  let content: Uint8Array | undefined
  let given = 0
  const begin = (): void => {
    end = new FrameEnd()
    stored = []
    storedSize = 0
    content = undefined
    given = 0
  }
  const collect = (input: Uint8Array): number => {
    const taken = end.take(input)
    if (end.isSkippable) return taken
    storedSize += taken
    if (storedSize > FRAME_MAX) throw tooLong()
    // The bytes lie in memory that is used again.
    stored.push(Uint8Array.from(input.subarray(0, taken)))
    return taken
  }
  return {
    library: codec.library,
    tier: codec.tier,
    begin,
    decode(input, output): FrameStep {
      const taken = end.isReached ? 0 : collect(input)
      if (!end.isReached) return { made: 0, taken, ended: false }
      content ??= end.isSkippable ? new Uint8Array(0) : decodeFrame(codec, stored, end.contentBound)
      stored = []
      const part = content.subarray(given, given + output.length)
      output.set(part)
      given += part.length
      const ended = given === content.length
      if (ended) begin()
      return { made: part.length, taken, ended }
    },
    close: () => undefined,
  }
}

function decodeFrame(codec: Codec, stored: readonly Uint8Array[], bound: number): Uint8Array {
  const output = new Uint8Array(Math.max(1, Math.min(bound, FRAME_MAX)))
  try {
    return output.subarray(0, codec.decode(Buffer.concat(stored), output))
  } catch (error) {
    // Decoders do not tell a frame that is too long from a damaged one.
    throw bound > FRAME_MAX ? tooLong() : error
  }
}

function tooLong(): FsError {
  return new FsError('EFBIG', `a zstd frame of more than ${FRAME_MAX} bytes`)
}
