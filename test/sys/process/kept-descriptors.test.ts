import { closeSync, fstatSync, openSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { KeptDescriptors } from '../../../src/sys/process/kept-descriptors.ts'

describe('kept descriptors', () => {
  test('are closed by another thread, and nothing else is', () => {
    const fds = Array.from({ length: 40 }, () => openSync('/dev/null', 'r'))
    const kept = new KeptDescriptors()
    for (const fd of fds) kept.add(fd)
    const [gone = -1, ...others] = fds
    kept.delete(gone)
    new KeptDescriptors(kept.memory).closeAll()
    try {
      expect(fstatSync(gone).isCharacterDevice()).toBe(true)
      for (const fd of others) expect(() => fstatSync(fd)).toThrow('EBADF')
      // They are forgotten: their numbers may be other files by now.
      expect(() => new KeptDescriptors(kept.memory).closeAll()).not.toThrow()
    } finally {
      closeSync(gone)
    }
  })

  test('beyond the table are not noted', () => {
    const kept = new KeptDescriptors()
    kept.add(1 << 21)
    expect(() => kept.closeAll()).not.toThrow()
  })
})
