import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { UpperPolicy } from '../../../../overlay/stored/policy.ts'
import { type CopySource, makeCopy } from '../../../../overlay/upper/disk/copy.ts'
import {
  FsError,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  type Stat,
} from '../../../../src/base/index.ts'
import { O_PATH, openAt } from '../../../../src/sys/files/at.ts'
import { statAt } from '../../../../src/sys/files/statx.ts'
import { getxattrFd, listxattrFd } from '../../../../src/sys/files/xattr.ts'
import { failsWith } from '../../../library/expectations.ts'
import { makeTempDir, needs, Random, removeTempDir, run, titled } from '../../../library/index.ts'
import { dataSegments } from '../../../library/programs/native.ts'
import { MemoryData, REAL, Scene, SparseData, statOf } from '../support.ts'

const root = needs('root')
const withAcl = needs('root', 'getfacl')

let scene: Scene

beforeEach(() => {
  scene = new Scene()
})
afterEach(() => scene.close())

/** Copies, and gives the path and attributes of the copy. */
function copied(
  source: Partial<CopySource>,
  policy: UpperPolicy = REAL,
): { path: string; stat: Stat; fd: number } {
  const name = makeCopy({ stat: statOf(), xattrs: [], ...source }, scene.work, policy)
  const fd = scene.kept(openAt(scene.work.fd, name, O_PATH))
  return { path: join(scene.folder, 'work/work', name), stat: statAt(scene.work.fd, name)!, fd }
}

function leftOver(): string[] {
  return readdirSync(scene.path('work/work'))
}

function attributes(fd: number): Record<string, string> {
  const names = listxattrFd(fd).filter((name) => name !== 'security.selinux')
  return Object.fromEntries(names.map((name) => [name, Buffer.from(getxattrFd(fd, name)!).toString('hex')]))
}

const MODES = [
  ...Array.from({ length: 12 }, (_, bit) => 1 << bit),
  ...Array.from({ length: 60 }, (_, i) => (i * 0o357 + 0o13) & 0o7777),
  ...[0, 0o111, 0o222, 0o444, 0o555, 0o644, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777],
]

describe.skipIf(!root.ok)(titled('owner, mode and times', root), () => {
  test('a copy keeps every mode of files, directories, fifos and devices of another owner', () => {
    for (const mode of MODES) {
      for (const type of [S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK]) {
        const rdev = type === S_IFCHR || type === S_IFBLK ? 0x0103 : 0
        const { stat } = copied({ stat: statOf({ mode: type | mode, rdev, uid: 1234, gid: 4321 }) })
        expect(stat).toMatchObject({ mode: type | mode, rdev, uid: 1234, gid: 4321 })
      }
    }
  })

  test('a copy keeps the times of all types to the nanosecond, also before 1970', () => {
    for (const type of [S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFLNK]) {
      const source = statOf({ mode: type | 0o777, rdev: type === S_IFCHR || type === S_IFBLK ? 0x0103 : 0 })
      const { atime, atimeNsec, mtime, mtimeNsec } = source
      const { stat } = copied({ stat: source, target: Buffer.from('t'), xattrs: [] })
      expect(stat).toMatchObject({ atime, atimeNsec, mtime, mtimeNsec })
    }
  })

  test('a copy keeps setuid and capabilities after data and owner are written', () => {
    // vfs_cap_data of revision 2: cap_net_raw, permitted and effective.
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex')
    const bytes = Buffer.from('#!/bin/true\n')
    const { stat, fd } = copied({
      stat: statOf({ mode: S_IFREG | 0o6755, uid: 33, gid: 44, size: bytes.length }),
      data: new MemoryData(bytes),
      xattrs: [['security.capability', capability]],
    })
    expect(stat).toMatchObject({ mode: S_IFREG | 0o6755, uid: 33, gid: 44 })
    expect(attributes(fd)).toEqual({ 'security.capability': capability.toString('hex') })
  })

  test('a copy of a device keeps all bits of its number', () => {
    const rdev = (0x12 | (0xabc << 8) | (0xfed << 20)) >>> 0
    expect(copied({ stat: statOf({ mode: S_IFBLK | 0o660, rdev }) }).stat.rdev).toBe(rdev)
  })

  test('a copy of a link keeps its owner and its target bytes', () => {
    const target = Buffer.from([0xff, 0x2f, 0x0a, 0x2e])
    const { stat, path } = copied({ stat: statOf({ mode: S_IFLNK | 0o777, uid: 7, gid: 8 }), target })
    expect(stat).toMatchObject({ uid: 7, gid: 8, size: 4 })
    expect(readlinkSync(path, 'buffer')).toEqual(target)
    failsWith('EINVAL', () => copied({ stat: statOf({ mode: S_IFLNK | 0o777 }) }))
  })
})

