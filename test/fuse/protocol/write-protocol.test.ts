import { describe, expect, test } from 'vitest'
import { type FileSystem, FsError, type Stat, type WritableFileSystem } from '../../../src/base/index.ts'
import {
  InlineDataPath,
  type KernelOptions,
  MAX_WRITE,
  OPERATIONS,
  Protocol,
  WRITE_OPERATIONS,
} from '../../../src/fuse/index.ts'
import * as abi from '../../../src/fuse/protocol/abi.ts'
import { MemoryBlockStore, statOf } from '../support/memory-file-system.ts'
import { cString, message, readIn, u32, u64 } from '../support/messages.ts'

const NODE = 0x1_0000_0203
const CALLER = { uid: 1000, gid: 1001 }
const MODE = 0o106755

interface Options {
  readonly kernel?: Partial<KernelOptions>
  /** What `inodeFlags` gives. */
  readonly flags?: Uint8Array
  /** INIT flags that the kernel offers; no INIT is sent where absent. */
  readonly offered?: number
  readonly stat?: Stat
  /** Every method of the file system throws it. */
  readonly failure?: FsError
}

/** A file system that writes down what it is asked and answers with fixed values. */
function recorder(
  stat: Stat,
  failure: FsError | undefined,
  flags: Uint8Array | undefined,
): { fileSystem: WritableFileSystem; calls: unknown[][] } {
  const calls: unknown[][] = []
  const answers: Record<string, unknown> = {
    write: 321,
    seek: 7,
    copyFileRange: 123,
    inodeFlags: flags,
    getattr: stat,
    setattr: stat,
  }
  const target = {} as WritableFileSystem
  const fileSystem = new Proxy(target, {
    get:
      (_, name) =>
      (...args: unknown[]) => {
        if (failure !== undefined) throw failure
        // The buffer is reused: what is kept has to be copied.
        calls.push([name, ...args.map((arg) => (arg instanceof Uint8Array ? Buffer.from(arg) : arg))])
        return answers[String(name)] ?? { nodeId: 0x2_0000_0304, stat }
      },
  })
  return { fileSystem, calls }
}

function server(options: Options = {}) {
  const { fileSystem, calls } = recorder(options.stat ?? statOf(77, MODE, 5), options.failure, options.flags)
  const log: string[] = []
  const protocol = new Protocol({
    fileSystem,
    writable: fileSystem,
    dataPath: new InlineDataPath(fileSystem, new MemoryBlockStore(), () => 0, 0),
    kernel: options.kernel ?? {},
    log: (level, text) => {
      log.push(`${level}: ${text}`)
    },
  })
  function ask(opcode: number, body: Uint8Array, nodeId = NODE) {
    const bytes = message(opcode, nodeId, body)
    protocol.requestBytes.set(bytes)
    protocol.handle(bytes.length)
    const reply = Buffer.from(protocol.replyBytes.subarray(0, protocol.replySize))
    return { error: reply.readInt32LE(4), payload: reply.subarray(16) }
  }
  const { offered } = options
  const init =
    offered === undefined
      ? undefined
      : ask(abi.FUSE_INIT, u32(7, 45, 131072, offered, ...new Array(12).fill(0)), 0).payload
  return { ask, calls, log, init }
}

/** `struct fuse_setattr_in` with values that do not repeat. */
function setattrIn(valid: number, size: number | bigint = 0x1_1213_1415): Buffer {
  return Buffer.concat([
    u32(valid, 0),
    u64(0, size, 0, -3, 0x3132333435, 0x41424344),
    u32(11, 12, 13, MODE, 0, 501, 502, 0),
  ])
}

const writeIn = (offset: number | bigint, size: number, flags: number): Buffer =>
  Buffer.concat([u64(0, offset), u32(size, flags), u64(0), u32(0, 0)])

