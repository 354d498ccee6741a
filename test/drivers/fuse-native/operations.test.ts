import { describe, expect, test } from 'vitest'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import { type BlockRef, type BlockStore, ERRNO, type FileSystem, FsError } from '../../../src/base/index.ts'
import { Operations } from '../../../src/drivers/fuse-native/operations.ts'
import type { PackageMount } from '../../../src/drivers/fuse-native/package.ts'
import { layer } from '../../overlay/support/memory-layer.ts'

const odd = 'z\xff'
const utf8 = Buffer.from('größe').toString('latin1')

const LAYER = layer(
  'only',
  `/ {user.root=yes}
   file = text {user.a=1234 user.${utf8}=5 user.${odd}=6 mode=640 uid=7}
   dir/sub/
   dir/${odd}
   dir/${utf8}
   good -> größe
   bad -> ${odd}
   long -> ${'l'.repeat(4096)}
   fits -> ${'f'.repeat(4095)}
   device c 1 3`,
)

interface Made {
  readonly operations: Operations
  readonly lines: string[]
  /** Runs an operation by its name and gives what it answered. */
  readonly ask: (name: string, ...args: readonly unknown[]) => readonly unknown[]
  /** Runs an attribute operation and gives what it answered. */
  readonly attribute: (name: '_op_getxattr' | '_op_listxattr', ...args: readonly unknown[]) => unknown
}

function make(fileSystem: FileSystem = new MergedTree([LAYER]), store?: BlockStore): Made {
  const lines: string[] = []
  const operations = new Operations({
    fileSystem,
    store: store ?? { readBlock: () => 0 },
    cacheSize: 2 ** 20,
    log: (level, message) => lines.push(`${level}: ${message}`),
    debug: false,
  })
  const mount = {} as PackageMount
  operations.answerAttributes(mount)
  const table = operations.table() as Record<string, (...args: unknown[]) => void>
  const answers = (run: (answer: (...values: unknown[]) => void) => void): readonly unknown[] => {
    const given: unknown[][] = []
    run((...values) => given.push(values))
    expect(given).toHaveLength(1)
    return given[0]!
  }
  return {
    operations,
    lines,
    ask: (name, ...args) => answers((answer) => table[name]!(...args, answer)),
    attribute: (name, ...args) =>
      answers((answer) => (mount[name] as (...all: unknown[]) => void)(answer, ...args))[0],
  }
}

