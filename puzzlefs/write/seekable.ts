import type { Encoder } from '../../src/codecs/encode/index.ts'

/** Bytes of a frame before compression, and the level: what the original writes. */
const FRAME_SIZE = 4096
export const LEVEL = 3
const SKIPPABLE_MAGIC = 0x184d2a5e
const SEEKABLE_MAGIC = 0x8f92eab1
const ENTRY_SIZE = 8
const FOOTER_SIZE = 9
/** Room for a frame that does not become smaller. */
const SPARE = 256

/**
 * Compresses a chunk in zstd's seekable format.
 * @returns undefined where it does not become smaller: it is then better stored as it is
 */
export function encodeSeekable(bytes: Uint8Array, encoder: Encoder): Buffer | undefined {
  const frames = Math.ceil(bytes.length / FRAME_SIZE)
  const room = Buffer.allocUnsafe(bytes.length + frames * SPARE)
  const table = Buffer.alloc(8 + frames * ENTRY_SIZE + FOOTER_SIZE)
  table.writeUInt32LE(SKIPPABLE_MAGIC, 0)
  table.writeUInt32LE(table.length - 8, 4)
  let end = 0
  for (let frame = 0; frame < frames; frame++) {
    const piece = bytes.subarray(frame * FRAME_SIZE, (frame + 1) * FRAME_SIZE)
    const length = encoder.encode(piece, room.subarray(end))
    if (length === 0) return undefined
    table.writeUInt32LE(length, 8 + frame * ENTRY_SIZE)
    table.writeUInt32LE(piece.length, 12 + frame * ENTRY_SIZE)
    end += length
    if (end + table.length >= bytes.length) return undefined
  }
  table.writeUInt32LE(frames, table.length - FOOTER_SIZE)
  table.writeUInt32LE(SEEKABLE_MAGIC, table.length - 4)
  return Buffer.concat([room.subarray(0, end), table])
}
