/** One decoded metadata block. */
export interface MetadataBlock {
  /** Byte position of its header in the image. */
  readonly position: number
  /** Byte position right after its stored bytes: where the next block of the same table begins. */
  readonly next: number
  /** Decoded bytes, at most 8192; `bytes` may be longer. */
  readonly length: number
  readonly bytes: Buffer
  readonly view: DataView
}

/** The blocks of one image, keyed by position. */
export type MetadataShelf = Map<number, MetadataNode>

/** A cached block in the list of all images, ordered by use. */
export interface MetadataNode {
  readonly block: MetadataBlock
  readonly shelf: MetadataShelf
  older: MetadataNode | undefined
  newer: MetadataNode | undefined
}

// The decoded buffer, its views, the node and the map entry.
const COST = 8192 + 512

/** Default bound of the metadata cache in bytes; all layers of a mount share one. */
export const METADATA_CACHE_BYTES = 8 << 20

/**
 * Decoded metadata blocks of all images of a mount, bounded in bytes as a whole, least recently used out first.
 * Each image has its own map, so that positions need no image number in the key; the order of use is one list.
 */
export class MetadataCache {
  readonly #capacity: number
  #count = 0
  #oldest: MetadataNode | undefined
  #newest: MetadataNode | undefined

  /** @param limit bytes; at least a few blocks are always kept, or nothing could be read */
  constructor(limit: number = METADATA_CACHE_BYTES) {
    this.#capacity = Math.max(4, Math.floor(limit / COST))
  }

  /** Bytes held. */
  get cost(): number {
    return this.#count * COST
  }

  /** The block at a position, which counts as used now. */
  get(shelf: MetadataShelf, position: number): MetadataBlock | undefined {
    const node = shelf.get(position)
    if (node === undefined) return undefined
    if (node !== this.#newest) {
      this.#unlink(node)
      this.#append(node)
    }
    return node.block
  }

  /** Takes a block, and lets the least recently used one go where there is no room. */
  add(shelf: MetadataShelf, block: MetadataBlock): void {
    const node: MetadataNode = { block, shelf, older: undefined, newer: undefined }
    shelf.set(block.position, node)
    this.#append(node)
    this.#count += 1
    const oldest = this.#oldest
    if (this.#count > this.#capacity && oldest !== undefined) {
      this.#unlink(oldest)
      oldest.shelf.delete(oldest.block.position)
      this.#count -= 1
    }
  }

  /** Forgets all blocks. Each is decoded again when it is wanted. */
  clear(): void {
    for (let node = this.#oldest; node !== undefined; node = node.newer)
      node.shelf.delete(node.block.position)
    this.#oldest = undefined
    this.#newest = undefined
    this.#count = 0
  }

  #append(node: MetadataNode): void {
    node.older = this.#newest
    node.newer = undefined
    if (this.#newest === undefined) this.#oldest = node
    else this.#newest.newer = node
    this.#newest = node
  }

  #unlink(node: MetadataNode): void {
    if (node.older === undefined) this.#oldest = node.newer
    else node.older.newer = node.newer
    if (node.newer === undefined) this.#newest = node.older
    else node.newer.older = node.older
  }
}
