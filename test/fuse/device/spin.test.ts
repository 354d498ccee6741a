import { describe, expect, test } from 'vitest'
import { Spin } from '../../../src/fuse/device/spin.ts'

/** A spin of three reads with a clock that the test sets. */
function spinOfThree() {
  const clock = { now: 1000 }
  const spin = new Spin(3, () => clock.now)
  /** How many reads follow an empty one. @param stop the thread does not run for so long, after the first read */
  const reads = (stop = 0): number => {
    let count = 0
    while (spin.again()) {
      count += 1
      clock.now += count === 1 ? stop : 0.01
    }
    return count
  }
  return { clock, spin, reads }
}

describe('reading the device again before a sleep', () => {
  test('every wait begins with the same number of reads, also after a request in the middle', () => {
    const { spin, reads } = spinOfThree()
    expect([reads(), reads()]).toEqual([3, 3])
    expect([spin.again(), spin.again()]).toEqual([true, true])
    spin.gotRequest()
    expect(reads()).toBe(3)
  })

  test('after a spin that was interrupted there is none for a while', () => {
    const { clock, reads } = spinOfThree()
    expect(reads(3)).toBe(3)
    expect(reads()).toBe(0)
    clock.now += 80
    expect(reads()).toBe(0)
    clock.now += 40
    expect([reads(), reads()]).toEqual([3, 3])
  })

  test('a short interruption, as by a thread of this process, changes nothing', () => {
    const { reads } = spinOfThree()
    expect([reads(1), reads(1), reads()]).toEqual([3, 3, 3])
  })

  test('a request at the end of an interruption counts as well', () => {
    const { clock, spin, reads } = spinOfThree()
    expect(spin.again()).toBe(true)
    clock.now += 3
    spin.gotRequest()
    expect(reads()).toBe(0)
  })

  test('time without a spin is no interruption', () => {
    const { clock, spin, reads } = spinOfThree()
    expect(reads()).toBe(3)
    clock.now += 5000
    spin.gotRequest()
    expect(reads()).toBe(3)
  })
})
