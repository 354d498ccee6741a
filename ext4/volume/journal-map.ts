/** Where a journal has the last content of blocks: what recovery would write to their places. */
export interface JournalMap {
  /** Number of blocks. */
  readonly size: number
  /** @returns byte position in the source; undefined where the block is as it lies in its place */
  find(block: number): { readonly position: number; readonly isEscaped: boolean } | undefined
  /** The first block from one on that is in the map; Infinity where there is none. */
  next(block: number): number
}

/** Of a file system that was unmounted, or has no journal. */
export const NO_JOURNAL: JournalMap = {
  size: 0,
  find: () => undefined,
  next: () => Number.POSITIVE_INFINITY,
}

/** A block of the file system that a journal has. */
export interface JournalCopy {
  /** Byte position in the source. */
  readonly position: number
  readonly isEscaped: boolean
}

/** @param copies by the number of the block. They are kept as sorted numbers, some 17 bytes each. */
export function journalMap(copies: ReadonlyMap<number, JournalCopy>): JournalMap {
  const blocks = Float64Array.from(copies.keys()).sort()
  const positions = new Float64Array(blocks.length)
  const escaped = new Uint8Array(blocks.length)
  for (const [i, block] of blocks.entries()) {
    const copy = copies.get(block)
    positions[i] = copy?.position ?? 0
    escaped[i] = copy?.isEscaped === true ? 1 : 0
  }
  /** Index of the first block that is not below one. */
  const indexOf = (block: number): number => {
    let low = 0
    let high = blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((blocks[middle] ?? 0) < block) low = middle + 1
      else high = middle
    }
    return low
  }
  return {
    size: blocks.length,
    find(block) {
      const i = indexOf(block)
      return blocks[i] === block ? { position: positions[i] ?? 0, isEscaped: escaped[i] === 1 } : undefined
    },
    next: (block) => blocks[indexOf(block)] ?? Number.POSITIVE_INFINITY,
  }
}
