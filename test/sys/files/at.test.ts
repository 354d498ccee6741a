import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { S_IFCHR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK } from '../../../src/base/index.ts'
import {
  linkAt,
  linkFd,
  mkdirAt,
  mknodAt,
  O_PATH,
  openAt,
  openUnnamed,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  readlinkAt,
  readlinkFd,
  renameAt,
  reopenDirectory,
  reopenFd,
  rmdirAt,
  symlinkAt,
  unlinkAt,
} from '../../../src/sys/files/at.ts'
import { listEntries, listNames } from '../../../src/sys/files/directory-entries.ts'
import { pwrite } from '../../../src/sys/files/file-io.ts'
import { statAt, statFd } from '../../../src/sys/files/statx.ts'
import { failsWith } from '../../library/expectations.ts'
import { makeTempDir, needs, removeTempDir, titled } from '../../library/index.ts'

const { O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY } = constants
const root = needs('root')

let folder: string
let dir: number
let opened: number[]

/** Closed after the test. */
function kept(fd: number): number {
  opened.push(fd)
  return fd
}

beforeEach(() => {
  folder = makeTempDir()
  opened = []
  dir = kept(openSync(folder, O_PATH | O_DIRECTORY))
})

afterEach(() => {
  for (const fd of opened) closeSync(fd)
  removeTempDir(folder)
})

/** Name of the odd bytes as the kernel has it. */
function pathOf(name: string): Buffer {
  return Buffer.from(`${folder}/${name}`, 'latin1')
}

describe('names', () => {
  test('names are bytes of any value, up to 255', () => {
    for (const name of ['\xff\xfe', 'a\nb', '\x01', ' ', '-', '...', 'x'.repeat(255)]) {
      closeSync(openAt(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0o600))
      expect(existsSync(pathOf(name))).toBe(true)
      expect(statAt(dir, name)?.mode).toBe(S_IFREG | 0o600)
    }
    expect(listNames(dir).sort()).toEqual(
      ['\xff\xfe', 'a\nb', '\x01', ' ', '-', '...', 'x'.repeat(255)].sort(),
    )
  })

  test('a name with several components or a NUL is EINVAL before any system call', () => {
    mkdirSync(join(folder, 'sub'))
    for (const name of ['', '.', '..', '/', 'sub/x', '../x', '/etc', 'x\0', '\0']) {
      failsWith('EINVAL', () => statAt(dir, name))
      failsWith('EINVAL', () => openAt(dir, name, O_RDONLY))
      failsWith('EINVAL', () => mkdirAt(dir, name, 0o700))
      failsWith('EINVAL', () => mknodAt(dir, name, S_IFREG, 0))
      failsWith('EINVAL', () => symlinkAt(Buffer.from('t'), dir, name))
      failsWith('EINVAL', () => linkAt(dir, name, dir, 'ok'))
      failsWith('EINVAL', () => linkAt(dir, 'sub', dir, name))
      failsWith('EINVAL', () => unlinkAt(dir, name))
      failsWith('EINVAL', () => rmdirAt(dir, name))
      failsWith('EINVAL', () => renameAt(dir, name, dir, 'ok', 0))
      failsWith('EINVAL', () => renameAt(dir, 'sub', dir, name, 0))
      failsWith('EINVAL', () => readlinkAt(dir, name))
    }
    expect(listNames(dir)).toEqual(['sub'])
  })

  test('a name that is too long is ENAMETOOLONG', () => {
    for (const length of [256, 4095, 4096, 100_000]) {
      failsWith('ENAMETOOLONG', () => mkdirAt(dir, 'x'.repeat(length), 0o700))
    }
  })
})

describe('opening', () => {
  test('openAt adds O_CLOEXEC and does not follow a link', () => {
    writeFileSync(join(folder, 'file'), 'text')
    symlinkSync('file', join(folder, 'link'))
    const fd = kept(openAt(dir, 'file', O_RDONLY))
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))![1]!
    expect(Number.parseInt(flags, 8) & 0o2000000).toBe(0o2000000)
    failsWith('ELOOP', () => openAt(dir, 'link', O_RDONLY))
    failsWith('ENOENT', () => openAt(dir, 'absent', O_RDONLY))
    failsWith('ENOTDIR', () => openAt(dir, 'file', O_RDONLY | O_DIRECTORY))
    failsWith('EEXIST', () => openAt(dir, 'file', O_CREAT | O_EXCL | O_WRONLY, 0o600))
    failsWith('EBADF', () => openAt(999_999, 'file', O_RDONLY))
    failsWith('ENOTDIR', () => statAt(fd, 'below'))
  })

  test('reopenFd gives other access rights, also to a file without a name', () => {
    writeFileSync(join(folder, 'file'), 'text')
    const path = kept(openAt(dir, 'file', O_PATH))
    failsWith('EBADF', () => pwrite(path, 0, Buffer.from('x')))
    unlinkSync(join(folder, 'file'))
    const fd = kept(reopenFd(path, O_RDWR))
    expect(pwrite(fd, 4, Buffer.from('more'))).toBe(4)
    expect(readFileSync(fd, 'latin1')).toBe('textmore')
    expect(statFd(path)).toMatchObject({ nlink: 0, size: 8 })
    symlinkSync('x', join(folder, 'link'))
    const link = kept(openAt(dir, 'link', O_PATH))
    failsWith('ELOOP', () => reopenFd(link, O_RDONLY))
  })

  test('reopenDirectory gives a descriptor that starts at the first entry', () => {
    mkdirSync(join(folder, 'a'))
    const fd = kept(reopenDirectory(dir))
    expect(fstatSync(fd).ino).toBe(statSync(folder).ino)
    expect(listNames(fd)).toEqual(['a'])
    expect(listNames(fd)).toEqual(['a'])
  })
})

