import { LruCache } from '../src/base/index.ts'

/** Blocks between two checkpoints, at first; also how far a walk goes on rather than begin anew. */
export const FIRST_STRIDE = 1024
const CHECKPOINTS_MAX = 2048
const NUMBERS_PER_CHECKPOINT = 4
/** Checkpoints kept in all, over all files that were read lately. 32 bytes each. */
const MEMO_CHECKPOINTS = 32 * 1024

/** A place in a block list: everything a walk needs to go on from there. */
export interface Checkpoint {
  /** Blocks before it. */
  readonly block: number
  /** Holes among them. */
  readonly holes: number
  /** Position in the image of the next data block. */
  readonly position: number
  /** Where its entry lies in the metadata. */
  readonly metadataPosition: number
  readonly metadataOffset: number
}

/**
 * Places in a block list from which a walk can go on, every `stride` blocks. Where there would be too many, every
 * second one is dropped and the stride doubled.
 */
export class BlockIndex {
  stride = FIRST_STRIDE
  #numbers: number[] = []

  get count(): number {
    return this.#numbers.length / NUMBERS_PER_CHECKPOINT
  }

  /** Takes it where it is the next one that is due. */
  add({ block, holes, position, metadataPosition, metadataOffset }: Checkpoint): void {
    if (block !== (this.count + 1) * this.stride) return
    this.#numbers.push(holes, position, metadataPosition, metadataOffset)
    if (this.count < CHECKPOINTS_MAX) return
    this.#numbers = this.#numbers.filter((_, at) => Math.floor(at / NUMBERS_PER_CHECKPOINT) % 2 === 1)
    this.stride *= 2
  }

  /** The last checkpoint at or before `block`. */
  before(block: number): Checkpoint | undefined {
    return this.#at(Math.min(Math.floor(block / this.stride), this.count))
  }

  /**
   * How far the blocks from `from` on are known to be all of the kind that is not sought: the last checkpoint before
   * which no hole, or nothing but holes, lies. Undefined where that is less than a stride.
   */
  skippable(from: { readonly block: number; readonly holes: number }, hole: boolean): Checkpoint | undefined {
    let found: Checkpoint | undefined
    // Both numbers grow along the list, so the checkpoints that can be skipped to are those before some point.
    let low = Math.floor(from.block / this.stride) + 1
    let high = this.count
    while (low <= high) {
      const middle = (low + high) >>> 1
      const candidate = this.#at(middle)
      if (candidate === undefined) break
      const holes = candidate.holes - from.holes
      if (holes === (hole ? 0 : candidate.block - from.block)) {
        found = candidate
        low = middle + 1
      } else high = middle - 1
    }
    return found
  }

  /** @param number 1 for the first */
  #at(number: number): Checkpoint | undefined {
    const at = (number - 1) * NUMBERS_PER_CHECKPOINT
    const [holes, position, metadataPosition, metadataOffset] = this.#numbers.slice(
      at,
      at + NUMBERS_PER_CHECKPOINT,
    )
    if (holes === undefined || position === undefined) return undefined
    if (metadataPosition === undefined || metadataOffset === undefined) return undefined
    return { block: number * this.stride, holes, position, metadataPosition, metadataOffset }
  }
}

/** The indexes of the files used lately, by inode reference. Bounded in checkpoints. */
export class BlockIndexes {
  readonly #indexes = new LruCache<number, BlockIndex>(MEMO_CHECKPOINTS)

  get(ref: number): BlockIndex {
    return this.#indexes.get(ref) ?? new BlockIndex()
  }

  keep(ref: number, index: BlockIndex): void {
    this.#indexes.set(ref, index, index.count + 1)
  }
}
