import { openBzip2Stream } from './bzip2.ts'
import type { StreamDecoder, StreamName } from './stream-decoder.ts'
import { openXzStream } from './xz.ts'
import { openZstdStream } from './zstd.ts'

export type { StreamDecoder, StreamName } from './stream-decoder.ts'

const OPEN: Readonly<Record<StreamName, () => StreamDecoder | undefined>> = {
  xz: openXzStream,
  bzip2: openBzip2Stream,
  zstd: openZstdStream,
}

/** A decoder of this machine's libraries for one stream. @returns undefined if there is none */
export function openStreamDecoder(name: StreamName): StreamDecoder | undefined {
  if (process.env['ATOMFS_CODECS'] === 'portable') return undefined
  try {
    return OPEN[name]()
  } catch {
    // A library without a function that is called: as good as absent.
    return undefined
  }
}
