import { describe, expect, test } from 'vitest'
import { ReadPostponed } from '../../../src/base/index.ts'
import { ChangeGate, GateKeeper } from '../../../src/fuse/index.ts'
import { thrownBy } from '../../library/expectations.ts'

/** A keeper whose dispatcher looks as soon as it is woken, unless it is busy. */
function pair(): { gate: ChangeGate; keeper: GateKeeper; events: string[]; busy: { is: boolean } } {
  const events: string[] = []
  const busy = { is: false }
  let gate: ChangeGate | undefined
  const keeper = new GateKeeper(() => {
    events.push('woken')
    if (!busy.is) gate?.settle()
  })
  gate = new ChangeGate(keeper.memory, () => events.push('closed'))
  return { gate, keeper, events, busy }
}

const postponed = (gate: ChangeGate): ReadPostponed => thrownBy(ReadPostponed, () => gate.pass())

describe('ChangeGate', () => {
  test('lets changes pass while nobody holds it', () => {
    const { gate, events } = pair()
    gate.settle()
    gate.pass()
    expect(events).toEqual([])
  })

  test('holds changes back until the last holder has gone, and lets each of them go on once', async () => {
    const { gate, keeper, events } = pair()
    const [first, second] = [await keeper.hold(), await keeper.hold()]
    expect(events).toEqual(['woken', 'closed', 'woken'])
    const { work } = postponed(gate)
    expect(postponed(gate).work).toBe(work)
    expect(work.advance()).toBe('waiting')
    first()
    expect(work.advance()).toBe('waiting')
    second()
    expect(work.advance()).toBe('done')
    gate.pass()
    expect(events.at(-1)).toBe('woken')
  })

  test('holds changes back from the moment it is asked, and says so only when the dispatcher has come to it', async () => {
    const { gate, keeper, events, busy } = pair()
    busy.is = true
    let isHeld = false
    const held = keeper.hold().then((release) => {
      isHeld = true
      return release
    })
    expect(postponed(gate).work.advance()).toBe('waiting')
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(isHeld).toBe(false)
    gate.settle()
    const release = await held
    expect(events.at(-1)).toBe('closed')
    release()
    gate.pass()
  })

  test('makes new work for those who wait at another time', async () => {
    const { gate, keeper } = pair()
    ;(await keeper.hold())()
    const release = await keeper.hold()
    const first = postponed(gate).work
    release()
    expect(first.advance()).toBe('done')
    const again = await keeper.hold()
    expect(postponed(gate).work).not.toBe(first)
    again()
  })
})
