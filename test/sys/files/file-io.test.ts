import { closeSync, constants, openSync, readFileSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { O_PATH } from '../../../src/sys/files/at.ts'
import {
  beginReading,
  beginWriteOut,
  copyRange,
  fallocateFd,
  pread,
  pwrite,
  seekFd,
  statfsFd,
  syncFd,
  truncateFd,
} from '../../../src/sys/files/file-io.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import { failsWith } from '../../library/expectations.ts'
import { makeTempDir, needs, removeTempDir, run, titled } from '../../library/index.ts'

const { O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR } = constants
const FALLOC_FL_KEEP_SIZE = 1
const FALLOC_FL_PUNCH_HOLE = 2
const root = needs('root', 'mount')

let folder: string
let fd: number
let opened: number[]

function kept(number: number): number {
  opened.push(number)
  return number
}

beforeEach(() => {
  folder = makeTempDir()
  opened = []
  fd = kept(openSync(join(folder, 'file'), O_CREAT | O_RDWR, 0o600))
})

afterEach(() => {
  for (const number of opened) closeSync(number)
  removeTempDir(folder)
})

describe('data', () => {
  test('pwrite and pread use the given position, also beyond 4 GiB', () => {
    const far = 5 * 2 ** 30 + 3
    expect(pwrite(fd, far, Buffer.from('far'))).toBe(3)
    expect(pwrite(fd, 2, Buffer.from('near'))).toBe(4)
    expect(statFd(fd).size).toBe(far + 3)
    const target = Buffer.alloc(8, 0xee)
    expect(pread(fd, 0, target)).toBe(8)
    expect(target.toString('latin1')).toBe('\0\0near\0\0')
    expect(pread(fd, far - 1, target)).toBe(4)
    expect(target.toString('latin1', 0, 4)).toBe('\0far')
    expect(pread(fd, far + 3, target)).toBe(0)
    expect(pwrite(fd, 0, new Uint8Array(0))).toBe(0)
  })

  test('pread and pwrite work on shared memory', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(16))
    shared.set([1, 2, 3], 5)
    expect(pwrite(fd, 0, shared.subarray(5, 8))).toBe(3)
    shared.fill(0)
    expect(pread(fd, 0, shared.subarray(1))).toBe(3)
    expect([...shared.subarray(0, 5)]).toEqual([0, 1, 2, 3, 0])
  })

  test('truncateFd shortens and extends a file', () => {
    pwrite(fd, 0, Buffer.from('content'))
    truncateFd(fd, 3)
    truncateFd(fd, 5)
    expect(readFileSync(join(folder, 'file'), 'latin1')).toBe('con\0\0')
    failsWith('EINVAL', () => truncateFd(fd, -1))
    failsWith('EFBIG', () => truncateFd(fd, Number.MAX_SAFE_INTEGER))
  })

  test('reads and writes fail with the errno of the kernel', () => {
    const reader = kept(openSync(join(folder, 'file'), O_RDONLY))
    failsWith('EBADF', () => pwrite(reader, 0, Buffer.from('x')))
    failsWith('EINVAL', () => pwrite(fd, -1, Buffer.from('x')))
    failsWith('EISDIR', () => pread(kept(openSync(folder, O_RDONLY)), 0, Buffer.alloc(1)))
    failsWith('EBADF', () => pread(kept(openSync(folder, O_PATH)), 0, Buffer.alloc(1)))
    failsWith('EINVAL', () => truncateFd(reader, 0))
  })
})

