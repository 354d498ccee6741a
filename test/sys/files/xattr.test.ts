import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { getxattrFd, lgetxattr, listxattrFd, llistxattr } from '../../../src/sys/files/xattr.ts'
import { setXattr } from '../../library/programs/native.ts'

const O_PATH = 0o10000000
const O_NOFOLLOW = 0o400000

let folder: string
let supported = true

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'atomfs-xattr-'))
  try {
    setXattr(Buffer.from(folder), 'user.probe', Buffer.from('1'))
  } catch {
    supported = false
  }
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function fileWith(name: string, xattrs: Readonly<Record<string, Buffer>>): string {
  const path = join(folder, name)
  writeFileSync(path, 'content')
  for (const [key, value] of Object.entries(xattrs)) setXattr(Buffer.from(path), key, value)
  return path
}

describe('extended attributes', () => {
  test('extended attributes are read as bytes, by path and by descriptor, also by O_PATH', (context) => {
    if (!supported) context.skip('the temporary directory has no user attributes')
    const value = Buffer.from([0, 255, 10, 0])
    const path = fileWith('f', { 'user.b\xe9': value, 'user.empty': Buffer.alloc(0) })
    // The name is the one byte e9, not UTF-8.
    expect([...llistxattr(path)].sort()).toEqual(['user.b\xe9', 'user.empty'].sort())
    expect(Buffer.from(lgetxattr(path, 'user.b\xe9')!)).toEqual(value)
    expect(lgetxattr(path, 'user.empty')).toHaveLength(0)
    expect(lgetxattr(path, 'user.absent')).toBeUndefined()
    for (const flags of [0, O_PATH]) {
      const fd = openSync(path, flags)
      try {
        expect(Buffer.from(getxattrFd(fd, 'user.b\xe9')!)).toEqual(value)
        expect(getxattrFd(fd, 'user.absent')).toBeUndefined()
        expect(listxattrFd(fd)).toHaveLength(2)
      } finally {
        closeSync(fd)
      }
    }
  })

  test('extended attributes longer than the first buffer are read whole', (context) => {
    if (!supported) context.skip('the temporary directory has no user attributes')
    const long = Buffer.alloc(2000, 'z')
    const path = fileWith('long', { 'user.long': long })
    expect(Buffer.from(lgetxattr(path, 'user.long')!)).toEqual(long)
    const many = Object.fromEntries(
      Array.from({ length: 12 }, (_, i) => [`user.${String(i).padStart(120, 'n')}`, Buffer.from('1')]),
    )
    expect([...llistxattr(fileWith('many', many))].sort()).toEqual(Object.keys(many).sort())
  })

  test('the extended attributes of a symbolic link are not those of its target', (context) => {
    if (!supported) context.skip('the temporary directory has no user attributes')
    const path = fileWith('target', { 'user.a': Buffer.from('1') })
    symlinkSync(path, join(folder, 'link'))
    expect(llistxattr(join(folder, 'link'))).toEqual([])
    const fd = openSync(join(folder, 'link'), O_PATH | O_NOFOLLOW)
    try {
      expect(listxattrFd(fd)).toEqual([])
    } finally {
      closeSync(fd)
    }
  })

  test('a failed read of attributes carries the errno, and a NUL does not shorten a path', () => {
    expect(() => llistxattr(join(folder, 'absent'))).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    expect(() => lgetxattr(`${folder}\0x`, 'user.a')).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    mkdirSync(join(folder, 'plain'))
    expect(llistxattr(join(folder, 'plain')).filter((name) => name.startsWith('user.'))).toEqual([])
  })
})