const MODE_GID_SIZE_TIMES =
  abi.FATTR_MODE + abi.FATTR_GID + abi.FATTR_SIZE + abi.FATTR_ATIME + abi.FATTR_MTIME + abi.FATTR_CTIME

/** One valid request of each kind, and the call that it makes. */
const REQUESTS: readonly (readonly [string, number, Buffer, readonly unknown[]])[] = [
  [
    'SETATTR',
    abi.FUSE_SETATTR,
    setattrIn(MODE_GID_SIZE_TIMES),
    [
      'setattr',
      NODE,
      {
        mode: 0o6755,
        gid: 502,
        size: 0x1_1213_1415,
        atime: { seconds: -3, nanoseconds: 11 },
        mtime: { seconds: 0x3132333435, nanoseconds: 12 },
        ctime: { seconds: 0x41424344, nanoseconds: 13 },
        killPrivileges: true,
      },
    ],
  ],
  [
    'SYMLINK',
    abi.FUSE_SYMLINK,
    Buffer.concat([cString('n\xffme'), cString('to/\x80')]),
    ['symlink', NODE, 'n\xffme', Buffer.from('to/\x80', 'latin1'), { ...CALLER, umask: 0 }],
  ],
  [
    'MKNOD',
    abi.FUSE_MKNOD,
    Buffer.concat([u32(0o20644, 0x1234_5678, 0o27, 0), cString('dev')]),
    ['mknod', NODE, 'dev', 0o20644, 0x1234_5678, { ...CALLER, umask: 0o27 }],
  ],
  [
    'MKDIR',
    abi.FUSE_MKDIR,
    Buffer.concat([u32(0o1777, 0o22), cString('dir')]),
    ['mkdir', NODE, 'dir', 0o1777, { ...CALLER, umask: 0o22 }],
  ],
  ['UNLINK', abi.FUSE_UNLINK, cString('gone'), ['unlink', NODE, 'gone']],
  ['RMDIR', abi.FUSE_RMDIR, cString('gone'), ['rmdir', NODE, 'gone']],
  [
    'RENAME',
    abi.FUSE_RENAME,
    Buffer.concat([u64(0x3_0000_0405), cString('from'), cString('to')]),
    ['rename', NODE, 'from', 0x3_0000_0405, 'to', 'replace', false],
  ],
  [
    'RENAME2',
    abi.FUSE_RENAME2,
    Buffer.concat([u64(0x3_0000_0405), u32(5, 0), cString('from'), cString('to')]),
    ['rename', NODE, 'from', 0x3_0000_0405, 'to', 'noreplace', true],
  ],
  [
    'LINK',
    abi.FUSE_LINK,
    Buffer.concat([u64(0x3_0000_0405), cString('second')]),
    ['link', 0x3_0000_0405, NODE, 'second'],
  ],
  [
    'WRITE',
    abi.FUSE_WRITE,
    Buffer.concat([writeIn(0x1_2345_6789, 5, 4), Buffer.from('bytes')]),
    ['write', NODE, 0x1_2345_6789, Buffer.from('bytes'), true],
  ],
  [
    'TMPFILE',
    abi.FUSE_TMPFILE,
    u32(0o20200002, 0o100600, 0o77, 0),
    ['tmpfile', NODE, 0o100600, { ...CALLER, umask: 0o77 }],
  ],
  ['FSYNC', abi.FUSE_FSYNC, Buffer.concat([u64(0), u32(1, 0)]), ['fsync', NODE, true]],
  ['FSYNCDIR', abi.FUSE_FSYNCDIR, Buffer.concat([u64(0), u32(0, 0)]), ['fsync', NODE, false]],
  [
    'SETXATTR',
    abi.FUSE_SETXATTR,
    Buffer.concat([u32(3, 1), cString('user.n'), Buffer.from('a\0b')]),
    ['setxattr', NODE, 'user.n', Buffer.from('a\0b'), 'create'],
  ],
  ['REMOVEXATTR', abi.FUSE_REMOVEXATTR, cString('user.n'), ['removexattr', NODE, 'user.n']],
  [
    'FALLOCATE',
    abi.FUSE_FALLOCATE,
    Buffer.concat([u64(0, 0x1_0000_0007, 4096), u32(3, 0)]),
    ['fallocate', NODE, 3, 0x1_0000_0007, 4096],
  ],
  [
    'COPY_FILE_RANGE',
    abi.FUSE_COPY_FILE_RANGE,
    u64(0, 0x1_0000_0007, 0x3_0000_0405, 0, 9, 4097, 0),
    ['copyFileRange', NODE, 0x1_0000_0007, 0x3_0000_0405, 9, 4097],
  ],
]

