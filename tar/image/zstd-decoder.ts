import { FsError } from '../../src/base/index.ts'
import { openFrameDecoder } from '../../src/codecs/frames/index.ts'
import type { Feed } from '../gzip/feed.ts'
import type { SpanDecoder } from './span-decoder.ts'

const NOTHING = new Uint8Array(0)

/** Decodes frames of zstd, one after the other. */
export function openZstdDecoder(): SpanDecoder {
  const frames = openFrameDecoder()
  return {
    user: undefined,
    begin: () => frames.begin(),
    decode(feed: Feed, target: Uint8Array): number {
      const { made, taken, ended } = frames.decode(feed.chunk() ?? NOTHING, target)
      if (made === 0 && taken === 0 && !ended) throw new FsError('EIO', 'the zstd data end too early')
      feed.take(taken)
      return made
    },
  }
}
