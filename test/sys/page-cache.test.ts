import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { PageCacheProbe } from '../../src/sys/page-cache.ts'

describe('PageCacheProbe', () => {
  it('finds what was just written, not what is longer than the limit or past the end', () => {
    const folder = mkdtempSync(join(tmpdir(), 'atomfs-test-'))
    const path = join(folder, 'file')
    writeFileSync(path, Buffer.alloc(100_000, 7))
    const fd = openSync(path, 'r')
    try {
      const probe = new PageCacheProbe(65_536, [fd])
      expect(probe.isAtHand(fd, 0, 4096)).toBe(true)
      expect(probe.isAtHand(fd, 12_345, 65_536)).toBe(true)
      expect(probe.isAtHand(fd, 0, 65_537)).toBe(false)
    } finally {
      closeSync(fd)
      rmSync(folder, { recursive: true })
    }
  })
})
