import type { AttributeEntry } from '../inodes/attribute-entries.ts'

const NAME_SHIFT = 5
const VALUE_SHIFT = 16

/**
 * What `e_hash` of an attribute may be whose value lies in an inode (fs/ext4/xattr.c:ext4_xattr_hash_entry): older kernels
 * took the characters of the name as signed.
 * @param valueHash checksum of the value
 */
export function entryHashes({ name }: AttributeEntry, valueHash: number): readonly number[] {
  const bytes = Buffer.from(name, 'latin1')
  return [0, 24].map((shift) => {
    let hash = 0
    for (const byte of bytes) hash = turned(hash, NAME_SHIFT) ^ ((byte << shift) >> shift)
    return (turned(hash, VALUE_SHIFT) ^ valueHash) >>> 0
  })
}

function turned(hash: number, by: number): number {
  return (hash << by) | (hash >>> (32 - by))
}
