import { describe, expect, test } from 'vitest'
import type { AttributeKinds } from '../../../src/base/index.ts'
import { InlineDataPath, OPERATIONS, Protocol } from '../../../src/fuse/index.ts'
import * as abi from '../../../src/fuse/protocol/abi.ts'
import { FILE_NODE, LINK_NODE, MemoryBlockStore, MemoryFileSystem } from '../support/memory-file-system.ts'
import { cString, message, readIn, u32, u64 } from '../support/messages.ts'

function server(options: { attributes?: AttributeKinds; namesTrusted?: boolean; debug?: boolean } = {}) {
  const fileSystem = new MemoryFileSystem()
  if (options.attributes !== undefined) fileSystem.attributes = options.attributes
  const store = new MemoryBlockStore()
  const log: string[] = []
  const dataPath = new InlineDataPath(fileSystem, store, () => 0, 1 << 20)
  const protocol = new Protocol({
    fileSystem,
    dataPath,
    ...(options.namesTrusted === undefined ? {} : { namesTrusted: options.namesTrusted }),
    kernel: { debug: options.debug ?? false },
    log: (level, text) => {
      log.push(`${level}: ${text}`)
    },
  })
  function send(bytes: Uint8Array): { error: number; payload: Buffer } | undefined {
    protocol.requestBytes.set(bytes)
    if (protocol.handle(bytes.length) !== 'reply') return undefined
    const reply = Buffer.from(protocol.replyBytes.subarray(0, protocol.replySize))
    expect(reply.readUInt32LE(0)).toBe(reply.length)
    expect(reply.readBigUInt64LE(8)).toBe(0x0102030405060708n)
    return { error: reply.readInt32LE(4), payload: reply.subarray(16) }
  }
  const ask = (opcode: number, nodeId: number, body: Uint8Array = Buffer.alloc(0)) =>
    send(message(opcode, nodeId, body))
  return { fileSystem, store, log, send, ask }
}

describe('INIT', () => {
  test('INIT is answered with our minor version, no more flags than offered, and 1 MiB reads', () => {
    const { ask } = server()
    const offered = 0xffff_ffff - 2 ** 13
    const reply = ask(abi.FUSE_INIT, 0, u32(7, 99, 131072, offered, ...new Array(12).fill(0)))!
    expect(reply.error).toBe(0)
    expect(reply.payload.length).toBe(64)
    expect(reply.payload.readUInt32LE(0)).toBe(7)
    expect(reply.payload.readUInt32LE(4)).toBe(abi.FUSE_KERNEL_MINOR_VERSION)
    const flags = reply.payload.readUInt32LE(12)
    expect(flags & (2 ** 13)).toBe(0)
    expect(flags & (2 ** 17)).not.toBe(0)
    expect(reply.payload.readUInt16LE(28)).toBe(256)
  })

  test('INIT of a read-only mount asks for these flags, and for so many requests at once', () => {
    const reply = server().ask(abi.FUSE_INIT, 0, u32(7, 31, 131072, 0xffff_ffff, ...new Array(12).fill(0)))!
    // Bits 0, 4, 13, 15, 17 to 19 and 22 to 24 (include/uapi/linux/fuse.h).
    expect(reply.payload.readUInt32LE(12)).toBe(0x01ce_a011)
    expect([reply.payload.readUInt16LE(16), reply.payload.readUInt16LE(18)]).toEqual([64, 48])
  })

  test('INIT enables access lists only if the layers may have some', () => {
    for (const [attributes, expected] of [
      ['none', 0],
      ['no-acls', 0],
      ['all', abi.FUSE_POSIX_ACL],
    ] as const) {
      const { ask } = server({ attributes })
      const reply = ask(abi.FUSE_INIT, 0, u32(7, 31, 131072, 0xffff_ffff, ...new Array(12).fill(0)))!
      expect(reply.payload.readUInt32LE(12) & abi.FUSE_POSIX_ACL, attributes).toBe(expected)
    }
  })

  test('INIT does not claim a newer version than the kernel speaks', () => {
    const { ask } = server()
    const reply = ask(abi.FUSE_INIT, 0, u32(7, 31, 131072, 0, ...new Array(12).fill(0)))!
    expect(reply.payload.readUInt32LE(4)).toBe(31)
    expect(reply.payload.readUInt32LE(12)).toBe(0)
  })

  test('INIT offers version 7 to a kernel of a newer major version and refuses an old one', () => {
    const { ask, log } = server()
    const newer = ask(abi.FUSE_INIT, 0, u32(8, 0, 0, 0))!
    expect(newer.error).toBe(0)
    expect(newer.payload.readUInt32LE(0)).toBe(7)
    const older = ask(abi.FUSE_INIT, 0, u32(7, 8, 0, 0))!
    expect(older.error).toBe(-71)
    expect(log.join()).toContain('7.8')
  })
})

