import { describe, expect, test } from 'vitest'
import { hashName } from '../../ext4/directories/name-hash.ts'

/** 01020304-0506-0708-090a-0b0c0d0e0f10, as `debugfs -R 'dx_hash -s'` takes it. */
const SEED = Uint32Array.of(0x0403_0201, 0x0807_0605, 0x0c0b_0a09, 0x100f_0e0d)
const [LEGACY, HALF_MD4, TEA] = [0, 1, 2]

function hash(name: string, version: number, isUnsigned = false, seed = SEED): number | undefined {
  return hashName(Buffer.from(name), { version, seed, isUnsigned })
}

describe('hashes of names', () => {
  test.each([
    ['hello', 0x3225_2546, 0xe2dd_f968, 0x1a56_92b6],
    // Characters count as signed.
    ['größe-☃', 0xaf51_925c, 0x9c51_0e4e, 0x0f9c_091e],
    ['n'.repeat(200), 0xcf72_88b6, 0x5bdb_e6ae, 0x5db2_6060],
  ])('the hashes of %s are those that debugfs tells', (name, legacy, halfMd4, tea) => {
    expect([LEGACY, HALF_MD4, TEA].map((version) => hash(name, version))).toEqual([legacy, halfMd4, tea])
  })

  test('only names with bytes above 127 have another hash where characters are unsigned', () => {
    for (const version of [LEGACY, HALF_MD4, TEA]) {
      expect(hash('hello', version, true)).toBe(hash('hello', version))
      expect(hash('größe', version, true)).not.toBe(hash('größe', version))
      // A version that says so itself is not shifted again.
      expect(hash('größe', version + 3, true)).toBe(hash('größe', version, true))
    }
  })

  test('a seed of zeros stands for the default, and an unknown version has no hash', () => {
    const zeros = new Uint32Array(4)
    const standard = Uint32Array.of(0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476)
    expect(hash('hello', HALF_MD4, false, zeros)).toBe(hash('hello', HALF_MD4, false, standard))
    expect([6, 7, 255].map((version) => hash('hello', version))).toEqual([undefined, undefined, undefined])
  })
})
