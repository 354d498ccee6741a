/** @returns 32 bits of a name in a directory. @param parent number of the directory */
export type NameHash = (parent: number, name: Uint8Array) => number

const C0 = 0x6c796765
const C1 = 0x74656462
/** Rounds behind the last word. */
const LAST_ROUNDS = 3

/**
 * A hash for tables of names, with a key that nobody knows: else whoever makes an archive could choose a million names
 * that all fall on the same place of the table, and each would be compared with all others. HalfSipHash-1-3 (Aumasson
 * and Bernstein, "SipHash: a fast short-input PRF"; lib/siphash.c:hsiphash of the kernel). Nothing that is written
 * depends on it.
 */
export function newNameHash(key = crypto.getRandomValues(new Uint32Array(2))): NameHash {
  const [k0 = 0, k1 = 0] = key
  return (parent, name) => {
    const { length } = name
    const words = 1 + (length >>> 2)
    let v0 = k0 | 0
    let v1 = k1 | 0
    let v2 = C0 ^ k0
    let v3 = C1 ^ k1
    for (let i = 0; i <= words + LAST_ROUNDS; i++) {
      const word = i === 0 ? parent | 0 : i <= words ? wordAt(name, i * 4 - 4) : 0
      // The last word has what is left of the name, and its length.
      const message = i === words ? word | (length << 24) : word
      if (i === words + 1) v2 ^= 0xff
      v3 ^= message
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 ^= message
    }
    return (v1 ^ v3) >>> 0
  }
}

/** Four bytes, the lowest first; 0 for those behind the end. */
function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  )
}