describe('LOOKUP, GETATTR, STATX', () => {
  test('a LOOKUP reply encodes an entry field by field', () => {
    const { ask } = server()
    const { error, payload } = ask(abi.FUSE_LOOKUP, 1, cString('file'))!
    expect(error).toBe(0)
    expect(payload.length).toBe(128)
    expect(payload.readBigUInt64LE(0)).toBe(BigInt(FILE_NODE)) // nodeid
    expect(payload.readBigUInt64LE(8)).toBe(0n) // generation
    expect(payload.readBigUInt64LE(16)).toBeGreaterThan(10n ** 9n) // entry_valid
    expect(payload.readBigUInt64LE(24)).toBeGreaterThan(10n ** 9n) // attr_valid
    expect(payload.readBigUInt64LE(40)).toBe(11n) // ino
    expect(payload.readBigUInt64LE(48)).toBe(16484n) // size
    expect(payload.readBigUInt64LE(56)).toBe(33n) // blocks
    expect(payload.readBigInt64LE(64)).toBe(0x31323334n) // atime
    expect(payload.readBigInt64LE(72)).toBe(-2n) // mtime, before 1970
    expect(payload.readBigInt64LE(80)).toBe(0x51525354n) // ctime
    expect([88, 92, 96].map((at) => payload.readUInt32LE(at))).toEqual([7, 8, 9])
    expect(payload.readUInt32LE(100)).toBe(0o100644)
    expect(payload.readUInt32LE(108)).toBe(0x11121314)
    expect(payload.readUInt32LE(112)).toBe(0x21222324)
    expect(payload.readUInt32LE(120)).toBe(4096)
  })

  test('a LOOKUP of an absent name is answered with a cached negative entry', () => {
    const { ask } = server()
    const { error, payload } = ask(abi.FUSE_LOOKUP, 1, cString('absent'))!
    expect(error).toBe(0)
    expect(payload.readBigUInt64LE(0)).toBe(0n)
    expect(payload.readBigUInt64LE(16)).toBeGreaterThan(10n ** 9n)
  })

  test('GETATTR and STATX give the same attributes of a node', () => {
    const { ask } = server()
    const attr = ask(abi.FUSE_GETATTR, FILE_NODE, Buffer.alloc(16))!.payload
    const statx = ask(abi.FUSE_STATX, FILE_NODE, Buffer.alloc(24))!.payload
    expect(attr.length).toBe(104)
    expect(statx.length).toBe(288)
    expect(statx.readUInt32LE(32)).toBe(0x7ff)
    expect(statx.readBigUInt64LE(32 + 40)).toBe(attr.readBigUInt64LE(16 + 8)) // size
    expect(statx.readUInt16LE(32 + 28)).toBe(0o100644)
    expect(statx.readBigInt64LE(32 + 112)).toBe(-2n) // mtime
  })

  test('STATX is ENOSYS where no file has a birth time', () => {
    const { ask, fileSystem, log } = server()
    fileSystem.hasBirthTimes = false
    expect(ask(abi.FUSE_STATX, FILE_NODE, Buffer.alloc(24))!.error).toBe(-38)
    expect(log).toEqual([])
  })
})