function codeOf(call: () => unknown): string | undefined {
  try {
    call()
  } catch (error) {
    return error instanceof FsError ? error.code : undefined
  }
  return undefined
}

describe('requests that change something', () => {
  test.each(REQUESTS)('the request %s is passed on field by field', (_, opcode, body, call) => {
    const { ask, calls, log } = server()
    expect(ask(opcode, body).error).toBe(0)
    expect(calls).toEqual([call])
    expect(log).toEqual([])
  })

  test.each(REQUESTS)(
    'every proper prefix of the request %s is EIO and changes nothing',
    (_, opcode, body) => {
      const { ask, calls } = server()
      for (let length = 0; length < body.length; length++) {
        expect(ask(opcode, body.subarray(0, length)).error, `${length} bytes`).toBe(-5)
      }
      expect(calls).toEqual([])
    },
  )

  test('--debug logs write requests with their arguments', () => {
    const { ask, log } = server({ kernel: { debug: true } })
    for (const [, opcode, body] of REQUESTS) ask(opcode, body)
    const lines = log.filter((line) => line.startsWith('debug'))
    expect(lines).toHaveLength(REQUESTS.length)
    expect(lines.filter((line) => / pid=4242 -> /.test(line) || line.includes('undefined'))).toEqual([])
    expect(lines.find((line) => line.includes('MKDIR'))).toMatch(
      /mode=0\d+ caller=\{uid=1000 gid=1001 umask=0\d*\} name=".*" -> /,
    )
  })

  test('every operation that is EROFS in a read-only mount has a write operation of the same name', () => {
    for (const [opcode, { name }] of WRITE_OPERATIONS) {
      expect(OPERATIONS.get(opcode)?.name ?? name).toBe(name)
    }
    const readOnly = [...OPERATIONS].filter(([, { handle }]) => {
      const context = {} as Parameters<typeof handle>[0]
      return (
        codeOf(() => handle(context, {} as Parameters<typeof handle>[1], {} as never, undefined)) === 'EROFS'
      )
    })
    expect(readOnly.length).toBeGreaterThan(15)
    expect(readOnly.map(([opcode]) => opcode).filter((opcode) => !WRITE_OPERATIONS.has(opcode))).toEqual([])
  })
})

