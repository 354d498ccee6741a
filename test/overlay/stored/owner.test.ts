import { describe, expect, test } from 'vitest'
import { OVERFLOW_ID, shownId } from '../../../overlay/stored/owner.ts'

describe('shownId', () => {
  test('shownId gives the stored id without a rule, and a fixed id for all with one', () => {
    expect([shownId(undefined, 7), shownId(9, 7), shownId(0, 7)]).toEqual([7, 9, 0])
  })

  test('shownId maps ranges by their first match, up to the last id of each, and other ids to nobody', () => {
    const ranges = [
      { stored: 0, shown: 100_000, count: 10 },
      { stored: 5, shown: 7, count: 20 },
    ]
    expect([0, 9, 10, 24, 25, 4_294_967_294].map((id) => shownId(ranges, id))).toEqual([
      100_000,
      100_009,
      12,
      26,
      OVERFLOW_ID,
      OVERFLOW_ID,
    ])
  })
})