describe('attributes', () => {
  test('statAt gives the attributes of stat(2), with times to the nanosecond', () => {
    writeFileSync(join(folder, 'file'), Buffer.alloc(5000))
    const stats = lstatSync(join(folder, 'file'), { bigint: true })
    const stat = statAt(dir, 'file')!
    expect(stat).toMatchObject({
      ino: Number(stats.ino),
      mode: Number(stats.mode),
      nlink: 1,
      uid: process.getuid!(),
      size: 5000,
      blocks: Number(stats.blocks),
      blksize: Number(stats.blksize),
      rdev: 0,
    })
    expect(BigInt(stat.mtime) * 1_000_000_000n + BigInt(stat.mtimeNsec)).toBe(stats.mtimeNs)
    expect(BigInt(stat.ctime) * 1_000_000_000n + BigInt(stat.ctimeNsec)).toBe(stats.ctimeNs)
    expect(BigInt(stat.atime) * 1_000_000_000n + BigInt(stat.atimeNsec)).toBe(stats.atimeNs)
    expect(statFd(kept(openAt(dir, 'file', O_PATH)))).toEqual(stat)
    expect(statFd(dir).dev).toBe(stat.dev)
    expect(statAt(dir, 'absent')).toBeUndefined()
  })

  test('statAt gives the attributes of a link, not of its target', () => {
    symlinkSync('nowhere', join(folder, 'link'))
    expect(statAt(dir, 'link')).toMatchObject({ size: 7, mode: lstatSync(join(folder, 'link')).mode })
  })
})

describe('making and removing', () => {
  test('mkdirAt and rmdirAt make and remove directories', () => {
    mkdirAt(dir, 'd', 0o700)
    expect(statAt(dir, 'd')!.mode & 0o7777).toBe(0o700)
    failsWith('EEXIST', () => mkdirAt(dir, 'd', 0o700))
    failsWith('EISDIR', () => unlinkAt(dir, 'd'))
    writeFileSync(join(folder, 'd/f'), '')
    failsWith('ENOTEMPTY', () => rmdirAt(dir, 'd'))
    unlinkSync(join(folder, 'd/f'))
    rmdirAt(dir, 'd')
    failsWith('ENOENT', () => rmdirAt(dir, 'd'))
  })

  test('creating a name in a removed directory is ENOENT', () => {
    mkdirAt(dir, 'd', 0o700)
    const gone = kept(openAt(dir, 'd', O_PATH | O_DIRECTORY))
    rmdirSync(join(folder, 'd'))
    failsWith('ENOENT', () => mkdirAt(gone, 'x', 0o700))
    failsWith('ENOENT', () => mknodAt(gone, 'x', S_IFREG | 0o600, 0))
    expect(statAt(gone, 'x')).toBeUndefined()
    expect(statFd(gone).nlink).toBe(0)
  })

  test('mknodAt makes fifos, sockets and the whiteout device without privileges', () => {
    mknodAt(dir, 'fifo', S_IFIFO | 0o640, 0)
    mknodAt(dir, 'socket', S_IFSOCK | 0o600, 0)
    expect(statAt(dir, 'fifo')!.mode).toBe(S_IFIFO | 0o640)
    expect(statAt(dir, 'socket')!.mode & S_IFMT).toBe(S_IFSOCK)
    unlinkAt(dir, 'fifo')
    expect(statAt(dir, 'fifo')).toBeUndefined()
    failsWith('ENOENT', () => unlinkAt(dir, 'fifo'))
  })

  test.skipIf(!root.ok)(titled('a device node keeps all bits of its number', root), () => {
    const rdev = (0x12 | (0xabc << 8) | (0xfed << 20)) >>> 0
    mknodAt(dir, 'device', S_IFCHR | 0o600, rdev)
    expect(statAt(dir, 'device')).toMatchObject({ mode: S_IFCHR | 0o600, rdev })
    // dev_t of the C library for major 0xabc, minor 0xfed12.
    expect(statSync(join(folder, 'device')).rdev).toBe(rdev)
  })

  test('a symbolic link keeps the bytes of its target', () => {
    const target = Buffer.from([0x2e, 0x2e, 0x2f, 0xff, 0x0a])
    symlinkAt(target, dir, 'link')
    expect(readlinkSync(join(folder, 'link'), 'buffer')).toEqual(target)
    expect(Buffer.from(readlinkAt(dir, 'link'))).toEqual(target)
    expect(Buffer.from(readlinkFd(kept(openAt(dir, 'link', O_PATH))))).toEqual(target)
    const longest = Buffer.alloc(4095, 'x')
    symlinkAt(longest, dir, 'long')
    expect(Buffer.from(readlinkAt(dir, 'long'))).toEqual(longest)
    failsWith('ENAMETOOLONG', () => symlinkAt(Buffer.alloc(4096, 'x'), dir, 'longer'))
    failsWith('EINVAL', () => symlinkAt(Buffer.from('a\0b'), dir, 'nul'))
    failsWith('ENOENT', () => symlinkAt(Buffer.alloc(0), dir, 'empty'))
    failsWith('EEXIST', () => symlinkAt(target, dir, 'link'))
    writeFileSync(join(folder, 'file'), '')
    failsWith('EINVAL', () => readlinkAt(dir, 'file'))
  })
})

