import { closeSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { S_IFMT } from '../../../src/base/index.ts'
import { O_PATH, openAt } from '../../../src/sys/files/at.ts'
import { chmodFd, chownFd, setTimesFd } from '../../../src/sys/files/fd-attributes.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import { getxattrFd, listxattrFd, removexattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { failsWith } from '../../library/expectations.ts'
import { makeTempDir, needs, removeTempDir, titled } from '../../library/index.ts'

const root = needs('root')

let folder: string
/** O_PATH descriptors of a file, a directory and a symbolic link. */
let file: number
let directory: number
let link: number

beforeEach(() => {
  folder = makeTempDir()
  writeFileSync(join(folder, 'f'), 'text')
  mkdirSync(join(folder, 'd'))
  symlinkSync('f', join(folder, 'l'))
  const dir = openSync(folder, O_PATH)
  file = openAt(dir, 'f', O_PATH)
  directory = openAt(dir, 'd', O_PATH)
  link = openAt(dir, 'l', O_PATH)
  closeSync(dir)
})

afterEach(() => {
  for (const fd of [file, directory, link]) closeSync(fd)
  removeTempDir(folder)
})

/** Without labels that the host gives by itself. */
function names(fd: number): string[] {
  return listxattrFd(fd)
    .filter((name) => /^(?:user|trusted)\./.test(name))
    .sort()
}

function permissions(fd: number): number {
  return statFd(fd).mode & ~S_IFMT
}

describe('mode', () => {
  test('chmodFd sets all mode bits of files and directories', () => {
    for (const mode of [0, 0o1, 0o777, 0o1755, 0o4711, 0o7777]) {
      chmodFd(directory, mode)
      expect(permissions(directory)).toBe(mode)
      chmodFd(file, mode)
      expect(permissions(file)).toBe(mode)
    }
    failsWith('EOPNOTSUPP', () => chmodFd(link, 0o600))
    failsWith('ENOENT', () => chmodFd(999_999, 0o600))
  })
})

describe.skipIf(!root.ok)(titled('owner', root), () => {
  test('chownFd sets owner, group or both, also of a link, up to the largest id', () => {
    for (const fd of [file, directory, link]) {
      chownFd(fd, 11, undefined)
      expect(statFd(fd)).toMatchObject({ uid: 11, gid: 0 })
      chownFd(fd, undefined, 0xffff_fffe)
      expect(statFd(fd)).toMatchObject({ uid: 11, gid: 0xffff_fffe })
      chownFd(fd, 0xffff_fffe, 5)
      expect(statFd(fd)).toMatchObject({ uid: 0xffff_fffe, gid: 5 })
    }
  })
})

describe('times', () => {
  test('setTimesFd sets times to the nanosecond, before 1970 and after 2106, also of a link', () => {
    for (const fd of [file, directory, link]) {
      setTimesFd(fd, { seconds: -5, nanoseconds: 999_999_999 }, { seconds: 2 ** 32 + 7, nanoseconds: 1 })
      expect(statFd(fd)).toMatchObject({
        atime: -5,
        atimeNsec: 999_999_999,
        mtime: 2 ** 32 + 7,
        mtimeNsec: 1,
      })
    }
  })

  test('setTimesFd keeps a time that is not given, and sets the current time on request', () => {
    setTimesFd(file, { seconds: 1, nanoseconds: 2 }, { seconds: 3, nanoseconds: 4 })
    setTimesFd(file, undefined, { seconds: 5, nanoseconds: 6 })
    expect(statFd(file)).toMatchObject({ atime: 1, atimeNsec: 2, mtime: 5, mtimeNsec: 6 })
    setTimesFd(file, 'now', undefined)
    const stat = statFd(file)
    expect([stat.atime, stat.atimeNsec]).toEqual([stat.ctime, stat.ctimeNsec])
    expect(stat.mtime).toBe(5)
    failsWith('EINVAL', () => setTimesFd(file, undefined, { seconds: 0, nanoseconds: 1_000_000_000 }))
  })
})

describe('attributes', () => {
  test('extended attributes of a descriptor are set, read, listed and removed as bytes', () => {
    const value = Buffer.from([0, 255, 10, 0])
    for (const fd of [file, directory]) {
      expect(names(fd)).toEqual([])
      setxattrFd(fd, 'user.b\xe9', value, 'either')
      setxattrFd(fd, 'user.empty', new Uint8Array(0), 'create')
      expect(names(fd)).toEqual(['user.b\xe9', 'user.empty'])
      expect(Buffer.from(getxattrFd(fd, 'user.b\xe9')!)).toEqual(value)
      expect(getxattrFd(fd, 'user.empty')).toHaveLength(0)
      expect(getxattrFd(fd, 'user.absent')).toBeUndefined()
      failsWith('EEXIST', () => setxattrFd(fd, 'user.empty', value, 'create'))
      failsWith('ENODATA', () => setxattrFd(fd, 'user.absent', value, 'replace'))
      removexattrFd(fd, 'user.empty')
      failsWith('ENODATA', () => removexattrFd(fd, 'user.empty'))
      expect(names(fd)).toEqual(['user.b\xe9'])
    }
  })

  test('a returned attribute value does not change with later calls', () => {
    setxattrFd(file, 'user.a', Buffer.from('first'), 'either')
    const first = getxattrFd(file, 'user.a')!
    setxattrFd(file, 'user.a', Buffer.from('other'), 'replace')
    getxattrFd(file, 'user.a')
    expect(Buffer.from(first).toString()).toBe('first')
  })

  test('an extended attribute that cannot be set fails with the errno of the kernel', () => {
    failsWith('EPERM', () => setxattrFd(link, 'user.a', Buffer.from('1'), 'either'))
    failsWith('EOPNOTSUPP', () => setxattrFd(file, 'nonsense', Buffer.from('1'), 'either'))
    failsWith('ERANGE', () => setxattrFd(file, `user.${'x'.repeat(300)}`, Buffer.from('1'), 'either'))
    failsWith('E2BIG', () => setxattrFd(file, 'user.a', Buffer.alloc(65_537), 'either'))
    failsWith('EINVAL', () => setxattrFd(file, 'user.a\0b', Buffer.from('1'), 'either'))
    failsWith('ENOENT', () => listxattrFd(999_999))
  })

  test.skipIf(!root.ok)(titled('the extended attributes of a link are not those of its target', root), () => {
    setxattrFd(link, 'trusted.a', Buffer.from('link'), 'either')
    expect(names(link)).toEqual(['trusted.a'])
    expect(names(file)).toEqual([])
  })
})