describe('errors', () => {
  test('an FsError is answered with its negative errno', () => {
    const { ask, log } = server()
    expect(ask(abi.FUSE_GETATTR, 99, Buffer.alloc(16))!.error).toBe(-116)
    expect(ask(abi.FUSE_LOOKUP, FILE_NODE, cString('x'))!.error).toBe(-20)
    expect(log).toEqual([])
  })

  test('damage is logged with its message and a bug with its stack, and both are answered with EIO', () => {
    const { ask, log } = server()
    expect(ask(abi.FUSE_LOOKUP, 1, cString('damaged'))!.error).toBe(-5)
    expect(log[0]).toContain('inode at 7: damaged')
    expect(ask(abi.FUSE_LOOKUP, 1, cString('bug'))!.error).toBe(-5)
    expect(log[1]).toContain('bug: TypeError: a bug in a handler')
    expect(ask(abi.FUSE_LOOKUP, 1, cString('file'))!.error).toBe(0)
  })

  test('an unknown opcode is answered with ENOSYS, and every write with EROFS', () => {
    const { ask } = server()
    expect(ask(9999, 1)!.error).toBe(-38)
    for (const opcode of [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51]) {
      expect(ask(opcode, 1, Buffer.alloc(64))!.error, `opcode ${opcode}`).toBe(-30)
    }
    for (const opcode of [abi.FUSE_OPEN, abi.FUSE_OPENDIR, abi.FUSE_ACCESS]) {
      expect(ask(opcode, 1, Buffer.alloc(16))!.error).toBe(-38)
    }
  })

  test('every proper prefix of a request is answered with an error, or with nothing if it needs no reply', () => {
    const { send } = server()
    const samples: [number, Buffer][] = [
      [abi.FUSE_LOOKUP, cString('file')],
      [abi.FUSE_READ, readIn(0, 4096).subarray(0, 20)],
      [abi.FUSE_GETXATTR, Buffer.concat([u32(0, 0), cString('user.a')])],
      [abi.FUSE_LSEEK, Buffer.concat([u64(0, 0), u32(3)])],
      [abi.FUSE_BATCH_FORGET, Buffer.concat([u32(1, 0), u64(5, 1)])],
    ]
    for (const [opcode, body] of samples) {
      for (let length = 0; length < body.length; length++) {
        const reply = send(message(opcode, FILE_NODE, body.subarray(0, length)))
        if (opcode === abi.FUSE_BATCH_FORGET) expect(reply).toBeUndefined()
        else expect(reply!.error, `opcode ${opcode}, ${length} bytes`).toBe(-5)
      }
    }
  })

  test('a message whose header gives a wrong length is answered with EIO', () => {
    const { send } = server()
    const bytes = message(abi.FUSE_STATFS, 1, Buffer.alloc(0))
    bytes.writeUInt32LE(48, 0)
    expect(send(bytes)!.error).toBe(-5)
  })
})

describe('READDIR and READDIRPLUS', () => {
  test('READDIR pads entries to 8 bytes and stops where the buffer is full', () => {
    const { ask } = server()
    const whole = ask(abi.FUSE_READDIR, 1, readIn(0, 4096))!.payload
    expect(whole.length).toBe(4 * 32)
    expect(whole.readBigUInt64LE(64 + 8)).toBe(3n) // off
    expect(whole.toString('latin1', 64 + 24, 64 + 28)).toBe('file')
    const part = ask(abi.FUSE_READDIR, 1, readIn(0, 95))!.payload
    expect(part).toEqual(whole.subarray(0, 64))
    expect(ask(abi.FUSE_READDIR, 1, readIn(2, 4096))!.payload).toEqual(whole.subarray(64))
    expect(ask(abi.FUSE_READDIR, 1, readIn(4, 4096))!.payload.length).toBe(0)
  })

  test('READDIRPLUS gives no node for . and .., and the entry of LOOKUP for other names', () => {
    const { ask } = server()
    const plus = ask(abi.FUSE_READDIRPLUS, 1, readIn(0, 4096))!.payload
    expect(plus.readBigUInt64LE(0)).toBe(0n)
    const file = plus.subarray(2 * 160, 3 * 160)
    expect(file.subarray(0, 128)).toEqual(ask(abi.FUSE_LOOKUP, 1, cString('file'))!.payload)
  })
})