describe('permissions during a copy', () => {
  test('a copy is accessible to the daemon only until its data is complete', () => {
    const seen: number[] = []
    const bytes = Buffer.alloc(3_000_000, 'x')
    const memory = new MemoryData(bytes)
    const { stat } = copied({
      stat: statOf({ mode: S_IFREG | 0o666, size: bytes.length }),
      data: {
        read: (offset, target) => {
          for (const name of leftOver()) seen.push(lstatSync(scene.path(`work/work/${name}`)).mode & 0o7777)
          return memory.read(offset, target)
        },
      },
    })
    expect(new Set(seen)).toEqual(new Set([0o600]))
    expect(seen.length).toBeGreaterThan(1)
    expect(stat.mode & 0o7777).toBe(0o666)
    expect(lstatSync(scene.path('work/work')).mode & 0o7777).toBe(0o700)
  })
})

describe('data', () => {
  const random = new Random(6)

  test('a copy of any size around the chunk size is whole, and each chunk is read at once', () => {
    const MiB = 2 ** 20
    for (const size of [1, 4095, MiB - 1, MiB, MiB + 1, 3 * MiB + 17]) {
      const bytes = random.bytes(size)
      const data = new MemoryData(bytes)
      const { path } = copied({ stat: statOf({ size }), data })
      expect(readFileSync(path).equals(bytes)).toBe(true)
      expect(data.reads).toHaveLength(Math.ceil(size / MiB))
      expect(data.reads.every(([offset]) => offset % MiB === 0)).toBe(true)
    }
  })

  test('a copy of an empty file reads no data', () => {
    const data = new MemoryData(new Uint8Array(0))
    expect(copied({ data }).stat.size).toBe(0)
    expect(data.reads).toEqual([])
  })

  test('a copy keeps holes at the start, in the middle, at the end and beyond 4 GiB', () => {
    const MiB = 2 ** 20
    const size = 6 * 2 ** 30
    const piece = random.bytes(MiB)
    const positions = [MiB, 3 * MiB, 5 * 2 ** 30]
    const data = new SparseData(
      size,
      positions.map((at) => [at, piece] as const),
    )
    const { path, stat } = copied({ stat: statOf({ size }), data })
    expect(stat.size).toBe(size)
    const fd = scene.kept(openSync(path, constants.O_RDONLY))
    expect([...dataSegments(fd, size)]).toEqual(positions.map((at) => [at, at + MiB]))
  })

  test('a copy of a file that is one hole uses no block', () => {
    const size = 2 ** 40 + 1
    const { stat } = copied({ stat: statOf({ size }), data: new SparseData(size, []) })
    expect(stat).toMatchObject({ size, blocks: 0 })
  })

  test('a copy from a descriptor has the same data and holes', () => {
    const MiB = 2 ** 20
    writeFileSync(scene.path('source'), '')
    const from = scene.kept(openSync(scene.path('source'), constants.O_RDWR))
    const piece = random.bytes(MiB)
    const size = 4 * MiB + 5
    const sparse = new SparseData(size, [[2 * MiB, piece]])
    writeFileSync(from, Buffer.concat([Buffer.alloc(2 * MiB), piece]))
    const { path } = copied({
      stat: statOf({ size }),
      data: {
        fd: from,
        seek: (offset, whence) => sparse.seek(offset, whence),
        read: () => {
          throw new Error('read by hand')
        },
      },
    })
    const bytes = readFileSync(path)
    expect(bytes.length).toBe(size)
    expect(bytes.subarray(2 * MiB, 3 * MiB).equals(piece)).toBe(true)
    expect([...dataSegments(scene.kept(openSync(path, 'r')), size)]).toEqual([[2 * MiB, 3 * MiB]])
  })

  test('a copy reads the data itself if the kernel cannot copy', () => {
    const bytes = random.bytes(5000)
    const memory = new MemoryData(bytes)
    const { path } = copied({
      stat: statOf({ size: 5000 }),
      // A descriptor that nothing can be copied from.
      data: { fd: scene.upperFd, read: (offset, target) => memory.read(offset, target) },
    })
    expect(readFileSync(path).equals(bytes)).toBe(true)
  })

  test('a copy of a damaged source is EIO and leaves no file behind', () => {
    failsWith('EIO', () => copied({ stat: statOf({ size: 10 }), data: new MemoryData(Buffer.alloc(9)) }))
    failsWith('EIO', () => copied({ stat: statOf({ size: 10 }) }))
    for (const seek of [() => -1, () => 0]) {
      failsWith('EIO', () => copied({ stat: statOf({ size: 10 }), data: { read: () => 1, seek } }))
    }
    const damage = new FsError('EIO', 'block 3: bad')
    expect(() =>
      copied({
        stat: statOf({ size: 3_000_000 }),
        data: {
          read: (offset, target) => {
            if (offset > 0) throw damage
            return target.length
          },
        },
      }),
    ).toThrow(damage)
    expect(leftOver()).toEqual([])
  })
})

