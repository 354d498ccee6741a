import { LruCache } from '../../src/base/index.ts'

/** Metadata blocks that the layers of one session keep together, bytes. */
const METADATA_CACHE_BYTES = 8 << 20
/** Numbers of blocks are below this (`MAX_BLOCKS` of the superblock). */
const BLOCKS = 2 ** 41

/** A block as the recovered file system has it. Nobody changes it. */
export interface CachedBlock {
  readonly bytes: Buffer
  readonly view: DataView
  /** What the block was last found to be in order for; a damaged image may use one block for two things. */
  checkedFor: string | number | undefined
}

/** The cache of all file systems that one thread has open, each with numbers of its own. */
export class MetadataCache {
  readonly #blocks: LruCache<number, CachedBlock>
  #spaces = 0

  constructor(bytes = METADATA_CACHE_BYTES) {
    this.#blocks = new LruCache(bytes)
  }

  /** Room for another file system. */
  space(): { get(block: number): CachedBlock | undefined; set(block: number, content: CachedBlock): void } {
    const first = this.#spaces * BLOCKS
    this.#spaces += 1
    return {
      get: (block) => this.#blocks.get(first + block),
      set: (block, content) => this.#blocks.set(first + block, content, content.bytes.length),
    }
  }
}
