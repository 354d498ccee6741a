import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { XTS_CANDIDATES } from '../../src/crypt/ciphers/xts.ts'
import { encryptSectors } from '../library/images/luks.ts'

/** 512 bytes that count, twice. */
const COUNTING = Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256))

/** IEEE Std 1619, annex B: vectors 4 (AES-128) and 10 (AES-256), with the start of what they encrypt to. */
const VECTORS = [
  {
    key: '27182818284590452353602874713526' + '31415926535897932384626433832795',
    number: 0,
    start: '27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c',
  },
  {
    key:
      '2718281828459045235360287471352662497757247093699959574966967627' +
      '3141592653589793238462643383279502884197169399375105820974944592',
    number: 0xff,
    start: '1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b',
  },
]

describe.each(XTS_CANDIDATES.map((open) => [open.name, open] as const))('%s', (_, open) => {
  test.each(VECTORS)('decrypts the vectors of IEEE 1619 (sector $number)', ({ key, number, start }) => {
    const secret = Buffer.from(key, 'hex')
    const encrypted = encryptSectors(COUNTING, secret, 512, number)
    expect(encrypted.toString('hex', 0, 32)).toBe(start)
    const cipher = open(secret)!
    cipher.decrypt(encrypted, 512, number, 1)
    expect(encrypted.equals(COUNTING)).toBe(true)
    cipher.close()
  })

  test.each([512, 1024, 2048, 4096])('decrypts sectors of %i bytes, numbered in units of 512', (size) => {
    for (const first of [0, 7, 2 ** 32 - 2 * (size / 512), 2 ** 45]) {
      const key = randomBytes(64)
      const plain = randomBytes(8 * size)
      const bytes = encryptSectors(plain, key, size, first)
      const cipher = open(key)!
      cipher.decrypt(bytes.subarray(0, 3 * size), size, first, size / 512)
      cipher.decrypt(bytes.subarray(3 * size), size, first + (3 * size) / 512, size / 512)
      expect(bytes.equals(plain)).toBe(true)
      cipher.close()
    }
  })

  test('has no cipher for keys of other sizes, and none once it is closed', () => {
    expect(open(randomBytes(48))).toBeUndefined()
    const cipher = open(randomBytes(32))!
    cipher.close()
    cipher.close()
    expect(() => cipher.decrypt(Buffer.alloc(512), 512, 0, 1)).toThrow(/closed/)
  })
})
