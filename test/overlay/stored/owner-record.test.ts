import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  decodeOwner,
  encodeOwner,
  hostMode,
  type Owner,
  presentUpperStat,
  readOwner,
  writeOwner,
} from '../../../overlay/stored/owner-record.ts'
import { makeObject } from '../../../overlay/upper/disk/make-object.ts'
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../../src/base/index.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import { getxattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { needs, titled } from '../../library/index.ts'
import { OVERRIDE, REAL, Scene } from '../upper/support.ts'

const RECORD = OVERRIDE.ownerRecord
const root = needs('root')

function owner(mode: number, rdev = 0): Owner {
  return { uid: 1, gid: 22, mode, rdev }
}

function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value).toString('latin1')
}

function decoded(record: string, hostMode = S_IFREG | 0o600): Owner {
  // At an offset of a larger buffer, as values often lie.
  return decodeOwner(Buffer.from(`xx${record}`, 'latin1').subarray(2), hostMode)
}

test('the host mode beside an owner record is the recorded mode without bits that would grant more on the host', () => {
  const cases = [
    [S_IFREG | 0o644, 22, 0o644],
    [S_IFREG | 0o640, 22, 0o640],
    [S_IFREG | 0o640, 7, 0o600],
    [S_IFREG | 0o755, 7, 0o755],
    [S_IFREG | 0o775, 7, 0o755],
    [S_IFREG | 0o6755, 22, 0o755],
    [S_IFREG | 0o044, 22, 0o644],
    [S_IFREG | 0, 22, 0o600],
    [S_IFDIR | 0o1777, 7, 0o1777],
    [S_IFDIR | 0o2750, 22, 0o750],
    [S_IFDIR | 0o555, 22, 0o755],
  ] as const
  for (const [mode, hostGid, expected] of cases) expect(hostMode(owner(mode), hostGid)).toBe(expected)
})

describe('the text of an owner record', () => {
  const RECORDS: readonly (readonly [string, Owner])[] = [
    ['1:22:0644:file', owner(S_IFREG | 0o644)],
    ['1:22:0000:file', owner(S_IFREG)],
    ['1:22:7777:dir', owner(S_IFDIR | 0o7777)],
    ['1:22:0777:symlink', owner(S_IFLNK | 0o777)],
    ['1:22:0600:pipe', owner(S_IFIFO | 0o600)],
    ['1:22:0600:socket', owner(S_IFSOCK | 0o600)],
    ['1:22:0660:block-8-1', owner(S_IFBLK | 0o660, 0x0801)],
    ['1:22:0666:char-4095-1048575', owner(S_IFCHR | 0o666, 0xffff_ffff)],
    ['1:22:0666:char-0-256', owner(S_IFCHR | 0o666, 0x0010_0000)],
  ]

  test.each(RECORDS)('the owner record %s is encoded and decoded', (record, one) => {
    expect(text(encodeOwner(one))).toBe(record)
    const hostMode = (one.mode & S_IFMT) === S_IFDIR ? S_IFDIR | 0o700 : S_IFREG | 0o600
    expect(decoded(record, hostMode)).toEqual(one)
  })

  test('owner records of other programs are decoded: no type, more fields, more parts, no leading zero', () => {
    expect(decoded('0:0:755')).toEqual({ uid: 0, gid: 0, mode: S_IFREG | 0o755, rdev: 0 })
    expect(decoded('0:0:755', S_IFDIR)).toEqual({ uid: 0, gid: 0, mode: S_IFDIR | 0o755, rdev: 0 })
    expect(decoded('1:2:0644:file:new:newer').mode).toBe(S_IFREG | 0o644)
    expect(decoded('1:2:0644:block-8-1-new')).toMatchObject({ mode: S_IFBLK | 0o644, rdev: 0x0801 })
    expect(decoded('1:2:100644').mode).toBe(S_IFREG | 0o644)
    expect(decoded('4294967294:4294967294:0').uid).toBe(0xffff_fffe)
  })

  test('an owner record that is malformed or does not fit the file is EIO', () => {
    const bad = [
      ...[
        '',
        '1',
        '1:2',
        '1:2:',
        ':2:644',
        '1::644',
        '-1:2:644',
        '1:2:888',
        '1:2:0x1',
        ' 1:2:644',
        '1:2:64 ',
      ],
      ...['4294967295:2:644', '1:4294967295:644', '99999999999:2:644', '1:2:644:', '1:2:644:bogus'],
      ...[
        '1:2:644:block',
        '1:2:644:block-8',
        '1:2:644:block-8:0',
        '1:2:644:char-4096-0',
        '1:2:644:char-0-1048576',
      ],
      ...['1:2:755:dir', '1:2:644\0'],
    ]
    for (const record of bad) {
      expect(() => decoded(record), record).toThrow(expect.objectContaining({ name: 'FsError', code: 'EIO' }))
    }
    for (const record of ['1:2:644:file', '1:2:777:symlink', '1:2:600:char-1-3']) {
      expect(() => decoded(record, S_IFDIR), record).toThrow(expect.objectContaining({ code: 'EIO' }))
    }
  })
})

