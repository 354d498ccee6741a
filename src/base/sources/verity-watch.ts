/** A block whose bytes do not have the hash that the tree, and so the root hash, demands. */
export interface VerityFailure {
  readonly kind: 'data' | 'hash'
  /** The source: layer digest or path. */
  readonly label: string
  /** Level in the tree, 0 next to the data; undefined for a data block. */
  readonly level: number | undefined
  /** Number of the data block, or index of the hash block in its level. */
  readonly block: number
  /** Byte position of the block in its source. */
  readonly position: number
  /** Hex. */
  readonly expected: string
  /** Hex. */
  readonly actual: string
}

/** What was read from one `VerifiedSource`, for `status`. */
export interface VerityCounters {
  /** Data blocks hashed. */
  blocksChecked: number
  /** Hash blocks hashed; a hash block found in the cache does not count. */
  hashBlocksChecked: number
  failures: number
}

/** Receives what verification finds. */
export interface VerityWatch {
  readonly counters: VerityCounters
  readonly onFailure: (failure: VerityFailure) => void
}
