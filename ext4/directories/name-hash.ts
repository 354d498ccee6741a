/**
 * The hashes by which the index of a directory is ordered (ext4: Hash Tree Directories; fs/ext4/hash.c). Numbers of
 * 32 bits.
 */

/** `dx_root_info.hash_version`. Those with unsigned characters follow in the same order, see `versionOf`. */
const LEGACY = 0
const HALF_MD4 = 1
const TEA = 2
const UNSIGNED = 3
/** The highest hash means the end of a directory; no name has it. */
const END = 0xffff_fffe
const LAST = 0xffff_fffc

/** Where no seed is stored: that of MD4. */
const DEFAULT_SEED = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]

export interface HashOptions {
  readonly version: number
  /** Four words. */
  readonly seed: Uint32Array
  /** Of the superblock: a version that does not say how characters count takes them as unsigned. */
  readonly isUnsigned: boolean
}

/** @returns the hash, which is even; undefined for a version that is not known */
export function hashName(name: Buffer, { version, seed, isUnsigned }: HashOptions): number | undefined {
  const full = version <= TEA && isUnsigned ? version + UNSIGNED : version
  if (full > TEA + UNSIGNED) return undefined
  const isSigned = full < UNSIGNED
  const state = Uint32Array.from(seed.some((word) => word !== 0) ? seed : DEFAULT_SEED)
  const kind = full % UNSIGNED
  if (kind === LEGACY) return even(legacy(name, isSigned))
  const [transform, count, result] = kind === HALF_MD4 ? ([halfMd4, 8, 1] as const) : ([tea, 4, 0] as const)
  for (let at = 0; at < name.length; at += count * 4) transform(state, words(name, at, count, isSigned))
  return even(state[result] ?? 0)
}

function even(hash: number): number {
  const cleared = (hash & ~1) >>> 0
  return cleared === END ? LAST : cleared
}

function byteAt(name: Buffer, at: number, isSigned: boolean): number {
  const byte = name[at] ?? 0
  return isSigned ? (byte << 24) >> 24 : byte
}

/** The rest of a name from `at` in `count` words, padded with its length. */
function words(name: Buffer, at: number, count: number, isSigned: boolean): Uint32Array {
  const left = name.length - at
  const pad = Math.imul(left, 0x0101_0101)
  const result = new Uint32Array(count).fill(pad)
  const length = Math.min(left, count * 4)
  let word = pad
  for (let i = 0; i < length; i++) {
    if (i % 4 === 0) word = pad
    word = (byteAt(name, at + i, isSigned) + (word << 8)) | 0
    result[i >>> 2] = word
  }
  return result
}

function legacy(name: Buffer, isSigned: boolean): number {
  let before = 0x12a3_fe2d
  let beforeThat = 0x37ab_e8f9
  for (let i = 0; i < name.length; i++) {
    let hash = (beforeThat + (before ^ Math.imul(byteAt(name, i, isSigned), 7152373))) >>> 0
    if (hash >= 0x8000_0000) hash = (hash - 0x7fff_ffff) >>> 0
    beforeThat = before
    before = hash
  }
  return (before << 1) >>> 0
}

function tea(state: Uint32Array, input: Uint32Array): void {
  const [a = 0, b = 0, c = 0, d = 0] = input
  let [b0 = 0, b1 = 0] = state
  let sum = 0
  for (let round = 0; round < 16; round++) {
    sum = (sum + 0x9e37_79b9) >>> 0
    b0 = (b0 + (((b1 << 4) + a) ^ (b1 + sum) ^ ((b1 >>> 5) + b))) >>> 0
    b1 = (b1 + (((b0 << 4) + c) ^ (b0 + sum) ^ ((b0 >>> 5) + d))) >>> 0
  }
  state[0] = (state[0] ?? 0) + b0
  state[1] = (state[1] ?? 0) + b1
}

const select = (x: number, y: number, z: number): number => z ^ (x & (y ^ z))
const majority = (x: number, y: number, z: number): number => (x & y) + ((x ^ y) & z)
const parity = (x: number, y: number, z: number): number => x ^ y ^ z

/** The three rounds (lib: half_md4_transform): function, constant, order of the words, rotations. */
const ROUNDS = [
  { mix: select, add: 0, order: [0, 1, 2, 3, 4, 5, 6, 7], turns: [3, 7, 11, 19] },
  { mix: majority, add: 0x5a82_7999, order: [1, 3, 5, 7, 0, 2, 4, 6], turns: [3, 5, 9, 13] },
  { mix: parity, add: 0x6ed9_eba1, order: [3, 7, 2, 6, 1, 5, 0, 4], turns: [3, 9, 11, 15] },
] as const

function halfMd4(state: Uint32Array, input: Uint32Array): void {
  let [a = 0, b = 0, c = 0, d = 0] = state
  for (const { mix, add, order, turns } of ROUNDS) {
    for (const [i, index] of order.entries()) {
      const sum = (a + mix(b, c, d) + (input[index] ?? 0) + add) | 0
      const turn = turns[i % 4] ?? 0
      const turned = (sum << turn) | (sum >>> (32 - turn))
      a = d
      d = c
      c = b
      b = turned
    }
  }
  state[0] = (state[0] ?? 0) + a
  state[1] = (state[1] ?? 0) + b
  state[2] = (state[2] ?? 0) + c
  state[3] = (state[3] ?? 0) + d
}