describe('SETATTR', () => {
  test.each([
    [abi.FATTR_MODE, { mode: 0o6755 }],
    [abi.FATTR_UID, { uid: 501, killPrivileges: true }],
    [abi.FATTR_SIZE, { size: 0x1_1213_1415 }],
    [abi.FATTR_SIZE + abi.FATTR_KILL_SUIDGID, { size: 0x1_1213_1415, killPrivileges: true }],
    [abi.FATTR_ATIME + abi.FATTR_ATIME_NOW, { atime: 'now' }],
    [abi.FATTR_MTIME + abi.FATTR_MTIME_NOW, { mtime: 'now' }],
  ])('SETATTR with valid %i changes %j', (valid, changes) => {
    const { ask, calls } = server()
    const { payload } = ask(abi.FUSE_SETATTR, setattrIn(valid))
    expect(calls).toEqual([['setattr', NODE, changes]])
    expect(payload.length).toBe(104)
    expect(payload.readBigUInt64LE(16)).toBe(77n) // ino
  })

  // What remains of taking setuid away before a write, with and without the file's handle.
  // And of chown(2) without ids; with the write-back cache the kernel tells the time of change along with it.
  test.each([0, 2 ** 6, abi.FATTR_CTIME])(
    'SETATTR with valid %i removes privileges for the owner and for a caller with write access',
    (valid) => {
      const file = statOf(77, MODE, 5)
      const asked = (stat: Stat) => {
        const { ask, calls } = server({ stat })
        const { error } = ask(abi.FUSE_SETATTR, setattrIn(valid))
        return [error, calls.filter(([name]) => name === 'setattr')]
      }
      const ctime = valid === abi.FATTR_CTIME ? { ctime: { seconds: 0x41424344, nanoseconds: 13 } } : {}
      const done = [0, [['setattr', NODE, { ...ctime, killPrivileges: true }]]]
      const refused = [-1, []]
      expect(asked({ ...file, uid: CALLER.uid })).toEqual(done)
      expect(asked({ ...file, mode: MODE | 0o002 })).toEqual(done)
      expect(asked({ ...file, mode: MODE | 0o020, gid: CALLER.gid })).toEqual(done)
      // Nothing to take away: the time of change only.
      for (const mode of [0o100755, 0o102644, 0o042775]) expect(asked({ ...file, mode })).toEqual(done)
      expect(asked(file)).toEqual(refused)
      expect(asked({ ...file, mode: MODE | 0o020 })).toEqual(refused)
      expect(asked({ ...file, mode: 0o102755 })).toEqual(refused)
    },
  )

  test('a size that no file can have is answered with EFBIG, without a log line', () => {
    const { ask, calls, log } = server()
    expect(ask(abi.FUSE_SETATTR, setattrIn(abi.FATTR_SIZE, 2n ** 62n)).error).toBe(-27)
    expect(ask(abi.FUSE_WRITE, writeIn(2n ** 60n, 0, 0)).error).toBe(-27)
    expect(ask(abi.FUSE_FALLOCATE, Buffer.concat([u64(0, 2 ** 52, 2 ** 52), u32(0, 0)])).error).toBe(-27)
    expect(ask(abi.FUSE_LSEEK, Buffer.concat([u64(0, 2n ** 62n), u32(3, 0)])).error).toBe(-6)
    expect([calls, log]).toEqual([[], []])
  })
})

describe('replies', () => {
  test('MKDIR is answered with the new entry, and TMPFILE with the entry and an open file without a handle', () => {
    const { ask } = server()
    const entry = ask(abi.FUSE_MKDIR, Buffer.concat([u32(0, 0), cString('d')])).payload
    expect(entry.length).toBe(128)
    expect(entry.readBigUInt64LE(0)).toBe(0x2_0000_0304n)
    const made = ask(abi.FUSE_TMPFILE, u32(0, 0o100600, 0, 0)).payload
    expect(made.subarray(0, 128)).toEqual(entry)
    expect(made.subarray(128)).toEqual(Buffer.concat([u64(0), u32(2, 0)]))
  })

  test('WRITE and COPY_FILE_RANGE are answered with the number of bytes', () => {
    const { ask } = server()
    expect(ask(abi.FUSE_WRITE, writeIn(0, 0, 0)).payload).toEqual(u32(321, 0))
    const copy = u64(0, 0, 1, 0, 0, 1, 0)
    expect(ask(abi.FUSE_COPY_FILE_RANGE, copy).payload).toEqual(u32(123, 0))
    expect(ask(abi.FUSE_COPY_FILE_RANGE_64, copy).payload).toEqual(u64(123))
  })

  test('OPEN, OPENDIR, CREATE, FLUSH and ACCESS are left to the kernel', () => {
    const { ask, calls } = server()
    for (const opcode of [
      abi.FUSE_OPEN,
      abi.FUSE_OPENDIR,
      abi.FUSE_CREATE,
      abi.FUSE_FLUSH,
      abi.FUSE_ACCESS,
    ]) {
      expect(ask(opcode, Buffer.alloc(32)).error).toBe(-38)
    }
    expect(ask(abi.FUSE_RELEASE, Buffer.alloc(24)).error).toBe(0)
    expect(calls).toEqual([])
  })
})

