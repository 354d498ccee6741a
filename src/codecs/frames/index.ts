import { openCodec } from '../registry.ts'
import type { FrameDecoder } from './frame-decoder.ts'
import { openLibzstdFrames } from './libzstd-frames.ts'
import { openWholeFrames } from './whole-frames.ts'

export { FRAME_MAX, type FrameDecoder, type FrameStep } from './frame-decoder.ts'

/** The best decoder of zstd frames. @throws FsError EOPNOTSUPP where there is none */
export function openFrameDecoder(): FrameDecoder {
  const isPortable = process.env['ATOMFS_CODECS'] === 'portable'
  return (isPortable ? undefined : tried(openLibzstdFrames)) ?? openWholeFrames(openCodec('zstd'))
}

/** A library without a function that is called is as good as absent. */
function tried(open: () => FrameDecoder | undefined): FrameDecoder | undefined {
  try {
    return open()
  } catch {
    return undefined
  }
}
