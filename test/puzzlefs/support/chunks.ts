import { createHash } from 'node:crypto'
import { openEncoder } from '../../../src/codecs/encode/index.ts'
import { fsVerityDigest } from '../../../src/verity/index.ts'

/** A chunk as it is stored. */
export interface StoredChunk {
  readonly bytes: Buffer
  readonly digest: Buffer
  readonly hex: string
  readonly verity: Buffer
}

export function stored(bytes: Buffer): StoredChunk {
  const digest = createHash('sha256').update(bytes).digest()
  return { bytes, digest, hex: digest.toString('hex'), verity: Buffer.from(fsVerityDigest(bytes), 'hex') }
}

/** Zstd's seekable format. @param checksums a third word an entry, as release 0.2.0 of puzzlefs has it */
export function seekable(bytes: Uint8Array, frameSize = 4096, checksums = false): Buffer {
  const encoder = openEncoder({ name: 'zstd', level: 3, blockSize: 4096 })
  const frames: Buffer[] = []
  const entries: Buffer[] = []
  for (let at = 0; at < bytes.length; at += frameSize) {
    const piece = bytes.subarray(at, at + frameSize)
    const room = Buffer.alloc(piece.length + 128)
    const frame = room.subarray(0, encoder.encode(piece, room))
    frames.push(frame)
    const entry = Buffer.alloc(checksums ? 12 : 8)
    entry.writeUInt32LE(frame.length, 0)
    entry.writeUInt32LE(piece.length, 4)
    entries.push(entry)
  }
  const footer = Buffer.alloc(9)
  footer.writeUInt32LE(frames.length, 0)
  footer[4] = checksums ? 0x80 : 0
  footer.writeUInt32LE(0x8f92eab1, 5)
  const header = Buffer.alloc(8)
  header.writeUInt32LE(0x184d2a5e, 0)
  header.writeUInt32LE(
    entries.reduce((sum, { length }) => sum + length, 9),
    4,
  )
  return Buffer.concat([...frames, header, ...entries, footer])
}
