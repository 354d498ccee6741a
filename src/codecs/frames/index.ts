import { FsError } from '../../base/index.ts'
import { openCodec } from '../registry.ts'
import type { FrameDecoder } from './frame-decoder.ts'
import { openLibzstdFrames } from './libzstd-frames.ts'
import { openPackageFrames } from './package-frames.ts'
import { openWholeFrames } from './whole-frames.ts'

export { FRAME_MAX, type FrameDecoder, type FrameStep } from './frame-decoder.ts'

/** The best decoder of zstd frames. @throws FsError EOPNOTSUPP where there is none */
export function openFrameDecoder(): FrameDecoder {
  const isPortable = process.env['ATOMFS_CODECS'] === 'portable'
  const best = isPortable ? undefined : (tried(openLibzstdFrames) ?? tried(openNodeFrames))
  const opened = best ?? openPackageFrames()
  if (opened !== undefined) return opened
  throw new FsError('EOPNOTSUPP', 'no decoder for zstd streams: found neither libzstd.so.1 nor zstd-codec')
}

/** Node's own, from 22.15 on. */
function openNodeFrames(): FrameDecoder | undefined {
  const codec = openCodec('zstd')
  return codec.tier === 'node' ? openWholeFrames(codec) : undefined
}

/** A library without a function that is called is as good as absent. */
function tried(open: () => FrameDecoder | undefined): FrameDecoder | undefined {
  try {
    return open()
  } catch {
    return undefined
  }
}