describe('the other operations', () => {
  test('READ crosses blocks, holes and the end of the file', () => {
    const { ask, fileSystem } = server()
    const content = fileSystem.content()
    for (const [offset, size] of [
      [0, 100],
      [4000, 9000],
      [8192, 4096],
      [16000, 1 << 20],
      [16484, 10],
      [99999, 5],
    ] as const) {
      const reply = ask(abi.FUSE_READ, FILE_NODE, readIn(offset, size))!
      expect(reply.payload).toEqual(Buffer.from(content.subarray(offset, offset + size)))
    }
  })

  test('READ of a damaged block is answered with EIO, and other blocks are still read', () => {
    const { ask, store } = server()
    store.damaged.add(4096)
    expect(ask(abi.FUSE_READ, FILE_NODE, readIn(0, 4096))!.error).toBe(0)
    expect(ask(abi.FUSE_READ, FILE_NODE, readIn(0, 8192))!.error).toBe(-5)
    store.damaged.clear()
    expect(ask(abi.FUSE_READ, FILE_NODE, readIn(0, 8192))!.error).toBe(0)
  })

  test('GETXATTR and LISTXATTR follow the size convention of extended attributes', () => {
    const { ask } = server()
    const get = (size: number, name: string) =>
      ask(abi.FUSE_GETXATTR, FILE_NODE, Buffer.concat([u32(size, 0), cString(name)]))!
    expect(get(0, 'user.a').payload).toEqual(u32(5, 0))
    expect(get(5, 'user.a').payload.toString()).toBe('value')
    expect(get(4, 'user.a').error).toBe(-34)
    expect(get(0, 'user.none').error).toBe(-61)
    expect(ask(abi.FUSE_LISTXATTR, FILE_NODE, u32(0, 0))!.payload).toEqual(u32(15, 0))
    expect(ask(abi.FUSE_LISTXATTR, FILE_NODE, u32(15, 0))!.payload.toString()).toBe('user.a\0user.bc\0')
    expect(ask(abi.FUSE_LISTXATTR, FILE_NODE, u32(14, 0))!.error).toBe(-34)
  })

  test('attributes of trusted. are listed only for uid 0 of a mount by root', () => {
    for (const namesTrusted of [false, true]) {
      for (const uid of [0, 1000]) {
        const { send, fileSystem } = server({ namesTrusted })
        fileSystem.names = ['trusted.a', 'user.b']
        const request = message(abi.FUSE_LISTXATTR, FILE_NODE, u32(100, 0))
        request.writeUInt32LE(uid, 24)
        const all = namesTrusted && uid === 0
        expect(send(request)!.payload.toString()).toBe(all ? 'trusted.a\0user.b\0' : 'user.b\0')
        request.writeUInt32LE(0, 40)
        expect(send(request)!.payload).toEqual(u32(all ? 17 : 7, 0))
      }
    }
  })

  test('GETXATTR is answered with EOPNOTSUPP, and LISTXATTR with an empty list, for an image without attributes', () => {
    const { ask, fileSystem, log } = server({ attributes: 'none' })
    fileSystem.names = []
    expect(ask(abi.FUSE_GETXATTR, FILE_NODE, Buffer.concat([u32(0, 0), cString('user.a')]))!.error).toBe(-38)
    expect(ask(abi.FUSE_LISTXATTR, FILE_NODE, u32(0, 0))!.payload).toEqual(u32(0, 0))
    expect(log).toEqual([])
  })

  test('GETXATTR is answered with EOPNOTSUPP for access lists and labels that no file can have', () => {
    for (const [attributes, lacking, expected] of [
      ['no-acls', true, { acl: -95, label: -95 }],
      ['no-acls', false, { acl: -95, label: -61 }],
      ['all', false, { acl: -61, label: -61 }],
    ] as const) {
      const { ask, fileSystem } = server({ attributes })
      fileSystem.neverHas = () => lacking
      const get = (name: string) =>
        ask(abi.FUSE_GETXATTR, FILE_NODE, Buffer.concat([u32(0, 0), cString(name)]))!.error
      expect(get('system.posix_acl_access')).toBe(expected.acl)
      expect(get('system.posix_acl_default')).toBe(expected.acl)
      expect(get('security.selinux')).toBe(expected.label)
      expect(get('security.capability')).toBe(-61)
      expect(get('user.none')).toBe(-61)
      expect(get('user.a')).toBe(0)
    }
  })

  test('FORGET gets no reply', () => {
    const { ask, fileSystem } = server()
    expect(ask(abi.FUSE_FORGET, FILE_NODE, u64(3))).toBeUndefined()
    expect(
      ask(abi.FUSE_BATCH_FORGET, 0, Buffer.concat([u32(2, 0), u64(FILE_NODE, 1, LINK_NODE, 2)])),
    ).toBeUndefined()
    expect(fileSystem.forgotten).toEqual([
      [FILE_NODE, 3],
      [FILE_NODE, 1],
      [LINK_NODE, 2],
    ])
  })

  test('READLINK, LSEEK and STATFS are answered', () => {
    const { ask } = server()
    expect(ask(abi.FUSE_READLINK, LINK_NODE)!.payload.toString()).toBe('goal')
    const seek = (whence: number) =>
      ask(abi.FUSE_LSEEK, FILE_NODE, Buffer.concat([u64(0, 5), u32(whence, 0)]))!
    expect(seek(3).payload.readBigUInt64LE(0)).toBe(5n)
    expect(seek(4).payload.readBigUInt64LE(0)).toBe(8192n)
    expect(seek(9).error).toBe(-22)
    const statfs = ask(abi.FUSE_STATFS, 1)!.payload
    expect(statfs.length).toBe(80)
    expect([0, 8, 16, 24, 32].map((at) => Number(statfs.readBigUInt64LE(at)))).toEqual([2, 3, 4, 5, 6])
    expect([40, 44, 48].map((at) => statfs.readUInt32LE(at))).toEqual([4096, 255, 4096])
    expect(ask(abi.FUSE_DESTROY, 1)!.error).toBe(0)
  })

  test('--debug logs the decoded arguments and the outcome of a request', () => {
    const { ask, log } = server({ debug: true, attributes: 'all' })
    const getxattrIn = Buffer.concat([u32(0, 0), cString('user.a\nb')])
    ask(abi.FUSE_LOOKUP, 1, cString('file'))
    ask(abi.FUSE_GETATTR, FILE_NODE, Buffer.alloc(16))
    ask(abi.FUSE_READ, FILE_NODE, readIn(8192, 100))
    ask(abi.FUSE_GETXATTR, FILE_NODE, getxattrIn)
    ask(abi.FUSE_LSEEK, FILE_NODE, Buffer.concat([u64(0, 5), u32(abi.SEEK_HOLE, 0)]))
    ask(abi.FUSE_LISTXATTR, FILE_NODE, u32(64, 0))
    ask(abi.FUSE_IOCTL, FILE_NODE, Buffer.concat([u64(0), u32(0, abi.FS_IOC_GETFLAGS), u64(0), u32(0, 4)]))
    ask(abi.FUSE_FORGET, FILE_NODE, u64(3))
    ask(abi.FUSE_READ, FILE_NODE, Buffer.alloc(3))
    ask(abi.FUSE_MKDIR, 1, Buffer.concat([u32(0o755, 0o022), cString('d')]))
    const caller = `#${0x05060708} node=${FILE_NODE} pid=4242`
    const root = caller.replace(`node=${FILE_NODE}`, 'node=1')
    expect(log.filter((line) => line.startsWith('debug'))).toEqual([
      `debug: LOOKUP ${root} "file" -> 144 bytes`,
      `debug: GETATTR ${caller} -> 120 bytes`,
      `debug: READ ${caller} offset=8192 size=100 -> 116 bytes`,
      `debug: GETXATTR ${caller} room=0 name="user.a\\nb" -> ENODATA`,
      `debug: LSEEK ${caller} offset=5 whence="hole" -> 24 bytes`,
      `debug: LISTXATTR ${caller} room=64 -> 31 bytes`,
      `debug: IOCTL ${caller} command=0x80086601 data=0 bytes room=4 -> ENOTTY`,
      `debug: FORGET ${caller} 3 -> no-reply`,
      `debug: READ ${caller} malformed=true -> EIO`,
      `debug: MKDIR ${root} -> EROFS`,
    ])
  })

  test('every opcode has a name of its own', () => {
    const names = [...OPERATIONS.values()].map((operation) => operation.name)
    expect(new Set(names).size).toBe(names.length)
  })
})
