import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fstatSync, openSync, readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { libcFunction } from '../../../src/sys/ffi/libc.ts'
import { withTimeout } from '../../../src/sys/plain/promises.ts'
import {
  closeInheritedDescriptors,
  livenessOf,
  ownIdentity,
  parseProcStat,
  waitUntilGone,
} from '../../../src/sys/process/process.ts'

describe('parseProcStat', () => {
  const tail = 'S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21'

  test('parseProcStat counts fields after the process name, which may hold any text', () => {
    expect(parseProcStat(`42 (a) b) (c d) ${tail}`)).toEqual({ state: 'S', startTime: 987654 })
  })

  test('parseProcStat gives undefined for malformed text', () => {
    expect(parseProcStat('')).toBeUndefined()
    expect(parseProcStat('42 (x) S 1 2')).toBeUndefined()
  })
})

describe('livenessOf', () => {
  test('livenessOf reports this process as alive, and another start time, boot or pid as gone', () => {
    const own = ownIdentity()
    expect(own.startTime).toBeGreaterThan(0)
    expect(livenessOf(own)).toBe('alive')
    expect(livenessOf({ ...own, startTime: own.startTime + 1 })).toBe('gone')
    expect(livenessOf({ ...own, bootId: 'another' })).toBe('gone')
    expect(livenessOf({ ...own, pid: 2 ** 30 })).toBe('gone')
  })

  test('livenessOf reports a process of another pid namespace as foreign', () => {
    const own = ownIdentity()
    expect(livenessOf({ ...own, pidNamespace: own.pidNamespace + 1 })).toBe('foreign')
  })

  test('waitUntilGone waits for the end of a process', async () => {
    const child = spawn('sleep', ['30'])
    await once(child, 'spawn')
    const shown = spawnSync('cat', [`/proc/${child.pid}/stat`], { encoding: 'utf8' }).stdout
    const identity = { ...ownIdentity(), pid: child.pid ?? 0, startTime: parseProcStat(shown)!.startTime }
    expect(livenessOf(identity)).toBe('alive')
    expect(await waitUntilGone(identity, 20)).toBe(false)
    child.kill('SIGKILL')
    expect(await waitUntilGone(identity, 10_000)).toBe(true)
  })
})

describe('withTimeout', () => {
  test('withTimeout passes on results and errors, and fails after the time limit', async () => {
    expect(await withTimeout(Promise.resolve(7), 1000, 'late')).toBe(7)
    await expect(withTimeout(Promise.reject(new Error('own')), 1000, 'late')).rejects.toThrow('own')
    await expect(withTimeout(new Promise(() => undefined), 10, 'no answer')).rejects.toMatchObject({
      code: 'EIO',
      message: 'no answer after 10 ms',
    })
  })
})

describe('closeInheritedDescriptors', () => {
  const F_SETFD = 2
  const fcntl = libcFunction('int fcntl(int fd, int command, int argument)')
  const isOpen = (fd: number): boolean => {
    try {
      fstatSync(fd)
      return true
    } catch {
      return false
    }
  }

  test('closeInheritedDescriptors closes inherited descriptors, and spares those of Node and the listed ones', () => {
    // What this process got from its own parent is not the test's to close.
    const present = readdirSync('/proc/self/fd').map(Number)
    const [ours, inherited, kept] = [0, 1, 2].map(() => openSync('/dev/null', 'r')) as [
      number,
      number,
      number,
    ]
    try {
      fcntl(inherited, F_SETFD, 0)
      fcntl(kept, F_SETFD, 0)
      closeInheritedDescriptors([...present.filter((fd) => fd !== inherited), kept])
      expect([ours, inherited, kept].map(isOpen)).toEqual([true, false, true])
    } finally {
      for (const fd of [ours, inherited, kept].filter(isOpen)) closeSync(fd)
    }
  })
})
