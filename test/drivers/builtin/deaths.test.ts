import { expect, test } from 'vitest'
import { Deaths } from '../../../src/drivers/builtin/deaths.ts'

test('the third death within ten minutes is enough, and one counts no longer', () => {
  let now = 0
  const deaths = new Deaths(() => now)
  const seen: boolean[] = []
  for (const minute of [0, 4, 11, 13]) {
    now = minute * 60_000
    deaths.add()
    seen.push(deaths.isEnough)
  }
  expect(seen).toEqual([false, false, false, true])
  expect(deaths.count).toBe(3)
})