describe('attributes', () => {
  test('a copy keeps attributes with unusual names and bytes', () => {
    const { fd } = copied({
      xattrs: [
        ['user.b\xe9', Buffer.from([0, 255])],
        ['user.empty', new Uint8Array(0)],
        ['user.long', Buffer.alloc(2000, 1)],
      ],
      own: [['user.overlay.atomfs.ino', Buffer.from('77')]],
    })
    expect(attributes(fd)).toEqual({
      'user.b\xe9': '00ff',
      'user.empty': '',
      'user.long': '01'.repeat(2000),
      'user.overlay.atomfs.ino': '3737',
    })
  })

  test('a copy drops an attribute of our own that its file type cannot have', () => {
    const { fd } = copied({
      stat: statOf({ mode: S_IFLNK | 0o777 }),
      target: Buffer.from('t'),
      own: [['user.overlay.atomfs.ino', Buffer.from('77')]],
    })
    expect(attributes(fd)).toEqual({})
  })

  test('a copy fails if an attribute of the source cannot be set, and leaves no file behind', () => {
    failsWith('EINVAL', () => copied({ xattrs: [['security.capability', Buffer.from('nonsense')]] }))
    expect(leftOver()).toEqual([])
  })

  test.skipIf(!withAcl.ok)(titled('a copy keeps access lists, also with setgid', withAcl), async () => {
    const entry = (tag: number, permissions: number, id = 0xffff_ffff): Buffer => {
      const bytes = Buffer.alloc(8)
      bytes.writeUInt16LE(tag, 0)
      bytes.writeUInt16LE(permissions, 2)
      bytes.writeUInt32LE(id, 4)
      return bytes
    }
    // Owner rwx, user 1000 rw, group r, mask rw, others none: the group bits of the mode are the mask.
    const list = Buffer.concat([
      Buffer.from([2, 0, 0, 0]),
      entry(1, 7),
      entry(2, 6, 1000),
      entry(4, 4),
      entry(16, 6),
      entry(32, 0),
    ])
    const { path, stat, fd } = copied({
      stat: statOf({ mode: S_IFDIR | 0o2760, gid: 4321 }),
      xattrs: [
        ['system.posix_acl_default', list],
        ['system.posix_acl_access', list],
      ],
    })
    expect(stat.mode).toBe(S_IFDIR | 0o2760)
    expect(attributes(fd)).toEqual({
      'system.posix_acl_access': list.toString('hex'),
      'system.posix_acl_default': list.toString('hex'),
    })
    const { stdout } = await run('getfacl', ['-cnp', path])
    expect(stdout).toContain('user:1000:rw-')
    expect(stdout).toContain('group::r--')
    expect(stdout).toContain('default:user:1000:rw-')
  })
})

describe('syncing', () => {
  test('a copy succeeds for all types with every sync policy', () => {
    for (const fsync of ['auto', 'strict', 'volatile'] as const) {
      for (const type of [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO]) {
        const size = type === S_IFREG ? 5 : 0
        const { stat } = copied(
          {
            stat: statOf({ mode: type | 0o700, size }),
            target: Buffer.from('t'),
            data: new MemoryData(Buffer.from('bytes')),
          },
          { ...REAL, fsync },
        )
        expect(stat.mode & S_IFMT).toBe(type)
      }
    }
  })
})

describe.skipIf(!root.ok)(titled('a copy on a full disk', root), () => {
  async function onTinyDisk(use: (tiny: Scene) => void): Promise<void> {
    const folder = makeTempDir()
    try {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=1m,nr_inodes=12', 'tmpfs', folder])
      const tiny = new Scene(join(folder, mkdirIn(folder)))
      try {
        use(tiny)
      } finally {
        tiny.close()
      }
    } finally {
      await run('umount', ['-l', folder], { allowFailure: true })
      removeTempDir(folder)
    }
  }

  function mkdirIn(folder: string): string {
    mkdirSync(join(folder, 'scene'))
    return 'scene'
  }

  test('a copy on a disk that fills up is ENOSPC, and leaves no file and no open descriptor', async () => {
    await onTinyDisk((tiny) => {
      const before = readdirSync('/proc/self/fd').length
      const bytes = Buffer.alloc(5_000_000, 'x')
      for (let i = 0; i < 3; i++) {
        failsWith('ENOSPC', () =>
          makeCopy(
            { stat: statOf({ size: bytes.length }), xattrs: [], data: new MemoryData(bytes) },
            tiny.work,
            REAL,
          ),
        )
        expect(readdirSync(tiny.path('work/work'))).toEqual([])
      }
      expect(readdirSync('/proc/self/fd').length).toBe(before)
      const small = { stat: statOf({ size: 9 }), xattrs: [], data: new MemoryData(Buffer.from('nine left')) }
      expect(readFileSync(join(tiny.folder, 'work/work', makeCopy(small, tiny.work, REAL)), 'latin1')).toBe(
        'nine left',
      )
    })
  })

  test('a copy on a disk without inodes is ENOSPC for every type', async () => {
    await onTinyDisk((tiny) => {
      const fill: number[] = []
      try {
        for (let i = 0; ; i++) fill.push(openSync(tiny.path(`upper/${i}`), 'wx'))
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC')
      } finally {
        for (const fd of fill) closeSync(fd)
      }
      for (const type of [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO]) {
        const source = { stat: statOf({ mode: type | 0o700 }), xattrs: [], target: Buffer.from('t') }
        failsWith('ENOSPC', () => makeCopy(source, tiny.work, REAL))
      }
      expect(readdirSync(tiny.path('work/work'))).toEqual([])
    })
  })
})