describe('links and renames', () => {
  test('linkAt gives a second name to a file and to a symbolic link', () => {
    writeFileSync(join(folder, 'file'), '')
    linkAt(dir, 'file', dir, 'second')
    expect(statAt(dir, 'second')).toMatchObject({ ino: statAt(dir, 'file')!.ino, nlink: 2 })
    symlinkAt(Buffer.from('file'), dir, 'link')
    linkAt(dir, 'link', dir, 'link2')
    expect(statAt(dir, 'link2')!.ino).toBe(statAt(dir, 'link')!.ino)
    linkFd(kept(openAt(dir, 'link', O_PATH)), dir, 'link3')
    expect(statAt(dir, 'link3')!.ino).toBe(statAt(dir, 'link')!.ino)
    failsWith('EEXIST', () => linkAt(dir, 'file', dir, 'second'))
    mkdirAt(dir, 'd', 0o700)
    failsWith('EPERM', () => linkAt(dir, 'd', dir, 'd2'))
  })

  test('linkFd names a file that never had a name, and refuses one that lost its last name', () => {
    const fd = kept(openUnnamed(dir, 0o600))
    expect(statFd(fd)).toMatchObject({ nlink: 0, mode: S_IFREG | 0o600 })
    pwrite(fd, 0, Buffer.from('text'))
    linkFd(fd, dir, 'named')
    expect(readFileSync(join(folder, 'named'), 'latin1')).toBe('text')
    unlinkAt(dir, 'named')
    failsWith('ENOENT', () => linkFd(fd, dir, 'again'))
  })

  test('renameAt replaces a name, refuses to replace it, or exchanges two names', () => {
    writeFileSync(join(folder, 'a'), 'a')
    writeFileSync(join(folder, 'b'), 'b')
    failsWith('EEXIST', () => renameAt(dir, 'a', dir, 'b', RENAME_NOREPLACE))
    renameAt(dir, 'a', dir, 'b', RENAME_EXCHANGE)
    expect(readFileSync(join(folder, 'a'), 'latin1')).toBe('b')
    renameAt(dir, 'a', dir, 'b', 0)
    expect(listNames(dir)).toEqual(['b'])
    expect(readFileSync(join(folder, 'b'), 'latin1')).toBe('b')
    failsWith('ENOENT', () => renameAt(dir, 'a', dir, 'c', 0))
    mkdirAt(dir, 'd', 0o700)
    failsWith('EISDIR', () => renameAt(dir, 'b', dir, 'd', 0))
    failsWith('ENOTDIR', () => renameAt(dir, 'd', dir, 'b', 0))
    const inside = kept(openAt(dir, 'd', O_PATH))
    failsWith('EINVAL', () => renameAt(dir, 'd', inside, 'below-itself', 0))
    renameAt(dir, 'b', inside, 'moved', 0)
    expect(listNames(inside)).toEqual(['moved'])
  })
})

describe('listing', () => {
  test('a listing gives types and leaves out `.` and `..`', () => {
    mkdirAt(dir, 'd', 0o700)
    symlinkAt(Buffer.from('t'), dir, 'l')
    mknodAt(dir, 'p', S_IFIFO | 0o600, 0)
    const types = Object.fromEntries(listEntries(dir).map(({ name, type }) => [name, type]))
    expect(types).toEqual({ d: 4, l: 10, p: 1 })
  })

  test('a listing that takes many reads is complete', () => {
    const names = Array.from({ length: 1500 }, (_, i) => `${i}-`.padEnd(200, '\xe9'))
    for (const name of names) mknodAt(dir, name, S_IFREG | 0o600, 0)
    expect(listNames(dir).sort()).toEqual(names.sort())
  })

  test('listing a file or a removed directory is an error', () => {
    writeFileSync(join(folder, 'f'), '')
    const file = kept(openAt(dir, 'f', O_PATH))
    failsWith('ENOTDIR', () => listNames(file))
    mkdirAt(dir, 'd', 0o700)
    const gone = kept(openAt(dir, 'd', O_PATH))
    rmdirAt(dir, 'd')
    failsWith('ENOENT', () => listNames(gone))
  })
})
