import { closeSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Sleeper, Waiting } from '../../../src/fuse/device/waiting.ts'
import { Poller } from '../../../src/sys/files/device-io.ts'
import { openBell, ringBell } from '../../../src/sys/process/bell.ts'

/** A sleep that ends at once. @param ready descriptors that it finds */
function sleeperOf(...ready: number[]): Sleeper {
  return { isUrgent: false, wait: () => ready.length, isReady: (fd) => ready.includes(fd) }
}

test('only a sleep that a bell has ended clears it: a request costs no call for it', () => {
  const [bell, device] = [openBell(), openBell()]
  const isRung = () => new Poller([bell]).wait(0) === 1
  try {
    ringBell(bell)
    new Waiting(sleeperOf(device), { spins: 0, bell }).gotNothing(false)
    expect(isRung()).toBe(true)
    new Waiting(sleeperOf(device, bell), { spins: 0, bell }).gotNothing(false)
    expect(isRung()).toBe(false)
  } finally {
    for (const fd of [bell, device]) closeSync(fd)
  }
})

test('a poller tells which of its descriptors are ready', () => {
  const [one, other, urgent] = [openBell(), openBell(), openBell()]
  const poller = new Poller([one, other], urgent)
  const ready = () => [one, other, urgent].filter((fd) => poller.isReady(fd))
  try {
    expect(poller.wait(0)).toBe(0)
    expect(ready()).toEqual([])
    ringBell(other)
    expect(poller.wait(0)).toBe(1)
    expect(ready()).toEqual([other])
    ringBell(one)
    expect(poller.wait(0)).toBe(2)
    expect(ready()).toEqual([one, other])
  } finally {
    for (const fd of [one, other, urgent]) closeSync(fd)
  }
})
