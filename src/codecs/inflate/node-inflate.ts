import { constants, inflateRawSync } from 'node:zlib'
import { FsError, messageOf } from '../../base/index.ts'
import { emptyBlocks } from './empty-blocks.ts'
import type { EntryPoint } from './raw-inflate.ts'

/**
 * Decodes a piece of a deflate stream by Node's own zlib, which knows whole buffers only.
 * @param input from the entry point on, up to the end of the piece or some bytes more
 * @param length bytes of the piece
 * @returns undefined where the stream ends before
 * @throws FsError EIO for damaged data
 */
export function inflatePiece(
  { bits, before, window }: EntryPoint,
  input: Uint8Array,
  length: number,
): Uint8Array | undefined {
  const whole = bits > 0 ? Buffer.concat([emptyBlocks(bits, before), input]) : input
  let bytes: Uint8Array
  try {
    bytes = inflateRawSync(whole, {
      ...(window.length > 0 && { dictionary: window }),
      // The input ends in the middle of a stream.
      finishFlush: constants.Z_SYNC_FLUSH,
      chunkSize: Math.max(length, constants.Z_MIN_CHUNK),
    })
  } catch (error) {
    throw new FsError('EIO', `damaged deflate data (node:zlib: ${messageOf(error)})`)
  }
  return bytes.length >= length ? bytes.subarray(0, length) : undefined
}
