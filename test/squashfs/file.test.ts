import { expect, test } from 'vitest'
import type { SquashfsImage } from '../../squashfs/image.ts'
import { type BlockRef, FsError } from '../../src/base/index.ts'
import {
  BLOCK_SIZE,
  type BuiltImage,
  build,
  directoryInode,
  extendedFileInode,
  fileInode,
  open,
  run,
  withRoot,
} from './support/builder.ts'
import { MemorySource, NO_CODEC, readRange } from './support/sources.ts'

const PLAIN = 1 << 24
const ONE_ENTRY = run(1, [{ name: 'f', offset: 0, type: 2 }])

type Piece = { hole: number } | { block: BlockRef; from: number; length: number }

function pieces(image: SquashfsImage, offset: number, length: number): Piece[] {
  const found: Piece[] = []
  image.extents(0, offset, length, {
    hole: (count) => found.push({ hole: count }),
    block: (block, from, count) => found.push({ block, from, length: count }),
    file: () => {
      throw new Error('no host files')
    },
  })
  return found
}

function code(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
  return 'none'
}

const CONTENT = Uint8Array.from({ length: 3 * BLOCK_SIZE }, (_, i) => (i * 31 + (i >> 7)) & 0xff)

/** block, hole, hole, block, tail end of 100 bytes at 50 in a fragment that is stored after the blocks. */
const MIXED: BuiltImage = withRoot(
  [
    fileInode(1, {
      start: 96,
      fragment: 0,
      fragmentOffset: 50,
      size: 4 * BLOCK_SIZE + 100,
      blocks: [PLAIN | BLOCK_SIZE, 0, 0, PLAIN | BLOCK_SIZE],
    }),
  ],
  ONE_ENTRY,
  { data: CONTENT, fragments: [{ start: 96 + 2 * BLOCK_SIZE, stored: PLAIN | 4000 }] },
)
const MIXED_CONTENT = Buffer.concat([
  CONTENT.subarray(0, BLOCK_SIZE),
  new Uint8Array(2 * BLOCK_SIZE),
  CONTENT.subarray(BLOCK_SIZE, 2 * BLOCK_SIZE),
  CONTENT.subarray(2 * BLOCK_SIZE + 50, 2 * BLOCK_SIZE + 150),
])

test('extents describe blocks, a hole as one piece, and the tail end', () => {
  expect(pieces(open(MIXED), 10, 1e9)).toEqual([
    {
      block: { source: 7, position: 96, storedSize: 4096, kindBits: 1, maxSize: 4096 },
      from: 10,
      length: 4086,
    },
    { hole: 8192 },
    {
      block: { source: 7, position: 4192, storedSize: 4096, kindBits: 1, maxSize: 4096 },
      from: 0,
      length: 4096,
    },
    {
      block: { source: 7, position: 8288, storedSize: 4000, kindBits: 1, maxSize: 4096 },
      from: 50,
      length: 100,
    },
  ])
})

test('a read of every range gives the same bytes as a slice', () => {
  const image = open(MIXED)
  const source = new MemorySource(MIXED.bytes)
  const edges = [0, 1, 4095, 4096, 4097, 8191, 12287, 12288, 16383, 16384, 16385, 16483, 16484, 20000]
  for (const from of edges) {
    for (const to of edges.filter((edge) => edge >= from)) {
      const read = readRange(image, source, NO_CODEC, 0, from, to - from)
      expect(read.equals(MIXED_CONTENT.subarray(from, to)), `${from}..${to}`).toBe(true)
    }
  }
  expect(image.stat(0)).toMatchObject({ size: 16484, blocks: 33, blksize: 4096, nlink: 1 })
})

test('seek finds data and holes', () => {
  const image = open(MIXED)
  const end = 4 * BLOCK_SIZE + 100
  expect([0, 5, 4096, 9000, 12288, 16384, 16400].map((at) => image.seek(0, at, 'data'))).toEqual([
    0, 5, 12288, 12288, 12288, 16384, 16400,
  ])
  expect([0, 4096, 5000, 8200, 12288, 16400].map((at) => image.seek(0, at, 'hole'))).toEqual([
    4096,
    4096,
    5000,
    8200,
    end,
    end,
  ])
  expect(code(() => image.seek(0, end, 'data'))).toBe('ENXIO')
  expect(code(() => image.seek(0, end, 'hole'))).toBe('ENXIO')
  const sparse = open(withRoot([extendedFileInode(1, { size: 9000, blocks: [0, 0, 0] })], ONE_ENTRY))
  expect(code(() => sparse.seek(0, 0, 'data'))).toBe('ENXIO')
  expect(sparse.seek(0, 0, 'hole')).toBe(0)
  expect(pieces(sparse, 0, 1e6)).toEqual([{ hole: 9000 }])
})

