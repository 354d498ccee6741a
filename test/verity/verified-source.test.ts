import { describe, expect, test } from 'vitest'
import { type ByteSource, DamageError } from '../../src/base/index.ts'
import {
  type AppendVerityOptions,
  openVerity,
  treeGeometry,
  VerifiedSource,
  type VerityFailure,
} from '../../src/verity/index.ts'
import { failureOf, MemorySource, pattern, type VerityImage, verityImage } from './support.ts'

const SALT = Uint8Array.of(1, 2, 3, 4)

function open(
  image: VerityImage,
  more: { cacheBytes?: number; onFailure?: (f: VerityFailure) => void } = {},
) {
  return openVerity({ source: image.source, rootHash: image.rootHash, dataLength: image.hashOffset, ...more })
}

function image(blocks: number, options: AppendVerityOptions = {}): VerityImage {
  const { dataBlockSize = 512 } = options
  return verityImage(pattern(blocks * dataBlockSize), {
    dataBlockSize,
    hashBlockSize: 512,
    salt: SALT,
    ...options,
  })
}

describe('reading', () => {
  test.each([0, 1] as const)(
    'verified reads at all alignments equal the raw bytes, hash type %i',
    (hashType) => {
      const made = image(24, { hashType })
      const verified = open(made)
      const raw = made.source.bytes
      expect(verified.size).toBe(24 * 512)
      for (const position of [0, 1, 511, 512, 513, 1000, 1024, 24 * 512 - 1]) {
        for (const length of [0, 1, 2, 511, 512, 513, 1023, 1024, 1025, 2048, 5000]) {
          if (position + length > verified.size) continue
          // In the middle of a larger buffer: nothing outside the target may be touched.
          const around = new Uint8Array(length + 20).fill(0xa5)
          verified.readInto(position, around.subarray(10, 10 + length))
          expect(
            Buffer.compare(around.subarray(10, 10 + length), raw.subarray(position, position + length)),
          ).toBe(0)
          expect(around.subarray(0, 10).every((byte) => byte === 0xa5)).toBe(true)
          expect(around.subarray(10 + length).every((byte) => byte === 0xa5)).toBe(true)
        }
      }
    },
  )

  test('a verified source reads into shared memory', () => {
    const made = image(16)
    const target = new Uint8Array(new SharedArrayBuffer(3000))
    open(made).readInto(700, target)
    expect(Buffer.from(target)).toEqual(Buffer.from(made.source.bytes.subarray(700, 3700)))
  })

  test('a verified source reads whole blocks at once into the target, and each hash block once', () => {
    const made = image(64)
    const verified = open(made)
    made.source.reads = []
    verified.readInto(100, new Uint8Array(512 * 40))
    expect(made.source.reads.filter((read) => read.position < made.hashOffset)).toEqual([
      { position: 0, length: 512 },
      { position: 512, length: 39 * 512 },
      { position: 40 * 512, length: 512 },
    ])
    const hashReads = made.source.reads.filter((read) => read.position >= made.hashOffset)
    expect(new Set(hashReads.map((read) => read.position)).size).toBe(hashReads.length)
    expect(verified.counters).toEqual({ blocksChecked: 41, hashBlocksChecked: 4, failures: 0 })
  })

  test.each([
    [-1, 1],
    [0.5, 1],
    [Number.NaN, 1],
    [2 ** 60, 1],
    [64 * 512, 1],
    [64 * 512 - 1, 2],
    [0, 64 * 512 + 1],
  ])('a read at %d of %d bytes outside the tree is EIO, never zeros', (position, length) => {
    const made = image(64)
    const verified = open(made)
    made.source.reads = []
    const error = failureOf(() => verified.readInto(position, new Uint8Array(length)))
    expect(error.code).toBe('EIO')
    expect(error.message).toMatch(/outside the 32768 bytes that the hash tree covers/)
    expect(made.source.reads).toEqual([])
  })

  test('the error for large blocks mentions builders with large pages', () => {
    const made = image(2, { dataBlockSize: 65536, hashBlockSize: 65536 })
    const error = failureOf(() => open(made).readInto(131072, new Uint8Array(1)))
    expect(error.message).toMatch(/64 KiB pages/)
  })
})

