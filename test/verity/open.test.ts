import { describe, expect, test } from 'vitest'
import type { ByteSource } from '../../src/base/index.ts'
import {
  decodeVeritySuperblock,
  encodeVeritySuperblock,
  findVeritySuperblock,
  openVerity,
  type VeritySuperblock,
} from '../../src/verity/index.ts'
import { failureOf, MemorySource, pattern, type VerityImage, verityImage } from './support.ts'

const SALT = Uint8Array.of(9, 8, 7)

function small(): VerityImage {
  return verityImage(pattern(5 * 4096), { salt: SALT })
}

function forge(image: VerityImage, change: Partial<VeritySuperblock>): MemorySource {
  const bytes = image.source.bytes.slice()
  bytes.set(encodeVeritySuperblock({ ...image.superblock, ...change }), image.hashOffset)
  return new MemorySource(bytes)
}

function attempt(image: VerityImage, source: ByteSource = image.source, dataLength = 5 * 4096) {
  return openVerity({ source, rootHash: image.rootHash, dataLength })
}

describe('root hash', () => {
  test('a root hash opens an image in upper and lower case', () => {
    const image = small()
    const rootHash = image.rootHash.toUpperCase()
    expect(openVerity({ source: image.source, rootHash, dataLength: 20480 }).table.rootHash).toBe(
      image.rootHash,
    )
  })

  test.each([
    ['', 'EINVAL', /not hexadecimal/],
    ['xyz', 'EINVAL', /not hexadecimal/],
    ['abc', 'EINVAL', /not hexadecimal/],
    ['ab'.repeat(20), 'EIO', /has 20 bytes, sha256 of the superblock has 32/],
    ['ab'.repeat(32), 'EIO', /root hash does not match/],
  ])('the root hash %j is refused', (rootHash, code, message) => {
    const error = failureOf(() => openVerity({ source: small().source, rootHash, dataLength: 20480 }))
    expect(error.code).toBe(code)
    expect(error.message).toMatch(message)
  })

  test('the root hash of a single block is the digest of the data', () => {
    const image = verityImage(pattern(4096), { salt: SALT })
    expect(attempt(image, image.source, 4096).size).toBe(4096)
    image.source.flip(4000)
    expect(failureOf(() => attempt(image, image.source, 4096)).message).toMatch(/root hash does not match/)
  })
})

describe('a forged superblock', () => {
  test.each<[string, Partial<VeritySuperblock>, RegExp]>([
    ['salt', { salt: Uint8Array.of(9, 8, 6) }, /root hash does not match/],
    ['longer salt', { salt: Uint8Array.of(9, 8, 7, 0) }, /root hash does not match/],
    ['no salt', { salt: new Uint8Array() }, /root hash does not match/],
    ['hash type', { hashType: 0 }, /root hash does not match/],
    ['algorithm of the same length', { algorithm: 'sha3-256' }, /root hash does not match/],
    ['algorithm of another length', { algorithm: 'sha1' }, /root hash has 32 bytes, sha1/],
    ['data blocks, one more', { dataBlocks: 6 }, /lies inside/],
    ['data blocks, one less', { dataBlocks: 4 }, /covers 16384 bytes .* the image uses 20480/],
    ['data block size', { dataBlockSize: 2048 }, /covers 10240 bytes/],
    ['hash block size', { hashBlockSize: 512 }, /root hash does not match/],
    ['huge', { dataBlocks: 2 ** 40 }, /the file has/],
    ['tree beyond the file', { dataBlocks: 5, hashBlockSize: 65536 }, /tree ends at byte/],
  ])('%s is refused when opened', (_what, change, message) => {
    const image = small()
    const error = failureOf(() => attempt(image, forge(image, change)))
    expect(error.code).toBe('EIO')
    expect(error.message).toMatch(message)
  })

  test('a flipped byte of the superblock is refused or changes nothing that is hashed', () => {
    const image = small()
    for (let at = 0; at < 512; at += 1) {
      const source = new MemorySource(image.source.bytes.slice())
      source.flip(image.hashOffset + at)
      // UUID; after the salt size: padding, unused room for salt, padding.
      const harmless = (at >= 16 && at < 32) || (at >= 82 && at < 88) || at >= 91
      // Bytes after the end of the algorithm's name do not belong to it.
      const afterName = at > 38 && at < 64
      if (harmless || afterName) expect(attempt(image, source).size).toBe(5 * 4096)
      else expect(failureOf(() => attempt(image, source)).code).toBe('EIO')
    }
  })

  test('a superblock with fewer data blocks cannot pass off the root block as data', () => {
    const image = small()
    const { hashOffset, source } = image
    const bytes = source.bytes.slice()
    // The root block in front, as the single data block of a tree without levels: its digest is the root hash.
    bytes.copyWithin(0, hashOffset + 4096, hashOffset + 8192)
    bytes.set(encodeVeritySuperblock({ ...image.superblock, dataBlocks: 1 }), hashOffset)
    const error = failureOf(() => attempt(image, new MemorySource(bytes)))
    expect(error.message).toMatch(/covers 4096 bytes/)
  })
})

