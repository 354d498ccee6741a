import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { Chunker, encodeRootfs, encodeSeekable, type NewInode } from '../../puzzlefs/write/index.ts'
import { packDevice, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from '../../src/base/index.ts'
import { openEncoder } from '../../src/codecs/encode/index.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { Random } from '../library/trees/random.ts'
import { seekable, stored } from './support/chunks.ts'
import { walkPuzzle } from './support/walk.ts'

const K = 1024

function chunksOf(bytes: Uint8Array, pieces: () => number): Buffer[] {
  const chunker = new Chunker()
  const chunks: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const piece = bytes.subarray(at, at + pieces())
    at += piece.length
    for (const chunk of chunker.push(piece)) chunks.push(Buffer.from(chunk))
  }
  for (const chunk of chunker.finish()) chunks.push(Buffer.from(chunk))
  return chunks
}

describe('a stream that is cut by its content', () => {
  const bytes = new Random(7).bytes(3 << 20)

  test('is cut into the same chunks of 16 to 256 KiB, however it comes', () => {
    const chunks = chunksOf(bytes, () => bytes.length)
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true)
    for (const chunk of chunks.slice(0, -1)) {
      expect(chunk.length).toBeGreaterThanOrEqual(16 * K)
      expect(chunk.length).toBeLessThanOrEqual(256 * K)
    }
    const random = new Random(8)
    expect(chunksOf(bytes, () => random.int(1, 70_000)).map(({ length }) => length)).toEqual(
      chunks.map(({ length }) => length),
    )
  })

  test('shares all chunks but those around a change', () => {
    const changed = Buffer.concat([
      bytes.subarray(0, 1_000_000),
      Buffer.from('inserted'),
      bytes.subarray(1_000_000),
    ])
    const before = new Set(chunksOf(bytes, () => 1 << 20).map((chunk) => stored(chunk).hex))
    const after = chunksOf(changed, () => 1 << 20).map((chunk) => stored(chunk).hex)
    expect(after.filter((hex) => !before.has(hex)).length).toBeLessThanOrEqual(3)
  })

  test('of zeros has chunks of the largest size', () => {
    expect(chunksOf(Buffer.alloc(600 * K), () => 100_001).map(({ length }) => length)).toEqual([
      256 * K,
      256 * K,
      88 * K,
    ])
    expect(chunksOf(Buffer.alloc(0), () => 1)).toEqual([])
  })
})

describe('a chunk in the seekable format', () => {
  test('has the bytes of an encoder that writes frame by frame, and is left out where it does not become smaller', () => {
    const encoder = openEncoder({ name: 'zstd', level: 3, blockSize: 4096 })
    const text = Buffer.from('compressible '.repeat(9000))
    expect(encodeSeekable(text, encoder)?.equals(seekable(text))).toBe(true)
    expect(encodeSeekable(randomBytes(70_000), encoder)).toBeUndefined()
  })
})

test('metadata that are written are read as what they were', () => {
  const chunk = stored(Buffer.from('hello\n'))
  const plain = { uid: 5, gid: 0xffff_fffe, rdev: 0 }
  const inodes: readonly NewInode[] = [
    {
      ...plain,
      ino: 1,
      mode: S_IFDIR | 0o755,
      entries: [
        ['a', 2],
        ['b\xff', 3],
        ['c', 4],
        ['d', 6],
        ['e', 2],
      ],
    },
    {
      ...plain,
      ino: 2,
      mode: S_IFREG | 0o4711,
      chunks: [{ digest: chunk.digest, offset: 1, length: 4, compressed: false }],
      xattrs: [['system.posix_acl_access', Buffer.from('acl')]],
    },
    { ...plain, ino: 3, mode: S_IFLNK | 0o777, target: Buffer.from('\xfe', 'latin1') },
    { ...plain, ino: 4, mode: S_IFCHR | 0o600, rdev: packDevice(4, 70_000) },
    { ...plain, ino: 6, mode: S_IFIFO | 0o600 },
  ]
  const rootfs = encodeRootfs({ layers: [inodes], chunks: [[chunk.digest, chunk.verity]] })
  const files = walkPuzzle(memorySource(rootfs), new Map([[chunk.hex, chunk.bytes]]))
  expect(files).toMatchObject([
    { path: '', stat: { mode: S_IFDIR | 0o755, uid: 5, gid: 0xffff_fffe } },
    {
      path: '/a',
      stat: { mode: S_IFREG | 0o4711, nlink: 2, size: 4 },
      sha256: stored(Buffer.from('ello')).hex,
    },
    { path: '/b\xff', target: '\xfe' },
    { path: '/c', stat: { rdev: packDevice(4, 70_000) } },
    { path: '/d', stat: { mode: S_IFIFO | 0o600 } },
    { path: '/e', stat: { ino: 2 }, xattrs: { 'system.posix_acl_access': '61636c' } },
  ])
})
