import type { BlockDigest } from './block-digest.ts'
import type { HashTreeGeometry } from './geometry.ts'

/** Takes a finished block; the bytes are reused after the call. */
export type BlockWriter = (position: number, block: Uint8Array) => void

interface OpenBlock {
  readonly bytes: Buffer
  /** Digests in `bytes`. */
  digests: number
  /** Index of this block in its level. */
  index: number
}

/**
 * Builds a hash tree from the digests of the data blocks, in one pass: of every level only the block being
 * filled is in memory.
 */
export class TreeWriter {
  readonly #geometry: HashTreeGeometry
  readonly #digest: BlockDigest
  readonly #write: BlockWriter
  readonly #open: readonly OpenBlock[]
  #root = ''

  constructor(geometry: HashTreeGeometry, digest: BlockDigest, write: BlockWriter) {
    this.#geometry = geometry
    this.#digest = digest
    this.#write = write
    this.#open = geometry.levels.map(() => ({
      bytes: Buffer.alloc(geometry.hashBlockSize),
      digests: 0,
      index: 0,
    }))
  }

  /** Adds the digest of the next data block. */
  add(digest: string): void {
    this.#addTo(0, digest)
  }

  /** Writes the blocks that are not full, zeros after the last digest. @returns the root hash as binary string */
  finish(): string {
    for (const [level, open] of this.#open.entries()) if (open.digests > 0) this.#flush(level, open)
    return this.#root
  }

  #addTo(level: number, digest: string): void {
    const open = this.#open[level]
    if (open === undefined) {
      this.#root = digest
      return
    }
    open.bytes.write(digest, open.digests * this.#geometry.slotSize, 'latin1')
    open.digests += 1
    if (open.digests === this.#geometry.hashesPerBlock) this.#flush(level, open)
  }

  #flush(level: number, open: OpenBlock): void {
    const start = this.#geometry.levels[level]?.start ?? 0
    this.#write(start + open.index * this.#geometry.hashBlockSize, open.bytes)
    const digest = this.#digest(open.bytes)
    open.bytes.fill(0)
    open.digests = 0
    open.index += 1
    this.#addTo(level + 1, digest)
  }
}
