import { expect, test } from 'vitest'
import { NarrowInodes } from '../../../overlay/stored/narrow-inodes.ts'
import { Random } from '../../library/trees/random.ts'

const NARROW = 2 ** 32

test('ino32_t keeps small inode numbers and maps others below 2^32, always to the same number', () => {
  const numbers = new NarrowInodes()
  for (const ino of [1, 2, 77, 2 ** 31, NARROW - 2 ** 24]) expect(numbers.shown(ino)).toBe(ino)
  const random = new Random(41)
  const shown = new Map<number, number>()
  const wide = Array.from(
    { length: 2000 },
    () => random.pick([2 ** 32, 2 ** 40, 2 ** 52]) + random.int(0, 2 ** 31 - 1),
  )
  // Own numbers among those that are handed out are met before and after these were.
  const own = Array.from({ length: 2000 }, (_, i) => NARROW - 2 ** 24 + 2 ** 16 + i)
  for (const ino of [...own.slice(0, 500), ...wide, ...own, ...wide]) {
    const number = numbers.shown(ino)
    expect(number > 0 && number < NARROW).toBe(true)
    expect(shown.get(ino) ?? number).toBe(number)
    shown.set(ino, number)
  }
  expect(new Set(shown.values()).size).toBe(shown.size)
})

test('inode numbers beyond the supply of ino32_t are above 2^32, and still unique', () => {
  const numbers = new NarrowInodes(10)
  const wide = Array.from({ length: 20 }, (_, i) => 2 ** 40 + i)
  const own = Array.from({ length: 20 }, (_, i) => NARROW - 1 - i)
  for (const round of [1, 2]) {
    const shown = [...wide, ...own].map((ino) => numbers.shown(ino))
    expect(new Set(shown).size, `round ${round}`).toBe(40)
    expect(shown.filter((ino) => ino < NARROW).length).toBe(10)
    expect(shown.slice(10, 20)).toEqual(wide.slice(10))
    expect(shown.every((ino) => Number.isSafeInteger(ino))).toBe(true)
  }
})
