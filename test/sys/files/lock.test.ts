import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { O_PATH } from '../../../src/sys/files/at.ts'
import { lockHolder, tryLock, unlockFd, withFolderLock } from '../../../src/sys/files/lock.ts'
import { withTempDir } from '../../library/programs/temp.ts'

/** Two descriptors of one directory that were opened apart: for flock(2) they are two users. */
function withTwo(use: (one: number, other: number) => void): Promise<void> {
  return withTempDir((folder) => {
    const [one, other] = [openSync(folder, 'r'), openSync(folder, 'r')]
    try {
      use(one, other)
    } finally {
      closeSync(one)
      closeSync(other)
    }
  })
}

describe('tryLock', () => {
  test('tryLock gives an exclusive lock once, or shared locks to several holders', async () => {
    await withTwo((one, other) => {
      expect(tryLock(one, 'exclusive')).toBe(true)
      expect(tryLock(other, 'exclusive')).toBe(false)
      expect(tryLock(other, 'shared')).toBe(false)
      unlockFd(one)
      expect(tryLock(other, 'shared')).toBe(true)
      expect(tryLock(one, 'shared')).toBe(true)
      expect(tryLock(one, 'exclusive')).toBe(false)
    })
  })

  test('lockHolder names the process that holds the lock', async () => {
    await withTwo((one, other) => {
      expect(lockHolder(other)).toBeUndefined()
      tryLock(one, 'exclusive')
      expect(lockHolder(other)).toBe(process.pid)
    })
  })

  test('tryLock throws for a descriptor that cannot be locked', () => {
    expect(() => tryLock(1_000_000, 'shared')).toThrow(/EBADF/)
  })
})

describe('withFolderLock', () => {
  test('withFolderLock holds the lock during the action, and releases it if the action fails', async () => {
    await withTempDir((folder) => {
      const fd = openSync(folder, 'r')
      const isFree = (): boolean => {
        const free = tryLock(fd, 'exclusive')
        if (free) unlockFd(fd)
        return free
      }
      expect(withFolderLock(fd, folder, isFree)).toBe(false)
      const fail = () => {
        throw new Error('no')
      }
      expect(() => withFolderLock(fd, folder, fail)).toThrow('no')
      expect(isFree()).toBe(true)
      closeSync(fd)
    })
  })

  test('withFolderLock locks folders only, also by an O_PATH descriptor', async () => {
    await withTempDir((folder) => {
      const fd = openSync(folder, O_PATH)
      writeFileSync(join(folder, 'file'), '')
      const file = openSync(join(folder, 'file'), 'r')
      expect(withFolderLock(fd, folder, () => 5)).toBe(5)
      expect(() => withFolderLock(file, 'file', () => 5)).toThrow(/ENOTDIR/)
      closeSync(fd)
      closeSync(file)
    })
  })
})