describe('a host without an operation', () => {
  test('an operation that the host lacks is never answered with ENOSYS, which the kernel would remember', () => {
    const { ask } = server({ failure: new FsError('ENOSYS', 'not on this host') })
    for (const [name, opcode, body] of REQUESTS) expect(ask(opcode, body).error, name).toBe(-95)
  })

  test('GETXATTR is answered with ENODATA on a host without attributes', () => {
    const { ask } = server({ failure: new FsError('EOPNOTSUPP', 'no attributes here') })
    const acl = Buffer.concat([u32(4096, 0), cString('system.posix_acl_access')])
    expect(ask(abi.FUSE_GETXATTR, acl).error).toBe(-61)
    expect(ask(abi.FUSE_REMOVEXATTR, cString('user.x')).error).toBe(-95)
  })
})

describe('WRITE', () => {
  test('WRITE accepts 1 MiB in one request', () => {
    const { ask, calls } = server()
    const data = Buffer.alloc(MAX_WRITE, 'pattern')
    expect(ask(abi.FUSE_WRITE, Buffer.concat([writeIn(7, data.length, 0), data])).error).toBe(0)
    const [call] = calls as [string, number, number, Buffer, boolean][]
    expect([call?.slice(0, 3), call?.[4]]).toEqual([['write', NODE, 7], false])
    // `toEqual` takes seconds for a MiB.
    expect(call !== undefined && data.equals(call[3])).toBe(true)
  })
})

describe('IOCTL', () => {
  const ioctlIn = (command: number, data: Buffer, room = data.length): Buffer =>
    Buffer.concat([u64(0), u32(0, command), u64(0), u32(data.length, room), data])

  test('IOCTL reads and sets the flags of chattr(1) in both forms', () => {
    const { ask, calls } = server({ flags: Uint8Array.of(0x10, 0x20, 0x30, 0x40) })
    const got = ask(abi.FUSE_IOCTL, ioctlIn(abi.FS_IOC_GETFLAGS, Buffer.alloc(0), 4)).payload
    expect(got).toEqual(Buffer.concat([u32(0, 0, 0, 0), u32(0x4030_2010)]))
    const [flags, xflags] = [u32(0x80), Buffer.alloc(28, 7)]
    expect(ask(abi.FUSE_IOCTL, ioctlIn(abi.FS_IOC_SETFLAGS, flags)).error).toBe(0)
    expect(ask(abi.FUSE_IOCTL, ioctlIn(abi.FS_IOC_FSSETXATTR, xflags)).error).toBe(0)
    expect(calls).toEqual([
      ['inodeFlags', NODE, 'flags'],
      ['setInodeFlags', NODE, 'flags', flags],
      ['setInodeFlags', NODE, 'fsxattr', xflags],
    ])
  })

  test('IOCTL refuses other commands and arguments that are too short', () => {
    const { ask, calls } = server()
    // TCGETS: isatty(3).
    expect(ask(abi.FUSE_IOCTL, ioctlIn(0x5401, Buffer.alloc(0))).error).toBe(-25)
    expect(ask(abi.FUSE_IOCTL, ioctlIn(abi.FS_IOC_SETFLAGS, Buffer.alloc(3))).error).toBe(-22)
    const whole = ioctlIn(abi.FS_IOC_SETFLAGS, Buffer.alloc(4))
    for (let length = 0; length < whole.length; length++) {
      expect(ask(abi.FUSE_IOCTL, whole.subarray(0, length)).error).toBe(-5)
    }
    expect(calls).toEqual([])
  })
})

