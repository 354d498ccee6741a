import { expect, test } from 'vitest'
import { SyncCost } from '../../../overlay/upper/sync-cost.ts'

const MIB = 1 << 20

/** As if a sync that took so many milliseconds ended now. */
function noteSync(cost: SyncCost, milliseconds: number): void {
  cost.noteSync(performance.now() - milliseconds)
}

test('nothing is known before the first sync', () => {
  expect(new SyncCost().isShort()).toBe(false)
})

test('a sync is as short as the last one', () => {
  const cost = new SyncCost()
  noteSync(cost, 0)
  expect(cost.isShort()).toBe(true)
  noteSync(cost, 50)
  expect(cost.isShort()).toBe(false)
})

test('but not after much was written, or with much to be written', () => {
  const cost = new SyncCost()
  noteSync(cost, 0)
  cost.noteWrite(MIB)
  expect([cost.isShort(), cost.isShort(1)]).toEqual([true, false])
  cost.noteWrite(1)
  expect(cost.isShort()).toBe(false)
  noteSync(cost, 0)
  expect(cost.isShort(MIB)).toBe(true)
})
