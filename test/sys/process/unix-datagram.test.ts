import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { encodeUnixAddress, sendDatagram } from '../../../src/sys/process/unix-datagram.ts'

describe('encodeUnixAddress', () => {
  test('encodeUnixAddress ends a path with a NUL, and begins an abstract name with one', () => {
    expect([...encodeUnixAddress('/a')]).toEqual([1, 0, 0x2f, 0x61, 0])
    expect([...encodeUnixAddress('@a')]).toEqual([1, 0, 0, 0x61])
  })

  test('encodeUnixAddress refuses a path that does not fit into sun_path', () => {
    expect(encodeUnixAddress(`/${'x'.repeat(106)}`)).toHaveLength(110)
    expect(encodeUnixAddress(`@${'x'.repeat(107)}`)).toHaveLength(110)
    for (const address of ['', `/${'x'.repeat(107)}`, `@${'x'.repeat(108)}`]) {
      expect(() => encodeUnixAddress(address)).toThrow(RangeError)
    }
  })
})

describe('sendDatagram', () => {
  test('sendDatagram fails if there is no receiver', () => {
    const folder = mkdtempSync(join(tmpdir(), 'atomfs-test-'))
    try {
      expect(() => sendDatagram(join(folder, 'none'), 'x')).toThrow(/send to .*none: ENOENT/)
      expect(() => sendDatagram(`@${folder}`, 'x')).toThrow(/send to .*: ECONNREFUSED \(errno 111\)/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
