import { closeSync, openSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { describe, expect, test } from 'vitest'
import { Device } from '../../../src/fuse/device/device.ts'
import { DeviceError, InlineDataPath, Protocol } from '../../../src/fuse/index.ts'
import { openBell, ringBell } from '../../../src/sys/process/bell.ts'
import { MemoryBlockStore, MemoryFileSystem } from '../support/memory-file-system.ts'

function deviceOn(fd: number): Device {
  const fileSystem = new MemoryFileSystem()
  const dataPath = new InlineDataPath(fileSystem, new MemoryBlockStore(), () => 0, 0)
  return new Device(fd, new Protocol({ fileSystem, dataPath, log: () => undefined }), () => undefined)
}

describe('receive', () => {
  test('receive distinguishes a request with its length from an empty device', () => {
    // An eventfd does not block either, and gives 8 bytes once it was rung.
    const fd = openBell()
    try {
      const device = deviceOn(fd)
      expect(device.receive()).toBe('none')
      ringBell(fd)
      expect(device.receive()).toBe('request')
      expect(device.length).toBe(8)
      expect(device.receive()).toBe('none')
    } finally {
      closeSync(fd)
    }
  })

  test('receive throws an error that no FUSE connection returns', () => {
    const fd = openSync(tmpdir(), 'r')
    try {
      expect(() => deviceOn(fd).receive()).toThrow(DeviceError)
      expect(() => deviceOn(fd).receive()).toThrow(`errno ${constants.errno.EISDIR}`)
    } finally {
      closeSync(fd)
    }
  })
})