describe('holes', () => {
  test('seekFd finds holes and data, and fallocateFd punches and fills them', () => {
    const MiB = 2 ** 20
    truncateFd(fd, 4 * MiB)
    pwrite(fd, MiB, Buffer.alloc(MiB, 1))
    expect(seekFd(fd, 0, 'data')).toBe(MiB)
    expect(seekFd(fd, MiB, 'hole')).toBe(2 * MiB)
    expect(seekFd(fd, 2 * MiB, 'data')).toBeUndefined()
    expect(seekFd(fd, 4 * MiB, 'hole')).toBeUndefined()
    fallocateFd(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MiB, MiB)
    expect(seekFd(fd, 0, 'data')).toBeUndefined()
    fallocateFd(fd, 0, 4 * MiB, MiB)
    expect(statFd(fd).size).toBe(5 * MiB)
    expect(statFd(fd).blocks * 512).toBeGreaterThanOrEqual(MiB)
    failsWith('EINVAL', () => fallocateFd(fd, 0, 0, 0))
    failsWith('EOPNOTSUPP', () => fallocateFd(fd, FALLOC_FL_PUNCH_HOLE, 0, 1))
  })
})

describe('copying in the kernel', () => {
  test('copyRange uses the offsets of both files and stops at the end of the source', () => {
    pwrite(fd, 0, Buffer.from('0123456789'))
    const other = kept(openSync(join(folder, 'other'), O_CREAT | O_RDWR, 0o600))
    expect(copyRange(fd, 3, other, 1, 4)).toBe(4)
    expect(readFileSync(join(folder, 'other'), 'latin1')).toBe('\x003456')
    expect(copyRange(fd, 8, other, 0, 100)).toBe(2)
    expect(copyRange(fd, 10, other, 0, 100)).toBe(0)
    failsWith('EINVAL', () => copyRange(fd, 0, fd, 2, 5))
    failsWith('EBADF', () => copyRange(fd, 0, kept(openSync(folder, O_PATH)), 0, 1))
  })
})

describe('syncing', () => {
  test('syncFd accepts files and directories, and refuses O_PATH', () => {
    pwrite(fd, 0, Buffer.from('x'))
    const directory = kept(openSync(folder, O_RDONLY | O_DIRECTORY))
    for (const kind of ['all', 'data', 'file system'] as const) {
      expect(() => syncFd(fd, kind)).not.toThrow()
      expect(() => syncFd(directory, kind)).not.toThrow()
      failsWith('EBADF', () => syncFd(kept(openSync(folder, O_PATH)), kind))
    }
  })
})

describe('hints to the kernel', () => {
  test('hints to the kernel change no data and never fail', () => {
    pwrite(fd, 0, Buffer.from('some text'))
    for (const hint of [beginReading, beginWriteOut]) {
      hint(fd, 0, 1 << 20)
      hint(kept(openSync(folder, O_PATH)), 0, 10)
      hint(-1, 0, 10)
    }
    const read = Buffer.alloc(9)
    expect(pread(fd, 0, read)).toBe(9)
    expect(read.toString()).toBe('some text')
  })
})

describe('space', () => {
  test('statfsFd gives what statfs(2) gives, also for O_PATH', () => {
    const all = statfsSync(folder)
    for (const one of [fd, kept(openSync(folder, O_PATH))]) {
      expect(statfsFd(one)).toMatchObject({
        blockSize: all.bsize,
        blocks: all.blocks,
        files: all.files,
        nameMax: 255,
      })
    }
    expect(statfsFd(fd).blocksFree).toBeLessThanOrEqual(all.blocks)
    failsWith('EBADF', () => statfsFd(999_999))
  })

  test.skipIf(!root.ok)(titled('a full disk gives a short write, then ENOSPC', root), async () => {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder])
    try {
      const path = join(folder, 'full')
      writeFileSync(path, '')
      const full = openSync(path, O_RDWR)
      try {
        const data = Buffer.alloc(200_000, 7)
        expect(pwrite(full, 0, data)).toBe(65_536)
        failsWith('ENOSPC', () => pwrite(full, 65_536, data))
        failsWith('ENOSPC', () => fallocateFd(full, 0, 0, 200_000))
      } finally {
        closeSync(full)
      }
    } finally {
      await run('umount', ['-l', folder])
    }
  })
})
