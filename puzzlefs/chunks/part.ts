import type { BlockRef, SourceId } from '../../src/base/index.ts'

/**
 * Bytes of a chunk that are decoded and cached at once. The builders make no larger chunks; one of another builder is read
 * in parts.
 */
export const PART_SIZE = 256 << 10
/** Where a piece of a file may end in a chunk, bytes: parts are counted in few bits. */
export const CHUNK_END = 2 ** 40

const COMPRESSED = 1

/** A part of a chunk as a block: the chunk is named by its index, and its size is not known before it is read. */
export function partRef(source: SourceId, chunk: number, part: number, isCompressed: boolean): BlockRef {
  return {
    source,
    position: chunk,
    storedSize: PART_SIZE,
    kindBits: part * 2 + (isCompressed ? COMPRESSED : 0),
    maxSize: PART_SIZE,
  }
}

/** What `partRef` has put in. */
export function partOf({ position, kindBits }: BlockRef): {
  readonly chunk: number
  readonly part: number
  readonly isCompressed: boolean
} {
  return { chunk: position, part: kindBits >>> 1, isCompressed: (kindBits & COMPRESSED) !== 0 }
}