describe('files with and without owner records', () => {
  let scene: Scene
  beforeEach(() => {
    scene = new Scene()
  })
  afterEach(() => scene.close())

  test('objects of all types are stored as files and directories with a record, and shown with their type', () => {
    const target = Buffer.from('to\xff', 'latin1')
    for (const type of [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK]) {
      const rdev = type === S_IFCHR || type === S_IFBLK ? 0x0502 : 0
      const meant = { uid: 0, gid: 12345, mode: type | 0o6751, rdev }
      const name = `type ${type}`
      const fd = scene.kept(makeObject(scene.upperFd, name, { ...meant, target }, OVERRIDE))
      writeOwner(fd, meant, OVERRIDE)
      const host = statFd(fd)
      expect(host.mode).toBe(type === S_IFDIR ? S_IFDIR | 0o700 : S_IFREG | 0o600)
      expect(host.uid).toBe(process.getuid!())
      expect(readOwner(fd, host.mode, RECORD)).toEqual(meant)
      const size = type === S_IFDIR ? host.size : type === S_IFLNK ? 3 : 0
      expect(presentUpperStat(fd, host, OVERRIDE)).toMatchObject({ ...meant, size, ino: host.ino })
      // A link's target is the content, so it has attributes like any other.
      setxattrFd(fd, 'user.on-all', Buffer.from('1'), 'create')
    }
  })

  test('a file without a record is shown unchanged, and one with a damaged record is EIO', () => {
    const fd = scene.kept(makeObject(scene.upperFd, 'f', { mode: S_IFREG, rdev: 0 }, OVERRIDE))
    const host = statFd(fd)
    expect(presentUpperStat(fd, host, OVERRIDE)).toEqual(host)
    setxattrFd(fd, RECORD, Buffer.from('1:2'), 'create')
    expect(() => presentUpperStat(fd, host, OVERRIDE)).toThrow(expect.objectContaining({ code: 'EIO' }))
    expect(presentUpperStat(fd, host, REAL)).toEqual(host)
  })

  test.skipIf(!root.ok)(
    titled('a file with real owners gets owner and group, and setuid after them', root),
    () => {
      const meant = { uid: 5, gid: 6, mode: S_IFREG | 0o6755, rdev: 0 }
      const fd = scene.kept(makeObject(scene.upperFd, 'f', meant, REAL))
      expect(statFd(fd).mode & 0o7777).toBe(0o600)
      writeOwner(fd, meant, REAL)
      expect(statFd(fd)).toMatchObject({ uid: 5, gid: 6, mode: S_IFREG | 0o6755 })
      expect(getxattrFd(fd, RECORD)).toBeUndefined()
      const target = Buffer.from('t')
      const link = scene.kept(makeObject(scene.upperFd, 'l', { mode: S_IFLNK, rdev: 0, target }, REAL))
      writeOwner(link, { ...meant, mode: S_IFLNK | 0o777 }, REAL)
      expect(statFd(link)).toMatchObject({ uid: 5, gid: 6, mode: S_IFLNK | 0o777 })
    },
  )

  test('creating an object of any type over an existing name is EEXIST, and the old one stays', () => {
    for (const policy of [REAL, OVERRIDE]) {
      const existing = `there ${policy.owners}`
      const fd = scene.kept(makeObject(scene.upperFd, existing, { mode: S_IFREG, rdev: 0 }, policy))
      for (const mode of [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO]) {
        const what = { mode, rdev: 0, target: Buffer.from('t') }
        expect(() => makeObject(scene.upperFd, existing, what, policy)).toThrow(
          expect.objectContaining({ code: 'EEXIST' }),
        )
      }
      expect(statFd(fd).nlink).toBe(1)
    }
  })
})