describe('damage', () => {
  test('a flipped byte anywhere in a data block is EIO for that block only', () => {
    for (const offset of [0, 255, 511]) {
      const made = image(40)
      const failures: VerityFailure[] = []
      const verified = open(made, { onFailure: (failure) => failures.push(failure) })
      made.source.flip(17 * 512 + offset)
      const target = new Uint8Array(3 * 512).fill(9)
      const error = failureOf(() => verified.readInto(16 * 512, target))
      expect(error).toBeInstanceOf(DamageError)
      expect(error).toMatchObject({ code: 'EIO', image: 'memory', position: 8704 })
      expect(error.message).toMatch(
        /^layer memory: data block 17 at byte 8704: expected [0-9a-f]{64} got [0-9a-f]{64}$/,
      )
      expect(target.every((byte) => byte === 0)).toBe(true)
      expect(failures).toHaveLength(1)
      expect(failures[0]).toMatchObject({
        kind: 'data',
        label: 'memory',
        level: undefined,
        block: 17,
        position: 8704,
      })
      expect(failures[0]!.expected).not.toBe(failures[0]!.actual)
      expect(failureOf(() => verified.readInto(17 * 512 + 300, new Uint8Array(1))).code).toBe('EIO')
      verified.readInto(16 * 512, new Uint8Array(512))
      verified.readInto(18 * 512, new Uint8Array(512))
      expect(verified.counters.failures).toBe(2)
    }
  })

  test('a flip in any byte of the tree is found at its level', () => {
    const made = image(304)
    const table = open(made).table
    const { levels, hashesPerBlock, treeEnd } = treeGeometry(table, 32, table.treeOffset)
    expect(levels.map((level) => level.blocks)).toEqual([19, 2, 1])
    expect(treeEnd).toBe(made.source.size)
    for (let position = table.treeOffset; position < treeEnd; position += 37) {
      const level = levels.findIndex(
        ({ start, blocks }) => position >= start && position < start + blocks * 512,
      )
      const index = Math.floor((position - levels[level]!.start) / 512)
      made.source.flip(position)
      const failures: VerityFailure[] = []
      const error = failureOf(() => {
        const verified = open(made, { onFailure: (failure) => failures.push(failure) })
        verified.readInto(index * hashesPerBlock ** (level + 1) * 512, new Uint8Array(1))
      })
      made.source.flip(position)
      expect(error.code).toBe('EIO')
      expect(error.message).toMatch(
        level === 2 ? /root hash does not match/ : new RegExp(`hash block ${index} of level ${level}`),
      )
      expect(failures).toEqual([expect.objectContaining({ kind: 'hash', level, block: index })])
    }
  })

  test('a block exchanged for another good one is refused', () => {
    const made = image(40)
    const verified = open(made)
    made.source.bytes.copyWithin(512, 1024, 1536)
    expect(failureOf(() => verified.readInto(512, new Uint8Array(10))).message).toMatch(/data block 1 /)
  })

  test('an unreadable hash block is EIO and is read again by the next read', () => {
    const made = image(40)
    const verified = open(made)
    made.source.unreadable.add(treeGeometry(verified.table, 32, verified.table.treeOffset).levels[0]!.start)
    const target = new Uint8Array(512).fill(9)
    expect(failureOf(() => verified.readInto(0, target)).message).toMatch(/is unreadable/)
    expect(target.every((byte) => byte === 0)).toBe(true)
    made.source.unreadable.clear()
    verified.readInto(0, target)
  })
})

