import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { fsVerityDigest, HashedSource, hashSource } from '../../src/verity/index.ts'
import { MemorySource } from './support.ts'

describe('the fs-verity digest of a file', () => {
  test('is that of the kernel documentation: a descriptor over a tree of sha256', () => {
    expect(fsVerityDigest(Buffer.from('hello\n'))).toBe(
      '9c76eecc7b76fcb46199cb27b90cf59a660e10575bb0412128905129d5b1c2aa',
    )
    expect(fsVerityDigest(Buffer.alloc(0))).toBe(
      '3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95',
    )
  })

  test('of a file that is read in pieces is the same as of one in memory, for every size around a level', () => {
    for (const size of [1, 4095, 4096, 4097, 128 * 4096, 128 * 4096 + 1, (1 << 20) + 7, 3 << 20]) {
      const bytes = randomBytes(size)
      const { digest, fsVerity } = hashSource(new MemorySource(bytes), 'sha256')
      expect(digest).toBe(createHash('sha256').update(bytes).digest('hex'))
      expect(fsVerity).toBe(fsVerityDigest(bytes))
    }
  })
})

describe('a file that was hashed as a whole', () => {
  const bytes = randomBytes(3 * 4096 + 100)

  test('gives the same bytes from any place', () => {
    const below = new MemorySource(Buffer.from(bytes))
    const { blocks } = hashSource(below, 'sha256')
    const source = new HashedSource({ source: below, blocks })
    for (const [position, length] of [
      [0, bytes.length],
      [0, 4096],
      [4000, 200],
      [bytes.length - 1, 1],
      [4096, bytes.length - 4096],
      [8192, 0],
    ] as const) {
      const target = new Uint8Array(length)
      source.readInto(position, target)
      expect(Buffer.from(target).equals(bytes.subarray(position, position + length))).toBe(true)
    }
    expect(() => source.readInto(bytes.length, new Uint8Array(1))).toThrow(/outside/)
  })

  test('that changes gives EIO where it has changed, and counts it', () => {
    const below = new MemorySource(Buffer.from(bytes))
    const { blocks } = hashSource(below, 'sha256')
    const counters = { blocksChecked: 0, hashBlocksChecked: 0, failures: 0 }
    const failures: number[] = []
    const onFailure = ({ position }: { readonly position: number }): void => void failures.push(position)
    const source = new HashedSource({ source: below, blocks, counters, onFailure })
    below.flip(bytes.length - 1)
    const target = new Uint8Array(10).fill(7)
    expect(() => source.readInto(bytes.length - 20, target)).toThrow(/data block 3 at byte 12288: expected/)
    expect(target).toEqual(new Uint8Array(10))
    source.readInto(0, new Uint8Array(4096))
    expect(failures).toEqual([12288])
    expect(counters).toEqual({ blocksChecked: 2, hashBlocksChecked: 0, failures: 1 })
  })
})
