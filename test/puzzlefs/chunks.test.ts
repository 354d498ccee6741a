import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { readSeekTable } from '../../puzzlefs/chunks/seek-table.ts'
import { FsError } from '../../src/base/index.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { type StoredChunk, seekable, stored } from './support/chunks.ts'
import { buildRootfs, TAGS } from './support/rootfs-builder.ts'
import { openPuzzle, walkPuzzle } from './support/walk.ts'

/** An image of one file in one chunk. */
function imageOf(chunk: StoredChunk, length: number, compressed: boolean, offset = 0): Buffer {
  const { digest, verity } = chunk
  return buildRootfs({
    chunks: [[digest, verity]],
    layers: [
      [
        { ino: 1, tag: TAGS.dir, entries: [['file', 2]] },
        { ino: 2, tag: TAGS.file, chunks: [{ digest, length, offset, compressed }] },
      ],
    ],
  })
}

function read(
  chunk: StoredChunk,
  length: number,
  compressed: boolean,
  offset = 0,
  bytes = chunk.bytes,
): unknown {
  const rootfs = imageOf(chunk, length, compressed, offset)
  const file = walkPuzzle(memorySource(rootfs), new Map([[chunk.hex, bytes]])).find(
    ({ path }) => path === '/file',
  )
  return file !== undefined && 'error' in file ? file.error : file?.sha256
}

const TEXT = Buffer.concat([Buffer.from('compressible '.repeat(8000)), randomBytes(9000)])

describe('chunks', () => {
  test.each([
    ['raw', TEXT, false],
    ['compressed', seekable(TEXT), true],
    ['compressed, with checksums', seekable(TEXT, 4096, true), true],
    ['compressed in one frame', seekable(TEXT, TEXT.length), true],
    ['compressed in frames of odd sizes', seekable(TEXT, 1237), true],
  ])('a chunk is read from any place: %s', (_, bytes, compressed) => {
    const chunk = stored(bytes)
    for (const [offset, length] of [
      [0, TEXT.length],
      [4095, 2],
      [5000, 90_000],
      [TEXT.length - 1, 1],
    ] as const) {
      const expected = stored(TEXT.subarray(offset, offset + length)).hex
      expect(read(chunk, length, compressed, offset)).toBe(expected)
    }
    expect(read(chunk, 2, compressed, TEXT.length - 1)).toBe('EIO')
  })

  test.each([
    ['raw', false],
    ['compressed', true],
  ])('a chunk that is larger than any builder makes is read in parts: %s', (_, compressed) => {
    const plain = Buffer.concat([TEXT, randomBytes(700_000), TEXT])
    const chunk = stored(compressed ? seekable(plain, 5000) : plain)
    expect(read(chunk, plain.length, compressed)).toBe(stored(plain).hex)
    expect(read(chunk, 300_000, compressed, 262_000)).toBe(stored(plain.subarray(262_000, 562_000)).hex)
  })

  test('a chunk that is not what its digest says is EIO, also when it was right before', () => {
    const chunk = stored(TEXT)
    const changed = Buffer.from(TEXT)
    const store = new Map([[chunk.hex, changed]])
    const { image, reader } = openPuzzle(memorySource(imageOf(chunk, TEXT.length, false)), store)
    const { ref } = image.lookup(image.root, 'file')!
    const target = new Uint8Array(256 << 10)
    const readFirst = (): unknown => {
      let result: unknown
      image.extents(ref, 0, 1, {
        hole: () => {},
        file: () => {},
        block: (block) => (result = reader.readBlock(block, target)),
      })
      return result
    }
    expect(readFirst()).toBe(TEXT.length)
    changed[77] = (changed[77] ?? 0) ^ 1
    expect(readFirst).toThrow(/chunk [0-9a-f]{64} is damaged: its sha256 is/)
    changed[77] = (changed[77] ?? 0) ^ 1
    expect(readFirst()).toBe(TEXT.length)
  })

  test('a table of frames that is wrong is refused', () => {
    const good = seekable(TEXT)
    const changed = (change: (bytes: Buffer) => void): Buffer => {
      const bytes = Buffer.from(good)
      change(bytes)
      return bytes
    }
    const end = good.length
    for (const bytes of [
      Buffer.alloc(3),
      good.subarray(0, end - 1),
      good.subarray(1),
      changed((bytes) => bytes.writeUInt8(4, end - 5)),
      changed((bytes) => bytes.writeUInt8(0x80, end - 5)),
      changed((bytes) => bytes.writeUInt32LE(0xffff_ffff, end - 9)),
      changed((bytes) => bytes.writeUInt32LE(bytes.readUInt32LE(end - 9) - 1, end - 9)),
    ]) {
      expect(() => readSeekTable(bytes)).toThrow(FsError)
      // The blob has the digest that the image says: only the table is wrong.
      expect(read(stored(bytes), TEXT.length, true)).toBe('EIO')
    }
    const wrongSize = changed((bytes) =>
      bytes.writeUInt32LE(5000, end - 9 - 8 * Math.ceil(TEXT.length / 4096) + 4),
    )
    expect(read(stored(wrongSize), TEXT.length, true)).toBe('EIO')
    expect(read(stored(TEXT), TEXT.length, true)).toBe('EIO')
  })
})
