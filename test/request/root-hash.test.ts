import { describe, expect, test } from 'vitest'
import { parseRootHash } from '../../src/request/root-hash.ts'

describe('parseRootHash', () => {
  test('a root hash may have every digest length that dm-verity knows, in upper or lower case', () => {
    for (const bytes of [20, 28, 32, 48, 64]) {
      expect(parseRootHash('aB'.repeat(bytes))).toBe('ab'.repeat(bytes))
    }
  })

  test.each([
    ['zz', "'z' is no hex digit"],
    [`${'ab'.repeat(31)}g0`, "'g' is no hex digit"],
    ['a'.repeat(63), '63 hex digits, but two make a byte: the last one may be missing'],
    ['00', '2 hex digits are no root hash: expected one of 40, 56, 64, 96, 128, mostly 64'],
    ['', '0 hex digits are no root hash: expected one of 40, 56, 64, 96, 128, mostly 64'],
  ])('a root hash refuses %s', (text, why) => {
    expect(() => parseRootHash(text)).toThrow(
      expect.objectContaining({ name: 'UsageError', message: `--root-hash ${text}: ${why}` }),
    )
  })
})