describe('the length of the data', () => {
  const lengthField = (source: ByteSource) => {
    const bytes = new Uint8Array(4)
    source.readInto(40, bytes)
    return Buffer.from(bytes).readUInt32LE()
  }

  function withLength(): VerityImage {
    const data = pattern(5 * 4096)
    Buffer.from(data.buffer).writeUInt32LE(5 * 4096 - 100, 40)
    return verityImage(data, { salt: SALT })
  }

  test('the length of the data is read again from verified bytes', () => {
    const { source, rootHash } = withLength()
    expect(openVerity({ source, rootHash, dataLength: lengthField }).size).toBe(5 * 4096)
  })

  test('a length of the data that differs in the verified bytes is refused', () => {
    const { source, rootHash } = withLength()
    let calls = 0
    const reader = (from: ByteSource) => {
      calls += 1
      return calls === 1 ? lengthField(from) - 8 : lengthField(from)
    }
    const error = failureOf(() => openVerity({ source, rootHash, dataLength: reader }))
    expect(error.message).toMatch(/said 20372 bytes used, its verified bytes say 20380/)
  })

  test('a length of the data that is damaged on disk fails in the data block', () => {
    const { source, rootHash } = withLength()
    source.flip(40)
    const error = failureOf(() => openVerity({ source, rootHash, dataLength: lengthField }))
    expect(error.message).toMatch(/data block 0 at byte 0: expected/)
  })

  test.each([-1, 1.5, Number.NaN, 2 ** 60])('the data length %d is refused', (dataLength) => {
    const { source, rootHash } = small()
    const error = failureOf(() => openVerity({ source, rootHash, dataLength, hashOffset: 5 * 4096 }))
    expect(error.message).toMatch(/data length/)
  })

  test('an image of a builder with 64 KiB pages is refused because its end is not covered', () => {
    // 100 KiB of data; data_blocks = 1 whole page of 64 KiB, superblock at 100 KiB, tree at 128 KiB.
    const covered = verityImage(pattern(65536), { dataBlockSize: 65536, hashBlockSize: 65536, salt: SALT })
    const bytes = new Uint8Array(131072)
    bytes.set(pattern(102400))
    bytes.set(encodeVeritySuperblock(covered.superblock), 102400)
    const source = new MemorySource(bytes)
    const error = failureOf(() => openVerity({ source, rootHash: covered.rootHash, dataLength: 102400 }))
    expect(error.message).toMatch(/covers 65536 bytes .* uses 102400; .*64 KiB pages.*rebuild/)
    expect(
      openVerity({ source, rootHash: covered.rootHash, dataLength: 65536, hashOffset: 102400 }).size,
    ).toBe(65536)
  })
})

describe('the place of the hash tree', () => {
  test('findVeritySuperblock finds the superblock at the first 4 KiB boundary after the data, and nowhere else', () => {
    const image = small()
    const found = { hashOffset: 5 * 4096, superblock: image.superblock }
    for (const length of [4 * 4096 + 1, 5 * 4096 - 1, 5 * 4096]) {
      expect(findVeritySuperblock(image.source, length)).toEqual(found)
    }
    expect(findVeritySuperblock(image.source, 5 * 4096 + 1)).toBeUndefined()
    expect(findVeritySuperblock(new MemorySource(pattern(5 * 4096)), 5 * 4096)).toBeUndefined()
    expect(findVeritySuperblock(new MemorySource(pattern(9 * 4096)), 5 * 4096)).toBeUndefined()
  })

  test('the superblock is found behind an image that is padded to its own block size', () => {
    const image = verityImage(pattern(20000), { dataBlockSize: 16384, hashBlockSize: 16384, salt: SALT })
    expect(findVeritySuperblock(image.source, 20000)?.hashOffset).toBe(32768)
    expect(attempt(image, image.source, 20000).size).toBe(32768)
  })

  test('a damaged superblock is an error, not an absent superblock', () => {
    const image = small()
    image.source.flip(image.hashOffset + 64)
    expect(failureOf(() => findVeritySuperblock(image.source, 5 * 4096)).code).toBe('EIO')
  })

  test('a root hash for an image without verity data is refused', () => {
    const source = new MemorySource(pattern(5 * 4096))
    const error = failureOf(() => openVerity({ source, rootHash: 'ab'.repeat(32), dataLength: 5 * 4096 }))
    expect(error.message).toMatch(/a root hash is given, but there is no verity superblock at byte 20480/)
  })

  test('a file cut anywhere in superblock or tree fails with EIO', () => {
    const image = small()
    for (const cut of [1, 512, 4096, 4097, 7000, 8191]) {
      const source = new MemorySource(image.source.bytes.subarray(0, image.source.size - cut))
      expect(failureOf(() => attempt(image, source)).code).toBe('EIO')
    }
  })

  test('an image opens with a hash tree in a file of its own, without a superblock', () => {
    const image = small()
    const data = new MemorySource(image.source.bytes.slice(0, 5 * 4096))
    const hashSource = new MemorySource(image.source.bytes.slice(image.hashOffset + 4096))
    const options = { source: data, hashSource, rootHash: image.rootHash, dataLength: 5 * 4096 }
    const verified = openVerity({ ...options, hashOffset: 0, parameters: image.superblock })
    const target = new Uint8Array(9000)
    verified.readInto(5000, target)
    expect(Buffer.from(target)).toEqual(Buffer.from(pattern(5 * 4096).subarray(5000, 14000)))
    expect(failureOf(() => openVerity({ ...options, parameters: image.superblock })).code).toBe('EINVAL')
    const unaligned = { ...options, hashOffset: 512, parameters: image.superblock }
    expect(failureOf(() => openVerity(unaligned)).message).toMatch(/no multiple of the hash block size/)
    data.flip(8192)
    expect(failureOf(() => verified.readInto(8192, target)).message).toMatch(/data block 2 /)
  })

  test.each([-512, 100, 2 ** 60, Number.NaN, 1 << 30])('the hash offset %d is refused', (hashOffset) => {
    const { source, rootHash } = small()
    expect(failureOf(() => openVerity({ source, rootHash, hashOffset, dataLength: 1 })).message).toMatch(
      /superblock/,
    )
  })
})

test('the returned superblock is the one that was written', () => {
  const { source, hashOffset, superblock } = small()
  expect(decodeVeritySuperblock(source.bytes.subarray(hashOffset, hashOffset + 512))).toEqual(superblock)
})
