import { createHash, type Hash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { FsError } from '../../src/base/index.ts'
import { blockDigest, toHex } from '../../src/verity/block-digest.ts'
import { findAlgorithm, treeGeometry } from '../../src/verity/index.ts'
import { TreeWriter } from '../../src/verity/tree-writer.ts'
import { blobTree } from '../format/blob-tree.ts'

/** The hashes of a blob: the one that names it, and the tree that proves its blocks. Takes its bytes in order. */
export class BlobHash {
  /** Byte behind the tree in the index. */
  readonly treeEnd: number
  readonly #hash: Hash
  readonly #block: Buffer
  readonly #digest: (block: Uint8Array) => string
  readonly #tree: TreeWriter
  #filled = 0

  /**
   * @param algorithm of the digest, as OpenSSL spells it
   * @param size bytes of the blob
   * @param fd of the index, into which the tree is written
   */
  constructor(algorithm: string, size: number, fd: number) {
    const table = { ...blobTree(size), rootHash: '' }
    const found = findAlgorithm(table.algorithm)
    if (found === undefined) throw new FsError('EOPNOTSUPP', `no ${table.algorithm} in this Node`)
    const geometry = treeGeometry(table, found.digestSize, table.treeOffset)
    this.treeEnd = geometry.treeEnd
    this.#hash = createHash(algorithm)
    this.#block = Buffer.alloc(table.dataBlockSize)
    this.#digest = blockDigest(found, table.hashType, table.salt, table.dataBlockSize)
    this.#tree = new TreeWriter(geometry, this.#digest, (position, block) => {
      for (let done = 0; done < block.length; )
        done += writeSync(fd, block, done, block.length - done, position + done)
    })
  }

  add(chunk: Uint8Array): void {
    this.#hash.update(chunk)
    const size = this.#block.length
    for (let at = 0; at < chunk.length; ) {
      const left = chunk.length - at
      if (this.#filled === 0 && left >= size) {
        this.#tree.add(this.#digest(chunk.subarray(at, at + size)))
        at += size
        continue
      }
      const part = chunk.subarray(at, at + Math.min(left, size - this.#filled))
      this.#block.set(part, this.#filled)
      this.#filled += part.length
      at += part.length
      if (this.#filled === size) this.#flush()
    }
  }

  /** @returns both in hex */
  finish(): { readonly digest: string; readonly rootHash: string } {
    if (this.#filled > 0) {
      this.#block.fill(0, this.#filled)
      this.#flush()
    }
    return { digest: this.#hash.digest('hex'), rootHash: toHex(this.#tree.finish()) }
  }

  #flush(): void {
    this.#tree.add(this.#digest(this.#block))
    this.#filled = 0
  }
}
