import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { liesInMemory, PageCacheProbe } from '../../../src/sys/files/page-cache.ts'

describe('PageCacheProbe', () => {
  test('the page cache probe finds fresh data, also in pieces, but nothing past the end', () => {
    const folder = mkdtempSync(join(tmpdir(), 'atomfs-test-'))
    const path = join(folder, 'file')
    writeFileSync(path, Buffer.alloc(300_000, 7))
    const fd = openSync(path, 'r')
    try {
      const probe = new PageCacheProbe(fd)
      expect(probe.isAtHand(0, 4096)).toBe(true)
      expect(probe.isAtHand(12_345, 280_000)).toBe(true)
      expect(probe.isAtHand(299_000, 1001)).toBe(false)
    } finally {
      closeSync(fd)
      rmSync(folder, { recursive: true })
    }
  })

  test('a file system in memory is known by its type, and others are not', () => {
    const folders = ['/dev/shm', '/proc'].map((folder) => openSync(folder, 'r'))
    try {
      expect(folders.map(liesInMemory)).toEqual([true, false])
    } finally {
      for (const fd of folders) closeSync(fd)
    }
  })
})