describe('OPEN with copy-up on open', () => {
  const open = (flags: number) => u32(flags, 0)

  test('OPEN for writing copies a file up, and is answered without a handle', () => {
    const { ask, calls } = server({ kernel: { copyUpAtOpen: true } })
    for (const flags of [0, 0x8000]) expect(ask(abi.FUSE_OPEN, open(flags)).error).toBe(0)
    expect(calls).toEqual([])
    for (const flags of [1, 0x8002]) {
      expect(ask(abi.FUSE_OPEN, open(flags)).payload).toEqual(Buffer.concat([u64(0), u32(2, 0)]))
    }
    expect(calls).toEqual([
      ['open', NODE],
      ['open', NODE],
    ])
    expect(ask(abi.FUSE_RELEASE, Buffer.alloc(24)).error).toBe(0)
    expect(ask(abi.FUSE_OPENDIR, Buffer.alloc(8)).error).toBe(-38)
  })
})

describe('COPY_FILE_RANGE', () => {
  test('COPY_FILE_RANGE copies a limited amount in one request', () => {
    const { ask, calls } = server()
    ask(abi.FUSE_COPY_FILE_RANGE_64, u64(0, 0, 1, 0, 0, 2n ** 63n - 1n, 0))
    expect(calls).toEqual([['copyFileRange', NODE, 0, 1, 0, 16 << 20]])
    expect(ask(abi.FUSE_COPY_FILE_RANGE_64, u64(0, 0, 1, 0, 0, 5, 1)).error).toBe(-22)
  })
})

describe('RENAME2', () => {
  test.each([
    [0, 'replace', false],
    [1, 'noreplace', false],
    [2, 'exchange', false],
    [4, 'replace', true],
  ])('RENAME2 passes on the flags %i', (flags, mode, whiteout) => {
    const { ask, calls } = server()
    ask(abi.FUSE_RENAME2, Buffer.concat([u64(5), u32(flags, 0), cString('a'), cString('b')]))
    expect(calls).toEqual([['rename', NODE, 'a', 5, 'b', mode, whiteout]])
  })

  test.each([3, 6, 8, 0x8000_0001])('RENAME2 refuses the flags %i', (flags) => {
    const { ask, calls } = server()
    const body = Buffer.concat([u64(5), u32(flags, 0), cString('a'), cString('b')])
    expect(ask(abi.FUSE_RENAME2, body).error).toBe(-22)
    expect(calls).toEqual([])
  })
})

describe('SETXATTR', () => {
  const ACL = 'system.posix_acl_access'
  const extended = (flags: number, extension: number, name: string) =>
    Buffer.concat([u32(2, flags, extension, 0), cString(name), Buffer.from('ab')])

  test('SETXATTR has its longer structure after INIT has agreed on it', () => {
    const { ask, calls } = server({ offered: abi.FUSE_SETXATTR_EXT })
    expect(ask(abi.FUSE_SETXATTR, extended(2, 0, 'user.x')).error).toBe(0)
    expect(calls).toEqual([['setxattr', NODE, 'user.x', Buffer.from('ab'), 'replace']])
    expect(ask(abi.FUSE_SETXATTR, extended(3, 0, 'user.x')).error).toBe(-22)
  })

  test('SETXATTR of an access list removes setgid for a caller outside of the group', () => {
    const { ask, calls } = server({ offered: abi.FUSE_SETXATTR_EXT })
    expect(ask(abi.FUSE_SETXATTR, extended(0, 1, ACL)).error).toBe(0)
    expect(calls).toEqual([
      ['setxattr', NODE, ACL, Buffer.from('ab'), 'either'],
      ['getattr', NODE],
      ['setattr', NODE, { mode: 0o4755 }],
    ])
  })

  test('SETXATTR of an access list keeps a mode without setgid', () => {
    const { ask, calls } = server({ offered: abi.FUSE_SETXATTR_EXT, stat: statOf(1, 0o100755, 0) })
    ask(abi.FUSE_SETXATTR, extended(0, 1, ACL))
    expect(calls.map(([name]) => name)).toEqual(['setxattr', 'getattr'])
  })
})

