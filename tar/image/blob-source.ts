import {
  type Blobs,
  type ByteSource,
  checkRange,
  type OpenOptions,
  omitUndefined,
} from '../../src/base/index.ts'
import { VerifiedSource } from '../../src/verity/index.ts'
import { blobTree } from '../format/blob-tree.ts'
import { type IndexHeader, PAGE } from '../format/layout.ts'

/** A blob filled up with zeros to whole blocks of its hash tree. */
class FilledBlob implements ByteSource {
  readonly size: number
  readonly label: string
  readonly #blobs: Blobs
  readonly #blobSize: number

  constructor(blobs: Blobs, blobSize: number, label: string) {
    this.size = Math.ceil(blobSize / PAGE) * PAGE
    this.label = label
    this.#blobs = blobs
    this.#blobSize = blobSize
  }

  readInto(position: number, target: Uint8Array): void {
    checkRange(this, position, target.length)
    const stored = Math.max(0, Math.min(target.length, this.#blobSize - position))
    if (stored > 0) this.#blobs.readInto(0, position, target.subarray(0, stored))
    target.fill(0, stored)
  }

  isAtHand(position: number, length: number): boolean {
    const stored = Math.min(length, this.#blobSize - position)
    return stored <= 0 || this.#blobs.isAtHand(0, position, stored)
  }
}

/**
 * The bytes of a blob, each block compared with the tree in its index.
 * @param blobs of which the first one is it
 * @param source of the index, verified itself
 */
export function blobSource(
  blobs: Blobs,
  { source, label, checks, hashCacheBytes: cacheBytes }: OpenOptions,
  { blobSize, blobRootHash }: IndexHeader,
): ByteSource {
  return new VerifiedSource({
    source: new FilledBlob(blobs, blobSize, label),
    hashSource: source,
    table: { ...blobTree(blobSize), rootHash: blobRootHash },
    ...omitUndefined({ cacheBytes }),
    ...checks?.watch,
  })
}
