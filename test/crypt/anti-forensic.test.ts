import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { mergeStripes } from '../../src/crypt/luks/anti-forensic.ts'
import { splitKey } from '../library/images/luks.ts'

describe('mergeStripes', () => {
  test.each([
    [32, 1, 'sha256'],
    [64, 2, 'sha256'],
    [64, 4000, 'sha256'],
    [64, 40, 'sha1'],
    [48, 40, 'sha512'],
  ])('a key of %i bytes in %i stripes by %s is put together', (size, stripes, hash) => {
    const key = randomBytes(size)
    expect(mergeStripes(splitKey(key, stripes, hash), size, hash).equals(key)).toBe(true)
  })

  test('two stripes are the hash of the first one over the second, by hand', () => {
    const [a, b] = [Buffer.alloc(40, 1), Buffer.alloc(40, 2)]
    const part = (i: number, bytes: Buffer): Buffer =>
      createHash('sha256')
        .update(Buffer.of(0, 0, 0, i))
        .update(bytes)
        .digest()
        .subarray(0, bytes.length)
    const diffused = Buffer.concat([part(0, a.subarray(0, 32)), part(1, a.subarray(32))])
    const expected = Buffer.from(diffused.map((byte, i) => byte ^ b[i]!))
    expect(mergeStripes(Buffer.concat([a, b]), 40, 'sha256').equals(expected)).toBe(true)
  })
})
