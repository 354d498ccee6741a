import { createHash } from 'node:crypto'

/**
 * Puts a key together that is spread over an area, so that losing any part of the area loses the key (LUKS1 On-Disk
 * Format, 2.4: "Anti-forensic stripes").
 * @param material as many stripes as `keySize` bytes fit into it; stays as it is
 * @param hash as `node:crypto` names it
 * @returns the key; the caller wipes it
 */
export function mergeStripes(material: Uint8Array, keySize: number, hash: string): Buffer {
  const key = Buffer.alloc(keySize)
  const stripes = Math.floor(material.length / keySize)
  for (let stripe = 0; stripe < stripes; stripe++) {
    const start = stripe * keySize
    for (let i = 0; i < keySize; i++) key[i] = (key[i] ?? 0) ^ (material[start + i] ?? 0)
    if (stripe < stripes - 1) diffuse(key, hash)
  }
  return key
}

/** Replaces each piece of a digest's size by the hash of its number and itself, cut to its size. */
function diffuse(block: Buffer, hash: string): void {
  const number = Buffer.alloc(4)
  const size = digestSize(hash)
  for (let at = 0, i = 0; at < block.length; at += size, i++) {
    number.writeUInt32BE(i)
    const piece = block.subarray(at, at + size)
    createHash(hash).update(number).update(piece).digest().copy(piece)
  }
}

const sizes = new Map<string, number>()

function digestSize(hash: string): number {
  const size = sizes.get(hash) ?? createHash(hash).digest().length
  sizes.set(hash, size)
  return size
}
