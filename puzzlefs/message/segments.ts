import { DamageError } from '../../src/base/index.ts'
import type { Pages } from './pages.ts'

/** The reference refuses messages of so many segments and more. */
const SEGMENTS_LIMIT = 512

/** Bytes of a word: the unit of Cap'n Proto. */
export const WORD = 8

/** A part of a message: pointers between two of them are far pointers. Byte positions in the image. */
export interface Segment {
  readonly start: number
  readonly end: number
}

/**
 * The segment table in front of a message that is not packed (Cap'n Proto, "Serialization Over a Stream"). What follows the
 * message is ignored.
 * @throws DamageError
 */
export function readSegments(pages: Pages): readonly Segment[] {
  const { size, label } = pages
  const damage = (message: string): DamageError => new DamageError(label, 0, `${label}: ${message}`)
  if (size < WORD) throw damage(`${size} bytes are no message`)
  const last = pages.u32(0)
  if (last >= SEGMENTS_LIMIT - 1) {
    throw damage(`a message of ${last + 1} segments, at most ${SEGMENTS_LIMIT - 1} are possible`)
  }
  const count = last + 1
  const table = Math.ceil((1 + count) / 2) * WORD
  if (table > size) throw damage('the table of segments ends early')
  let start = table
  const segments: Segment[] = []
  for (let index = 0; index < count; index++) {
    const end = start + pages.u32(4 + 4 * index) * WORD
    if (end > size) throw damage(`segment ${index} ends at ${end}, the image at ${size}`)
    segments.push({ start, end })
    start = end
  }
  return segments
}