describe('INIT of a writable mount', () => {
  const ALL = 0xffff_ffff
  const flagsOf = (options: Options) => server({ offered: ALL, ...options }).init!.readUInt32LE(12)

  test('INIT of a writable mount enables 1 MiB writes and the flags for changes', () => {
    const { init } = server({ offered: ALL })
    expect(init!.readUInt32LE(20)).toBe(1 << 20)
    expect(init!.readUInt16LE(28)).toBe(256)
    const flags = flagsOf({})
    for (const bit of [0, 4, 5, 6, 13, 16, 17, 18, 20, 22, 23, 24, 25, 28, 29]) {
      expect((flags >>> bit) & 1, `bit ${bit}`).toBe(1)
    }
    // Locks, atomic O_TRUNC, asynchronous direct writes and another rule for setuid are not wanted.
    for (const bit of [1, 3, 10, 12, 14, 15, 19]) expect((flags >>> bit) & 1, `bit ${bit}`).toBe(0)
  })

  test('INIT enables the write-back cache unless it is switched off, and the file system learns of it', () => {
    expect((flagsOf({ kernel: { writeback: true } }) >>> 16) & 1).toBe(1)
    expect((flagsOf({ kernel: { writeback: false } }) >>> 16) & 1).toBe(0)
    expect(server({ offered: ALL }).calls).toEqual([['clientKeepsTimes']])
    expect(server({ offered: ALL, kernel: { writeback: false } }).calls).toEqual([])
    expect(server({ offered: ALL - 2 ** 16 }).calls).toEqual([])
  })

  test('LSEEK is left to the kernel if the kernel has a write-back cache', () => {
    const lseek = (writeback: boolean): number => {
      const { ask } = server({ offered: ALL, kernel: { writeback } })
      return ask(abi.FUSE_LSEEK, Buffer.concat([u64(0, 5), u32(3, 0)])).error
    }
    expect(lseek(true)).toBe(-38)
    expect(lseek(false)).toBe(0)
  })

  test('INIT of a writable mount sets no flag that was not offered', () => {
    expect(flagsOf({ offered: 2 ** 20, kernel: { writeback: true } })).toBe(2 ** 20)
  })
})

describe('a host file that ends early', () => {
  const tree = {
    read: (_: number, __: number, length: number, sink: { file: (...args: number[]) => void }) => {
      sink.file(9, 100, length - 10)
      sink.file(9, 500, 10)
    },
  } as unknown as FileSystem
  const ask = (shortReads: boolean) => {
    const readHalf = (_: number, position: number, target: Uint8Array) => {
      target.fill(position % 251)
      return position === 100 ? target.length / 2 : target.length
    }
    const dataPath = new InlineDataPath(tree, new MemoryBlockStore(), readHalf, 0, { shortReads })
    const log: string[] = []
    const protocol = new Protocol({ fileSystem: tree, dataPath, log: (_, text) => log.push(text) })
    const bytes = message(abi.FUSE_READ, NODE, readIn(0, 110))
    protocol.requestBytes.set(bytes)
    protocol.handle(bytes.length)
    const reply = Buffer.from(protocol.replyBytes.subarray(0, protocol.replySize))
    return { error: reply.readInt32LE(4), payload: reply.subarray(16), log }
  }

  test('READ of a host file that ends early is short if short reads are allowed', () => {
    expect(ask(true)).toEqual({ error: 0, payload: Buffer.alloc(50, 100), log: [] })
  })

  test('READ of a host file that ends early is EIO if short reads are not allowed', () => {
    const { error, log } = ask(false)
    expect(error).toBe(-5)
    expect(log[0]).toContain('file ends at 150, expected 50 more bytes')
  })
})
