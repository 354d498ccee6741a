import { closeSync } from 'node:fs'
import { expect, test } from 'vitest'
import { openPoll, PollSet } from '../../../src/sys/events/poll-set.ts'
import { clearBell, openBell, ringBell } from '../../../src/sys/process/bell.ts'

test('a set tells which of its descriptors are readable', () => {
  const bells = Array.from({ length: 100 }, () => openBell())
  const poll = openPoll()
  const set = new PollSet(poll)
  try {
    for (const bell of bells) set.add(bell)
    expect(set.wait(0)).toBe(0)
    const rung = [bells[3], bells[97]].map(Number)
    for (const bell of rung) ringBell(bell)
    expect(set.wait(1000)).toBe(2)
    expect([...set.ready].sort((a, b) => a - b)).toEqual(rung.sort((a, b) => a - b))
    const [first = -1, second = -1] = rung
    clearBell(first)
    set.remove(second)
    expect(set.wait(0)).toBe(0)
    expect(set.ready).toEqual([])
  } finally {
    for (const fd of [poll, ...bells]) closeSync(fd)
  }
})
