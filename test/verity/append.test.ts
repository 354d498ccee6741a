import { closeSync, openSync, readFileSync, statSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { appendVerityData, type HashType, openVerity } from '../../src/verity/index.ts'
import { failureOf, MemorySource, pattern, verityImage, withFile } from './support.ts'

const COUNT_TO_32 = Uint8Array.from({ length: 32 }, (_, i) => i + 1)

test.each<[string, HashType, number, number, Uint8Array, number, string]>([
  [
    'sha256',
    1,
    4096,
    4096,
    COUNT_TO_32,
    20,
    '724989f559f2d7fe7c3cb01894fb81496b1bb371e2aa80d034e7eef587ebffb8',
  ],
  [
    'sha256',
    1,
    4096,
    4096,
    COUNT_TO_32,
    1,
    'f301c93658e5db97b85d598b4ffb84a61c55cc25e76c7f6eff1b46d4d55edbfb',
  ],
  ['sha1', 0, 1024, 512, new Uint8Array(5).fill(0xab), 300, '84be8a8f2bb09a090eeccc8ef8331152e85ad419'],
  ['sha1', 1, 512, 512, new Uint8Array(), 304, 'f948090ce3914bdd45530fc606afd45c413cc444'],
  [
    'sha512',
    0,
    4096,
    1024,
    COUNT_TO_32,
    129,
    '1bebe979e0b0c2a7776b6846d8c08f1d9e0a26b464ba0d81e13e0ef76811ca825b36ad1a02245d17266e3bb7fdb1f89deb699e8c38ffb1867cbd190c60263ac6',
  ],
  [
    'sha384',
    0,
    512,
    4096,
    new Uint8Array(256).fill(0xcd),
    104,
    '3d9f6b0d0d81e5e166551339b69593fd288cfefa19067ed79bd17fd8e1478ccea98361ebb0b69353b58785bc95d218db',
  ],
])('root hash of veritysetup 2.6.1: %s, type %i, blocks of %i and %i', (...args) => {
  const [algorithm, hashType, dataBlockSize, hashBlockSize, salt, blocks, rootHash] = args
  const options = { algorithm, hashType, dataBlockSize, hashBlockSize, salt }
  const image = verityImage(pattern(blocks * dataBlockSize), options)
  expect(image.superblock.dataBlocks).toBe(blocks)
  expect(image.rootHash).toBe(rootHash)
})

describe('the file that gets a hash tree', () => {
  test('appending a hash tree pads the file with zeros to 4 KiB, and the tree covers the padding', () => {
    const data = pattern(5000)
    const { source, hashOffset, superblock, rootHash } = verityImage(data)
    expect(hashOffset).toBe(8192)
    expect(superblock).toMatchObject({ algorithm: 'sha256', hashType: 1, dataBlocks: 2, dataBlockSize: 4096 })
    expect(superblock.salt.byteLength).toBe(32)
    expect(superblock.uuid).toMatch(/^[0-9a-f-]{36}$/)
    const verified = openVerity({ source, rootHash, dataLength: 5000 })
    const target = new Uint8Array(8192).fill(1)
    verified.readInto(0, target)
    expect(Buffer.compare(target.subarray(0, 5000), data)).toBe(0)
    expect(target.subarray(5000).every((byte) => byte === 0)).toBe(true)
  })

  test('appending a hash tree chooses random salt and UUID', () => {
    const [first, second] = [verityImage(pattern(10)), verityImage(pattern(10))]
    expect(first.rootHash).not.toBe(second.rootHash)
    expect(first.superblock.uuid).not.toBe(second.superblock.uuid)
  })

  test('appending a hash tree keeps the bytes of a file whose length is already padded', () => {
    const { hashOffset, source } = verityImage(pattern(8192), { dataLength: 5000 })
    expect(hashOffset).toBe(8192)
    expect(Buffer.compare(source.bytes.subarray(0, 8192), pattern(8192))).toBe(0)
  })

  test('a hash tree is appended by descriptor, which stays open, and progress is reported', () => {
    withFile(pattern(3 << 20), (path) => {
      const fd = openSync(path, 'r+')
      try {
        const seen: number[] = []
        const { rootHash } = appendVerityData(fd, { onProgress: (done, total) => seen.push(done / total) })
        expect(seen).toEqual([1 / 3, 2 / 3, 1])
        const source = new MemorySource(new Uint8Array(readFileSync(path)))
        expect(openVerity({ source, rootHash, dataLength: 3 << 20 }).size).toBe(3 << 20)
        expect(failureOf(() => appendVerityData(fd, { dataLength: 3 << 20 })).code).toBe('EEXIST')
      } finally {
        closeSync(fd)
      }
    })
  })

  test('the file has its former length after appending a hash tree has failed', () => {
    withFile(pattern(5000), (path) => {
      const fail = () => {
        throw new Error('enough')
      }
      expect(() => appendVerityData(path, { onProgress: fail })).toThrow('enough')
      expect(statSync(path).size).toBe(5000)
      expect(Buffer.compare(readFileSync(path), pattern(5000))).toBe(0)
    })
  })

  test.each([
    ['algorithm', { algorithm: 'md5' }, 'EIO'],
    ['salt', { salt: new Uint8Array(257) }, 'EIO'],
    ['data block size', { dataBlockSize: 1000 }, 'EIO'],
    ['hash block size', { hashBlockSize: 256 }, 'EIO'],
    ['uuid', { uuid: 'none' }, 'EINVAL'],
    ['data length beyond the file', { dataLength: 5001 }, 'EINVAL'],
    ['no data', { dataLength: 0 }, 'EINVAL'],
    ['fractions of bytes', { dataLength: 0.5 }, 'EINVAL'],
  ])('the file is left unchanged if the %s is wrong', (_what, options, code) => {
    withFile(pattern(5000), (path) => {
      expect(failureOf(() => appendVerityData(path, options)).code).toBe(code)
      expect(statSync(path).size).toBe(5000)
    })
  })

  test('appending a hash tree refuses a file that is missing, empty or read-only', () => {
    withFile(new Uint8Array(), (path) => {
      expect(failureOf(() => appendVerityData(`${path}.absent`)).code).toBe('ENOENT')
      expect(failureOf(() => appendVerityData(path)).code).toBe('EINVAL')
    })
    withFile(pattern(5000), (path) => {
      const fd = openSync(path, 'r')
      try {
        expect(() => appendVerityData(fd)).toThrow()
        expect(statSync(path).size).toBe(5000)
      } finally {
        closeSync(fd)
      }
    })
  })
})
