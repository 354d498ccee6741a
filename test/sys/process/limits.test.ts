import { describe, expect, test } from 'vitest'
import { higherLimits } from '../../../src/sys/process/limits.ts'

const WANTED = 1n << 20n
/** RLIM_INFINITY */
const UNLIMITED = (1n << 64n) - 1n

describe('higherLimits', () => {
  test.each([
    [
      'as callers mostly give it',
      1024n,
      524_288n,
      [
        [WANTED, WANTED],
        [524_288n, 524_288n],
      ],
    ],
    ['where the soft limit is the hard one', 1024n, 1024n, [[WANTED, WANTED]]],
    ['with a higher hard limit', 1024n, 1n << 30n, [[WANTED, 1n << 30n]]],
    ['without a hard limit', 1024n, UNLIMITED, [[WANTED, UNLIMITED]]],
  ] as const)('higherLimits raises the soft limit %s', (_, soft, hard, expected) => {
    expect(higherLimits(soft, hard).map((one) => [one.soft, one.hard])).toEqual(expected)
  })

  test.each([
    ['is enough', WANTED, WANTED],
    ['is higher', WANTED + 1n, UNLIMITED],
    ['does not exist', UNLIMITED, UNLIMITED],
  ])('higherLimits lowers no limit that %s', (_, soft, hard) => {
    expect(higherLimits(soft, hard)).toEqual([])
  })
})
