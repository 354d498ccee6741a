import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { blockDigest, toHex } from '../../src/verity/block-digest.ts'
import {
  algorithmNames,
  dataBlocksUnder,
  findAlgorithm,
  type HashType,
  roundUp,
  treeGeometry,
  treeOffsetAfter,
} from '../../src/verity/index.ts'
import { failureOf } from './support.ts'

function geometry(
  hashType: HashType,
  dataBlocks: number,
  hashBlockSize: number,
  digestSize: number,
  offset = 0,
) {
  const parameters = { hashType, algorithm: 'x', dataBlockSize: 4096, hashBlockSize, dataBlocks }
  return treeGeometry({ ...parameters, salt: new Uint8Array() }, digestSize, offset)
}

test.each([
  // hash block, digest: digests per block, bytes from one to the next in type 1
  [4096, 32, 128, 32],
  [4096, 20, 128, 32],
  [4096, 28, 128, 32],
  [4096, 48, 64, 64],
  [4096, 64, 64, 64],
  [512, 64, 8, 64],
  [512, 20, 16, 32],
  [1024, 48, 16, 64],
  [65536, 32, 2048, 32],
])('hash block %i with digests of %i bytes holds %i digests', (size, digest, perBlock, slot) => {
  expect(geometry(1, 1000, size, digest)).toMatchObject({ hashesPerBlock: perBlock, slotSize: slot })
  expect(geometry(0, 1000, size, digest)).toMatchObject({ hashesPerBlock: perBlock, slotSize: digest })
})

test.each([
  [1, []],
  [2, [1]],
  [127, [1]],
  [128, [1]],
  [129, [2, 1]],
  [128 * 128, [128, 1]],
  [128 * 128 + 1, [129, 2, 1]],
  [1310720, [10240, 80, 1]],
])('a tree over %i data blocks has the levels %j', (dataBlocks, counts) => {
  const { levels, treeEnd } = geometry(1, dataBlocks, 4096, 32, 8192)
  expect(levels.map((level) => level.blocks)).toEqual(counts)
  // Root first: each level begins where the one above ends.
  let end = 8192
  for (const level of [...levels].reverse()) {
    expect(level.start).toBe(end)
    end += level.blocks * 4096
  }
  expect(treeEnd).toBe(end)
})

test('the largest image has a tree of 14 levels, and a tree that ends beyond 2^53 is refused', () => {
  const { levels, coveredBytes } = geometry(1, 2 ** 41 - 1, 512, 64)
  expect(coveredBytes).toBe(2 ** 53 - 4096)
  expect(levels.length).toBe(14)
  expect(failureOf(() => geometry(1, 2 ** 41 - 1, 65536, 32, 2 ** 53 - 65536)).message).toMatch(/2\^53/)
})

test('each hash block covers its share of the data blocks', () => {
  const tree = geometry(1, 1e6, 4096, 32)
  expect([0, 1, 2].map((level) => dataBlocksUnder(tree, level))).toEqual([128, 16384, 2097152])
})

test('the hash tree begins at the next hash block of the file', () => {
  expect(treeOffsetAfter(4096, 512)).toBe(4608)
  expect(treeOffsetAfter(4096, 4096)).toBe(8192)
  expect(treeOffsetAfter(4096, 65536)).toBe(65536)
  expect(treeOffsetAfter(65536, 65536)).toBe(131072)
  expect(treeOffsetAfter(3584, 4096)).toBe(4096)
  expect(failureOf(() => geometry(1, 2, 4096, 32, 512)).code).toBe('EIO')
  expect(failureOf(() => geometry(1, 2, 4096, 32, Number.NaN)).code).toBe('EIO')
})

test('rounding to blocks is exact above 2^32', () => {
  expect(roundUp(0, 4096)).toBe(0)
  expect(roundUp(2 ** 52 + 1, 4096)).toBe(2 ** 52 + 4096)
})

test('the digest of a block is that of salt and block for every algorithm', () => {
  const salt = Buffer.from('a salt')
  const block = Buffer.alloc(512, 'block ')
  for (const name of algorithmNames()) {
    const algorithm = findAlgorithm(name)!
    const hash = (...parts: Buffer[]) =>
      createHash(algorithm.cryptoName).update(Buffer.concat(parts)).digest('hex')
    for (const bytes of [block, new Uint8Array(new SharedArrayBuffer(512)).fill(7)]) {
      const text = Buffer.from(bytes)
      expect(toHex(blockDigest(algorithm, 1, salt, 512)(bytes))).toBe(hash(salt, text))
      expect(toHex(blockDigest(algorithm, 0, salt, 512)(bytes))).toBe(hash(text, salt))
      expect(hash(salt, text).length).toBe(algorithm.digestSize * 2)
    }
  }
})

test('a digest refuses a block of another size', () => {
  const digest = blockDigest(findAlgorithm('sha256')!, 1, new Uint8Array(), 512)
  expect(() => digest(new Uint8Array(511))).toThrow(RangeError)
})
