import { describe, expect, test } from 'vitest'
import {
  CRC_START,
  CRC16_START,
  crc16,
  crc32BigEndian,
  crc32c,
  crc32cOfWord,
} from '../../ext4/common/checksums.ts'
import { Random } from '../library/trees/random.ts'

/** By the definition, bit by bit. */
function crc32cByBits(seed: number, bytes: Uint8Array): number {
  let sum = seed
  for (const byte of bytes) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f6_3b78 : sum >>> 1
  }
  return sum >>> 0
}

const DIGITS = Buffer.from('123456789')

describe('checksums', () => {
  test('the checksums of 123456789 are the published ones', () => {
    // The catalogue inverts the first; the others are CRC-16/MODBUS and CRC-32/MPEG-2.
    expect((crc32c(CRC_START, DIGITS) ^ CRC_START) >>> 0).toBe(0xe306_9283)
    expect(crc16(CRC16_START, DIGITS)).toBe(0x4b37)
    expect(crc32BigEndian(CRC_START, DIGITS)).toBe(0x0376_e6e7)
  })

  test('crc32c is the same by tables and by bits, for every length and place, and in parts', () => {
    const bytes = new Random(1).bytes(300)
    for (let length = 0; length < 40; length++) {
      for (let start = 0; start < 9; start++) {
        const part = bytes.subarray(start, start + length)
        expect(crc32c(7, bytes, start, start + length)).toBe(crc32cByBits(7, part))
      }
    }
    expect(crc32c(crc32c(CRC_START, bytes, 0, 111), bytes, 111)).toBe(crc32c(CRC_START, bytes))
  })

  test('the checksum of a word is that of its bytes', () => {
    for (const word of [0, 1, 0xdead_beef, 0xffff_ffff]) {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32LE(word)
      expect(crc32cOfWord(99, word)).toBe(crc32c(99, bytes))
    }
  })
})
