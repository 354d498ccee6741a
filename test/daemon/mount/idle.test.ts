import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { watchIdle } from '../../../src/daemon/mount/idle.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A server whose counters the test sets. */
function watched(seconds: number | undefined) {
  const counters = { requests: 0, openFiles: 0 }
  const onIdle = vi.fn(async () => undefined)
  const stop = watchIdle(seconds, { stats: () => ({ counters }) as never }, onIdle)
  return { counters, onIdle, stop, pass: (time: number) => vi.advanceTimersByTime(time * 1000) }
}

test('a mount is idle when no request came for longer than its time', () => {
  const { counters, onIdle, pass } = watched(5)
  pass(4)
  counters.requests++
  pass(5)
  expect(onIdle).not.toHaveBeenCalled()
  pass(2)
  expect(onIdle).toHaveBeenCalledTimes(1)
  pass(5)
  expect(onIdle).toHaveBeenCalledTimes(1)
  pass(1)
  expect(onIdle).toHaveBeenCalledTimes(2)
})

test('a mount with open files is never idle', () => {
  const { counters, onIdle, pass } = watched(5)
  counters.openFiles = 1
  pass(100)
  expect(onIdle).not.toHaveBeenCalled()
  counters.openFiles = 0
  pass(6)
  expect(onIdle).toHaveBeenCalledTimes(1)
})

test('nothing is watched without a time, and after stop', () => {
  for (const seconds of [undefined, 0]) {
    const { onIdle, pass } = watched(seconds)
    pass(1000)
    expect(onIdle).not.toHaveBeenCalled()
  }
  const { onIdle, pass, stop } = watched(1)
  stop()
  pass(1000)
  expect(onIdle).not.toHaveBeenCalled()
})