describe('operations', () => {
  test('getattr gives all attributes, also of the root', () => {
    const { ask } = make()
    expect(ask('getattr', '/file')).toEqual([
      0,
      expect.objectContaining({ mode: 0o100640, uid: 7, size: 4, nlink: 1 }),
    ])
    expect(ask('getattr', '/')[1]).toMatchObject({ mode: 0o40755, ino: 1 })
    expect(ask('getattr', '/device')[1]).toMatchObject({ rdev: 0x103 })
  })

  test('readdir gives all entries with types, leaves out names that are not text, and logs this once', () => {
    const { ask, lines } = make()
    const [result, names, stats] = ask('readdir', '/dir') as [
      number,
      string[],
      { mode: number; ino: number }[],
    ]
    expect(result).toBe(0)
    expect(names).toEqual(['.', '..', 'größe', 'sub'])
    expect(stats.map(({ mode }) => mode)).toEqual([0o40000, 0o40000, 0o100000, 0o40000])
    expect(stats[3]!.ino).toBe((ask('getattr', '/dir/sub')[1] as { ino: number }).ino)
    ask('readdir', '/dir')
    expect(lines).toEqual([expect.stringMatching(/^warn: names that are not UTF-8 are not shown.*in \/dir /)])
  })

  test('readdir answers damage with EIO, also after entries that could be read', () => {
    const damaged = layer('damaged', 'a\nb\nc')
    damaged.brokenNames.add('b')
    const { ask, lines } = make(new MergedTree([damaged]))
    expect(ask('readdir', '/')).toEqual([-ERRNO.EIO])
    expect(lines).toEqual([expect.stringMatching(/^error: readdir \/: layer damaged: entry b/)])
  })

  test('readlink gives the unchanged target, or an error if there is none', () => {
    const { ask } = make()
    expect(ask('readlink', '/fits')).toEqual([0, 'f'.repeat(4095)])
    expect(ask('readlink', '/long')).toEqual([-ERRNO.ENAMETOOLONG])
    expect(ask('readlink', '/bad')).toEqual([-ERRNO.EOPNOTSUPP])
    expect(ask('readlink', '/file')).toEqual([-ERRNO.EINVAL])
  })

  test('statfs reports no free space', () => {
    expect(make().ask('statfs', '/')).toEqual([
      0,
      expect.objectContaining({ bfree: 0, bavail: 0, ffree: 0, namemax: 255 }),
    ])
  })

  test('getxattr and listxattr report sizes, and ERANGE if the buffer is too small', () => {
    const { attribute } = make()
    const room = Buffer.alloc(10)
    expect(attribute('_op_getxattr', '/file', 'user.a', room)).toBe(4)
    expect(room.toString('latin1', 0, 5)).toBe('1234\0')
    expect(attribute('_op_getxattr', '/file', 'user.a', Buffer.alloc(0))).toBe(4)
    expect(attribute('_op_getxattr', '/file', 'user.a', Buffer.alloc(3))).toBe(-ERRNO.ERANGE)
    expect(attribute('_op_getxattr', '/file', 'user.größe', room)).toBe(1)
    expect(attribute('_op_getxattr', '/file', 'user.none', room)).toBe(-ERRNO.ENODATA)
    const list = Buffer.from(`user.a\0user.größe\0`)
    const names = Buffer.alloc(100)
    expect(attribute('_op_listxattr', '/file', Buffer.alloc(0))).toBe(list.length)
    expect(attribute('_op_listxattr', '/file', names)).toBe(list.length)
    expect(names.subarray(0, list.length).equals(list)).toBe(true)
    expect(attribute('_op_listxattr', '/file', Buffer.alloc(8))).toBe(-ERRNO.ERANGE)
    expect(attribute('_op_listxattr', '/dir', names)).toBe(0)
    expect(attribute('_op_listxattr', '/none', names)).toBe(-ERRNO.ENOENT)
  })

  test.each(['mkdir', 'unlink', 'create', 'write', 'setxattr', 'chmod', 'truncate', 'rename'])(
    'the operation %s is EROFS',
    (name) => {
      expect(make().ask(name, '/file', 'some', 'arguments')).toEqual([-ERRNO.EROFS])
    },
  )

  test('an absent name is ENOENT without a log line, and a bug is EIO with a log line', () => {
    const { ask, lines } = make()
    expect(ask('getattr', '/none')).toEqual([-ERRNO.ENOENT])
    expect(lines).toEqual([])
    const broken = Object.assign(Object.create(new MergedTree([LAYER])) as FileSystem, {
      statfs: () => ({ files: 3 }),
      getattr: () => {
        throw new TypeError('oops')
      },
    })
    const other = make(broken)
    expect(other.ask('getattr', '/')).toEqual([-ERRNO.EIO])
    expect(other.lines).toEqual([expect.stringMatching(/^error: getattr \/: bug: TypeError: oops/)])
  })
})

describe('read', () => {
  const BLOCK: BlockRef = { source: 0, position: 96, storedSize: 5, kindBits: 1, maxSize: 8 }

  /** A file of 16 bytes: a block that decodes to `abcd`, a hole, and the block's middle. */
  function readable(readBlock: BlockStore['readBlock']): Made {
    const fileSystem = Object.assign(Object.create(new MergedTree([LAYER])) as FileSystem, {
      statfs: () => ({ files: 3 }),
      lookup: () => ({ nodeId: 5 }),
      read: (node: number, offset: number, length: number, sink: Parameters<FileSystem['read']>[3]) => {
        expect([node, offset, length]).toEqual([5, 2 ** 33, 12])
        sink.block(BLOCK, 0, 4)
        sink.hole(3)
        sink.block(BLOCK, 1, 2)
      },
    })
    return make(fileSystem, { readBlock })
  }

  test('read fills the buffer piece by piece and decodes a block once', () => {
    const { ask, operations } = readable((_, target) => {
      target.set(Buffer.from('abcd'))
      return 4
    })
    const room = Buffer.alloc(20, '.')
    expect(ask('read', '/x', 0, room, 12, 2 ** 33)).toEqual([9])
    expect(room.toString('latin1')).toBe('abcd\0\0\0bc...........')
    expect(ask('read', '/x', 0, room, 12, 2 ** 33)).toEqual([9])
    expect(operations.counters).toMatchObject({ requests: 2, cacheMisses: 1, cacheHits: 1, inlineReads: 1 })
  })

  test('read answers EIO for a block that is damaged or too short, and counts it', () => {
    const damaged = readable(() => {
      throw new FsError('EIO', 'not the root hash')
    })
    expect(damaged.ask('read', '/x', 0, Buffer.alloc(12), 12, 2 ** 33)).toEqual([-ERRNO.EIO])
    expect(damaged.lines).toEqual(['error: read /x: not the root hash'])
    expect(damaged.operations.counters).toMatchObject({ failedReads: 1, cacheMisses: 0, cacheHits: 0 })
    const short = readable(() => 3)
    expect(short.ask('read', '/x', 0, Buffer.alloc(12), 12, 2 ** 33)).toEqual([-ERRNO.EIO])
    expect(short.lines[0]).toContain('a file needs 4 bytes of it, it decodes to 3')
  })
})
