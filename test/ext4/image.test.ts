import { describe, expect, test } from 'vitest'
import { Ext4Image } from '../../ext4/image.ts'
import { EXT4 } from '../../ext4/kind.ts'
import { kindNamed, probeKind } from '../../src/kinds/kinds.ts'
import { memorySource, walkImage } from './support/describe.ts'
import { BLOCK, CONTENT, tinyImage } from './support/tiny-image.ts'

function open(bytes: Buffer): Ext4Image {
  return new Ext4Image({ source: memorySource(bytes), sourceId: 0, label: 'image' })
}

/** The image with other bytes at a place. */
function changed(at: number, ...bytes: readonly number[]): Buffer {
  const image = tinyImage()
  Buffer.from(bytes).copy(image, at)
  return image
}

describe('a small file system', () => {
  test('a small ext2 file system is recognized by its content, and shows all that it holds', () => {
    const source = memorySource(tinyImage())
    expect(probeKind(source)).toBe(EXT4)
    expect(kindNamed('ext4').describe(source)).toEqual({
      bytesUsed: 16 * BLOCK,
      blockSize: 131_072,
      metadataStart: 16 * BLOCK,
      detail: '',
    })
    const image = open(tinyImage())
    const file = image.lookup(image.root, 'file')
    expect(file).toEqual({ name: 'file', ref: 12, ino: 12, type: 8 })
    expect(image.stat(12)).toMatchObject({ size: CONTENT.length, mode: 0o100644, nlink: 1 })
    expect(Buffer.from(image.readlink(13)).toString()).toBe('file')
    expect(image.listxattr(12)).toEqual(['user.a', 'system.posix_acl_access'])
    expect(Buffer.from(image.getxattr(12, 'user.a') ?? []).toString()).toBe('value')
    // Version 2, and an id in every entry.
    expect(Buffer.from(image.getxattr(12, 'system.posix_acl_access') ?? []).toString('hex')).toBe(
      '02000000' +
        '01000600ffffffff' +
        '0200060005000000' +
        '04000400ffffffff' +
        '10000600ffffffff' +
        '20000400ffffffff',
    )
    const { tree, errors } = walkImage(source)
    expect([[...tree.keys()].sort(), errors]).toEqual([['', '/empty', '/file', '/link'], 0])
  })

  test('calls for the wrong sort of file have the errno of the system call', () => {
    const image = open(tinyImage())
    const sink = { hole: () => {}, block: () => {}, file: () => {} }
    for (const [call, code] of [
      [() => image.openDirectory(12, 0), 'ENOTDIR'],
      [() => image.lookup(12, 'x'), 'ENOTDIR'],
      [() => image.readlink(12), 'EINVAL'],
      [() => image.extents(2, 0, 1, sink), 'EISDIR'],
      [() => image.extents(13, 0, 1, sink), 'EINVAL'],
      [() => image.seek(12, CONTENT.length, 'data'), 'ENXIO'],
      // Numbers that no entry has: not in use, reserved, beyond all.
      [() => image.stat(15), 'EIO'],
      [() => image.stat(0), 'EIO'],
      [() => image.stat(17), 'EIO'],
    ] as const) {
      expect(call, String(call)).toThrow(expect.objectContaining({ code }))
    }
  })

  test('a directory that is its own child, and one with two names, end no walk', () => {
    // The entry `empty` leads to the root, and to itself.
    for (const inode of [2, 14]) {
      const at = 5 * BLOCK + 12 + 12 + 12 + 12
      const image = changed(at, inode)
      image.writeUInt32LE(14, 7 * BLOCK + 12)
      expect(walkImage(memorySource(image)).tree.size).toBeLessThan(10)
    }
  })

  test('a size that no file can have is EIO, and the largest possible one is a hole that is passed over', () => {
    const at = 3 * BLOCK + 11 * 128
    const huge = changed(at + 0x6c, 0, 0, 0, 0x10)
    expect(() => open(huge).stat(12)).toThrow(expect.objectContaining({ code: 'EIO' }))
    const largest = changed(at + 0x6c, 0, 4)
    largest.writeUInt32LE(0, at + 4)
    expect(open(largest).stat(12).size).toBe(2 ** 42)
    expect(open(largest).seek(12, 0, 'hole')).toBe(BLOCK)
    expect(() => open(largest).seek(12, BLOCK, 'data')).toThrow(expect.objectContaining({ code: 'ENXIO' }))
  })

  test.each([
    ['a block size of 2^16 KiB', 1024 + 0x18, [16], /block size/],
    ['an inode of 2 KiB in blocks of 1 KiB', 1024 + 0x58, [0, 8], /inodes of 2048 bytes/],
    ['more blocks than bytes', 1024 + 0x04, [17], /ends at 17408, and its file at 16384: truncated/],
    ['more inodes than its groups have', 1024 + 0x00, [17], /17 inodes in 1 groups of 16/],
    ['an inode table behind the end', 2 * 1024 + 8, [15], /inode table of group 0/],
    ['a root that is a file', 3 * 1024 + 128, [0xed, 0x81], /the root is no directory/],
    ['a root without links', 3 * 1024 + 128 + 0x1a, [0], /inode 2 is not in use/],
  ])('%s is EIO in one line', (_, at, bytes, message) => {
    expect(() => open(changed(at, ...bytes))).toThrow(
      expect.objectContaining({ code: 'EIO', message: expect.stringMatching(message) }),
    )
  })

  test('what is no such file system is EINVAL, and features that cannot be read are named', () => {
    expect(() => open(changed(1024 + 0x38, 0))).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => open(tinyImage().subarray(0, 2000))).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => open(changed(1024 + 0x60, 0x03, 0, 0x03, 0x80))).toThrow(
      expect.objectContaining({
        code: 'EINVAL',
        message: 'image: ext4 features that cannot be read: compression, encrypt, casefold, FEATURE_I31',
      }),
    )
  })
})
