import { ByteReader, FsError, viewOf } from '../../src/base/index.ts'

/** The skippable frame at the end, and the last four bytes of it (zstd, contrib/seekable_format). */
const SKIPPABLE_MAGIC = 0x184d2a5e
const SEEKABLE_MAGIC = 0x8f92eab1
const HEADER_SIZE = 8
const FOOTER_SIZE = 9
const FRAMES_LIMIT = 0x8000000
/** Of the descriptor: each entry has a checksum, too; bits that must be 0. */
const HAS_CHECKSUMS = 0x80
const RESERVED = 0x7c

/** The frames of a chunk in zstd's seekable format: frame i is bytes [stored[i], stored[i + 1]), decoded likewise. */
export interface SeekTable {
  readonly frames: number
  /** One place more than frames. */
  readonly stored: Float64Array
  readonly decoded: Float64Array
}

/**
 * Reads the table at the end of a compressed chunk. Checksums of frames are passed over: the whole chunk was verified.
 * @param bytes the chunk as it is stored
 * @throws FsError EIO
 */
export function readSeekTable(bytes: Uint8Array): SeekTable {
  const damage = (message: string): FsError => new FsError('EIO', `zstd seek table: ${message}`)
  if (bytes.length < HEADER_SIZE + FOOTER_SIZE) throw damage(`${bytes.length} bytes are too few for one`)
  const view = viewOf(bytes)
  const footer = new ByteReader(view, bytes.length - FOOTER_SIZE, bytes.length, 'zstd seek table')
  const frames = footer.u32()
  const descriptor = footer.u8()
  if (footer.u32() !== SEEKABLE_MAGIC) throw damage('no magic number at the end')
  if ((descriptor & RESERVED) !== 0) throw damage(`reserved bits in the descriptor ${descriptor}`)
  if (frames > FRAMES_LIMIT) throw damage(`${frames} frames`)
  const entrySize = (descriptor & HAS_CHECKSUMS) === 0 ? 8 : 12
  const size = frames * entrySize + FOOTER_SIZE
  const start = bytes.length - size - HEADER_SIZE
  if (start < 0) throw damage(`${frames} frames in ${bytes.length} bytes`)
  const reader = new ByteReader(view, start, bytes.length, 'zstd seek table')
  if (reader.u32() !== SKIPPABLE_MAGIC || reader.u32() !== size)
    throw damage(`no frame of ${size} bytes holds it`)
  const stored = new Float64Array(frames + 1)
  const decoded = new Float64Array(frames + 1)
  for (let frame = 0; frame < frames; frame++) {
    stored[frame + 1] = (stored[frame] ?? 0) + reader.u32()
    decoded[frame + 1] = (decoded[frame] ?? 0) + reader.u32()
    if (entrySize > 8) reader.skip(4)
  }
  const end = stored[frames] ?? 0
  if (end !== start) throw damage(`frames of ${end} bytes, and the table begins at ${start}`)
  return { frames, stored, decoded }
}

/** The frames that hold bytes [from, to) of the decoded chunk: first one, and the one behind the last. */
export function framesOf(
  { frames, decoded }: SeekTable,
  from: number,
  to: number,
): readonly [number, number] {
  let low = 0
  let high = frames
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if ((decoded[middle + 1] ?? 0) <= from) low = middle + 1
    else high = middle
  }
  let end = low
  while (end < frames && (decoded[end] ?? 0) < to) end++
  return [low, end]
}