describe('a file that changes', () => {
  test.each([
    [0, 512],
    [100, 200],
    [512, 1024],
  ])('a file changed between read and use gives the verified bytes (%i, %i bytes)', (position, length) => {
    const made = image(40)
    const good = made.source.bytes.slice(position, position + length)
    const verified = open(made)
    // The hash block is cached first, so that the data is all that is read.
    verified.readInto(0, new Uint8Array(1))
    made.source.afterRead = () => made.source.bytes.fill(0xff)
    const target = new Uint8Array(length)
    verified.readInto(position, target)
    expect(Buffer.compare(target, good)).toBe(0)
    expect(failureOf(() => verified.readInto(position, target)).code).toBe('EIO')
  })

  test('verified hash blocks stay good when the tree is overwritten, and other hash blocks are refused', () => {
    const made = image(304)
    const verified = open(made)
    verified.readInto(0, new Uint8Array(16 * 512))
    made.source.bytes.fill(0, made.hashOffset)
    verified.readInto(512, new Uint8Array(512))
    expect(failureOf(() => verified.readInto(200 * 512, new Uint8Array(1))).message).toMatch(/hash block/)
  })
})

describe('the cache', () => {
  test('the cache of hash blocks stays within its limit, and reads are correct without one', () => {
    const made = image(600)
    for (const cacheBytes of [0, 511, 512, 1500, 1 << 20]) {
      const verified = open(made, { cacheBytes })
      const target = new Uint8Array(1)
      for (let i = 0; i < 2000; i += 1) {
        const position = (i * 7919 * 512 + i) % verified.size
        verified.readInto(position, target)
        expect(target[0]).toBe(made.source.bytes[position])
        expect(verified.cachedBytes).toBeLessThanOrEqual(cacheBytes)
      }
      const blocks = 38 + 3 + 1
      if (cacheBytes === 1 << 20) expect(verified.counters.hashBlocksChecked).toBe(blocks)
      else expect(verified.counters.hashBlocksChecked).toBeGreaterThan(blocks)
    }
  })
})

test('a verity table crosses a structured clone, and another instance reads by it', () => {
  const made = image(40)
  const table = structuredClone(open(made).table)
  const other = new VerifiedSource({ source: new MemorySource(made.source.bytes), table })
  const target = new Uint8Array(5000)
  other.readInto(3, target)
  expect(Buffer.from(target)).toEqual(Buffer.from(made.source.bytes.subarray(3, 5003)))
})

describe('data at hand', () => {
  /** A verified image of 64 blocks, 16 hashes a hash block, whose source has only the bytes that `has` accepts. */
  function partly(has: (position: number) => boolean) {
    const made = image(64)
    const asked: [number, number][] = []
    const source: ByteSource = {
      size: made.source.size,
      label: 'partly',
      readInto: (position, target) => made.source.readInto(position, target),
      isAtHand: (position) => has(position),
      willNeed: (position, length) => asked.push([position, length]),
    }
    const verified = openVerity({ source, rootHash: made.rootHash, dataLength: made.hashOffset })
    return { verified, asked, treeOffset: verified.table.treeOffset, hashOffset: made.hashOffset }
  }

  test('a verified range is at hand only with the hash blocks it is compared with', () => {
    const { hashOffset } = image(64)
    expect(partly(() => true).verified.isAtHand(5000, 3000)).toBe(true)
    expect(partly((position) => position >= hashOffset).verified.isAtHand(5000, 3000)).toBe(false)
    const { verified } = partly((position) => position < hashOffset)
    expect(verified.isAtHand(5000, 3000)).toBe(false)
    // Reading keeps the hash blocks of these data blocks in memory; those of others stay away.
    verified.readInto(0, new Uint8Array(512))
    expect(verified.isAtHand(100, 1000)).toBe(true)
    expect(verified.isAtHand(40 * 512, 512)).toBe(false)
  })

  test('willNeed asks for whole blocks and their hash blocks', () => {
    const { verified, asked, treeOffset } = partly(() => true)
    verified.willNeed(17 * 512 + 5, 20 * 512)
    // The tree of two levels begins with its root; data blocks 17 to 37 have their hashes in blocks 1 and 2.
    expect(asked).toEqual([
      [17 * 512, 21 * 512],
      [treeOffset + 2 * 512, 2 * 512],
    ])
  })
})
