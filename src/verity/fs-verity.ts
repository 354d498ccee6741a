import { hash } from 'node:crypto'

/**
 * What the kernel's fs-verity would say of a file, with sha256, blocks of 4 KiB and no salt, as `fsverity digest` does by
 * default (Documentation/filesystems/fsverity.rst, "File digest computation").
 */

/** Bytes of a block of data and of the tree; a shorter last block counts as if zeros followed. */
export const LEAF_SIZE = 4096
/** Bytes of a sha256. */
export const DIGEST_SIZE = 32
/** `struct fsverity_descriptor`: version 1, sha256 (1), log2 of the block size, the size of the file, its root hash. */
const DESCRIPTOR_SIZE = 256
const [VERSION, SHA256, LOG_BLOCK_SIZE] = [1, 1, 12]
const SIZE_AT = 8
const ROOT_AT = 16

/** Digests of the blocks of a file, one after the other. @param bytes whole blocks but for the end of the file */
export function leafDigests(bytes: Uint8Array, target: Uint8Array): void {
  const place = Buffer.from(target.buffer, target.byteOffset, target.byteLength)
  for (let at = 0, to = 0; at < bytes.length; at += LEAF_SIZE, to += DIGEST_SIZE) {
    // Text of one character a byte: 20 % faster than a buffer for each digest.
    place.write(leafDigest(bytes.subarray(at, at + LEAF_SIZE)), to, DIGEST_SIZE, 'latin1')
  }
}

/** The digest of one block of a file. @returns as a "binary" string, one character a byte */
export function leafDigest(block: Uint8Array): string {
  return hash('sha256', paddedBlock(block), 'binary')
}

/** @param size of the file, bytes. @param leaves the digests of its blocks. @returns hex */
export function fsVerityOf(size: number, leaves: Uint8Array): string {
  const descriptor = Buffer.alloc(DESCRIPTOR_SIZE)
  descriptor.set([VERSION, SHA256, LOG_BLOCK_SIZE])
  descriptor.writeBigUInt64LE(BigInt(size), SIZE_AT)
  let level = leaves
  while (level.length > DIGEST_SIZE) {
    const above = new Uint8Array(Math.ceil(level.length / LEAF_SIZE) * DIGEST_SIZE)
    leafDigests(level, above)
    level = above
  }
  descriptor.set(level, ROOT_AT)
  return hash('sha256', descriptor, 'hex')
}

/** The fs-verity digest of a file in memory. @returns hex */
export function fsVerityDigest(bytes: Uint8Array): string {
  const leaves = new Uint8Array(Math.ceil(bytes.length / LEAF_SIZE) * DIGEST_SIZE)
  leafDigests(bytes, leaves)
  return fsVerityOf(bytes.length, leaves)
}

function paddedBlock(block: Uint8Array): Uint8Array {
  if (block.length === LEAF_SIZE) return block
  const padded = new Uint8Array(LEAF_SIZE)
  padded.set(block)
  return padded
}