test('extents are refused for a directory and a negative or fractional position, and are empty past the end', () => {
  const image = open(MIXED)
  expect(code(() => image.extents(image.root, 0, 1, { hole() {}, block() {}, file() {} }))).toBe('EISDIR')
  expect(code(() => pieces(image, -1, 5))).toBe('EINVAL')
  expect(code(() => pieces(image, 0.5, 5))).toBe('EINVAL')
  expect(pieces(image, 4 * BLOCK_SIZE + 100, 10)).toEqual([])
})

/** 60 000 blocks in a table of 30 metadata blocks: 1 byte each stored, every 7th a hole. */
const MANY = 60_000
const STORED = Array.from({ length: MANY }, (_, i) => (i % 7 === 3 ? 0 : PLAIN | (1 + (i % 5))))

test('every place in a long block list is found in any order', () => {
  const positions: number[] = []
  let at = 96
  for (const stored of STORED) {
    positions.push(at)
    at += stored & 0xffffff
  }
  const file = extendedFileInode(1, { start: 96, size: MANY * BLOCK_SIZE, blocks: STORED })
  const root = directoryInode(2, { size: ONE_ENTRY.length })
  const image = open(build({ data: new Uint8Array(at), inodes: [file, root], directories: ONE_ENTRY }))
  let seed = 12345
  for (let i = 0; i < 400; i++) {
    seed = (seed * 1103515245 + 12345) % 2147483648
    const block = i < 50 ? i * 3 : seed % MANY
    const [piece] = pieces(image, block * BLOCK_SIZE, 10)
    if (STORED[block] === 0) expect(piece).toEqual({ hole: 10 })
    else expect(piece).toMatchObject({ block: { position: positions[block] } })
  }
})

test.each([
  ['larger than a block', { blocks: [PLAIN | 4097] }],
  ['with unknown bits', { blocks: [0x0200_0000 | 100] }],
  ['uncompressed with no bytes', { blocks: [PLAIN] }],
  ['behind the data area', { start: 96 + CONTENT.length - 10, blocks: [PLAIN | 100] }],
  ['far outside', { start: 0xffff_f000, blocks: [PLAIN | 100] }],
])('a block stored %s is EIO', (_name, file) => {
  const image = open(withRoot([fileInode(1, { start: 96, size: 50, ...file })], ONE_ENTRY, { data: CONTENT }))
  expect(code(() => pieces(image, 0, 50))).toBe('EIO')
  // And stays so: an error leaves no half-done walk behind.
  expect(code(() => pieces(image, 0, 50))).toBe('EIO')
})

test('a block list that runs past the inode table is EIO', () => {
  const image = open(
    withRoot([fileInode(1, { start: 96, size: 10 * BLOCK_SIZE })], ONE_ENTRY, { data: CONTENT }),
  )
  expect(code(() => pieces(image, 9 * BLOCK_SIZE, 1))).toBe('EIO')
})

test('decoding less than announced, or more than allowed, is EIO', () => {
  const image = open(
    withRoot([fileInode(1, { start: 96, size: 4000, blocks: [PLAIN | 100] })], ONE_ENTRY, { data: CONTENT }),
  )
  const source = new MemorySource(CONTENT)
  expect(code(() => readRange(image, source, NO_CODEC, 0, 0, 4000))).toBe('EIO')
  const compressed = open(
    withRoot([fileInode(1, { start: 96, size: 4000, blocks: [100] })], ONE_ENTRY, { data: CONTENT }),
  )
  const tooLong = { ...NO_CODEC, decode: () => 4097 }
  expect(code(() => readRange(compressed, source, tooLong, 0, 0, 4000))).toBe('EIO')
  expect(code(() => readRange(compressed, source, NO_CODEC, 0, 0, 4000))).toBe('EIO')
})
