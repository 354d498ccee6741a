import { FsError } from '../../base/index.ts'
import { openLibzInflate } from './libz-inflate.ts'
import { openPakoInflate } from './pako-inflate.ts'
import type { RawInflate } from './raw-inflate.ts'

export { inflatePiece } from './node-inflate.ts'
export { type EntryPoint, type Inflated, type RawInflate, STREAM_START, WINDOW } from './raw-inflate.ts'

/**
 * The best decoder of deflate streams that can be entered in the middle.
 * @throws FsError EOPNOTSUPP where there is none
 */
export function openRawInflate(): RawInflate {
  const isPortable = process.env['ATOMFS_CODECS'] === 'portable'
  const opened = (isPortable ? undefined : tried(openLibzInflate)) ?? openPakoInflate()
  if (opened !== undefined) return opened
  throw new FsError('EOPNOTSUPP', 'no decoder for gzip streams: found neither libz.so.1 nor pako')
}

/** A library without a function that is called is as good as absent. */
function tried(open: () => RawInflate | undefined): RawInflate | undefined {
  try {
    return open()
  } catch {
    return undefined
  }
}
