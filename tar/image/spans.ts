import { MAX_BLOCK_SIZE } from '../../src/base/index.ts'
import type { IndexPages } from './index-pages.ts'

/** The unit in which an archive without compression is read, bytes. */
export const PLAIN_BLOCK = 128 << 10

/** A part of the archive that is one block of the cache. Bytes of the archive. */
export interface Part {
  readonly start: number
  readonly end: number
}

/** A checkpoint and how far what begins there goes. */
export interface Span extends Part {
  readonly checkpoint: number
}

/** The span in which a byte of the archive lies. @throws FsError EIO for one behind the archive */
export function spanAt(pages: IndexPages, position: number): Span {
  const { checkpointCount, archiveSize, checkpoints } = pages.header
  let low = 0
  let high = checkpointCount
  // The last one at or before the byte.
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (pages.checkpoint(middle).archiveAt <= position) low = middle
    else high = middle
  }
  const start = low < checkpointCount ? pages.checkpoint(low).archiveAt : Infinity
  const end = low + 1 < checkpointCount ? pages.checkpoint(low + 1).archiveAt : archiveSize
  if (!(start <= position && position < end && end <= archiveSize)) {
    throw pages.damage(checkpoints, `no checkpoint for byte ${position} of the archive`)
  }
  return { checkpoint: low, start, end }
}

/** The block of the cache in which a byte of the archive lies. @throws FsError EIO as `spanAt` */
export function partAt(pages: IndexPages, position: number): Part {
  const { form, archiveSize } = pages.header
  if (form === 'plain') {
    if (position >= archiveSize) throw pages.damage(0, `byte ${position} of an archive of ${archiveSize}`)
    return partOf({ start: 0, end: archiveSize }, position, PLAIN_BLOCK)
  }
  const span = spanAt(pages, position)
  const length = span.end - span.start
  // Of one size, about: a small rest would take a slot of its own.
  return partOf(span, position, Math.ceil(length / Math.ceil(length / MAX_BLOCK_SIZE)))
}

function partOf({ start, end }: Part, position: number, unit: number): Part {
  const from = position - ((position - start) % unit)
  return { start: from, end: Math.min(from + unit, end) }
}
