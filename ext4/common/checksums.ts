/**
 * The checksums of ext4 and of its journal. None of them inverts its result, as in the kernel (`ext4_chksum`,
 * `jbd2_chksum`, lib/crc16.c, `crc32_be`): each can go on from the sum of what stands before.
 */

/** What sums begin with. */
export const CRC_START = 0xffff_ffff
export const CRC16_START = 0xffff

const CASTAGNOLI = 0x82f6_3b78
const IBM = 0xa001
const ETHERNET = 0x04c1_1db7
/** Bytes that one step of `crc32c` takes: a table for each. */
const STEP = 8

function reflected(polynomial: number, index: number): number {
  let sum = index
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ polynomial : sum >>> 1
  return sum >>> 0
}

/** Table k has the sums of bytes that k zeros follow. */
const CRC32C = /* @__PURE__ */ (() => {
  const tables = new Uint32Array(STEP * 256)
  for (let i = 0; i < 256; i++) tables[i] = reflected(CASTAGNOLI, i)
  for (let i = 256; i < tables.length; i++) {
    const before = tables[i - 256] ?? 0
    tables[i] = (before >>> 8) ^ (tables[before & 0xff] ?? 0)
  }
  return tables
})()

const CRC16 = /* @__PURE__ */ Uint16Array.from({ length: 256 }, (_, i) => reflected(IBM, i))

const CRC32_BE = /* @__PURE__ */ Uint32Array.from({ length: 256 }, (_, i) => {
  let sum = i << 24
  for (let bit = 0; bit < 8; bit++) sum = sum < 0 ? (sum << 1) ^ ETHERNET : sum << 1
  return sum >>> 0
})

/** CRC-32C of the bytes [start, end). */
export function crc32c(seed: number, bytes: Uint8Array, start = 0, end = bytes.length): number {
  const table = CRC32C
  const of = (index: number): number => table[index] as number
  const byte = (index: number): number => bytes[index] as number
  let sum = seed
  let at = start
  for (; at + STEP <= end; at += STEP) {
    sum ^= byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24)
    sum =
      of(1792 + (sum & 0xff)) ^
      of(1536 + ((sum >>> 8) & 0xff)) ^
      of(1280 + ((sum >>> 16) & 0xff)) ^
      of(1024 + (sum >>> 24)) ^
      of(768 + byte(at + 4)) ^
      of(512 + byte(at + 5)) ^
      of(256 + byte(at + 6)) ^
      of(byte(at + 7))
  }
  for (; at < end; at++) sum = (sum >>> 8) ^ of((sum ^ byte(at)) & 0xff)
  return sum >>> 0
}

/** CRC-32C of a number of 32 bits as it lies in an image, little-endian. */
export function crc32cOfWord(seed: number, word: number): number {
  let sum = seed
  for (let shift = 0; shift < 32; shift += 8) {
    sum = (sum >>> 8) ^ (CRC32C[(sum ^ (word >>> shift)) & 0xff] ?? 0)
  }
  return sum >>> 0
}

/** CRC-16 as group descriptors without `metadata_csum` have it. */
export function crc16(seed: number, bytes: Uint8Array, start = 0, end = bytes.length): number {
  let sum = seed
  for (let at = start; at < end; at++) sum = (sum >>> 8) ^ (CRC16[(sum ^ (bytes[at] ?? 0)) & 0xff] ?? 0)
  return sum
}

/** CRC-32 with the highest bit first, over whole transactions of a journal with the feature `checksum`. */
export function crc32BigEndian(seed: number, bytes: Uint8Array): number {
  let sum = seed
  for (const byte of bytes) sum = (sum << 8) ^ (CRC32_BE[(sum >>> 24) ^ byte] ?? 0)
  return sum >>> 0
}
