import { FsError } from '../../src/base/index.ts'
import {
  type EntryPoint,
  inflatePiece,
  openRawInflate,
  STREAM_START,
} from '../../src/codecs/inflate/index.ts'
import type { Feed } from '../gzip/feed.ts'
import { readHeader, TRAILER } from '../gzip/member-header.ts'
import type { SpanDecoder } from './span-decoder.ts'

/** Decodes gzip of one or several members. */
export function openGzipDecoder(): SpanDecoder {
  const inflate = openRawInflate()
  const decode = (feed: Feed, target: Uint8Array): number => {
    const chunk = feed.chunk()
    if (chunk === undefined) throw new FsError('EIO', 'the gzip data end too early')
    const { made, taken, ended } = inflate.inflate(chunk, target, false)
    feed.take(taken)
    if (ended) nextMember(feed)
    else if (taken === 0 && made === 0) throw new FsError('EIO', 'gzip data that cannot be decoded')
    return made
  }
  const nextMember = (feed: Feed): void => {
    for (let i = 0; i < TRAILER; i++) feed.must()
    if (readHeader(feed, false)) inflate.begin(STREAM_START)
  }
  return {
    user: undefined,
    begin: (point: EntryPoint) => inflate.begin(point),
    decode,
    // Node's own zlib, where the other one is in JavaScript.
    ...(inflate.tier !== 'system' && { piece: inflatePiece }),
  }
}
