import { expect, test } from 'vitest'
import {
  algorithmNames,
  decodeVeritySuperblock,
  encodeVeritySuperblock,
  findAlgorithm,
  VERITY_SUPERBLOCK_SIZE,
} from '../../src/verity/index.ts'
import { failureOf } from './support.ts'

// Each field with a value of its own.
const VALID = Buffer.concat([
  Buffer.from('verity\0\0', 'latin1'), //                        0 signature
  Buffer.from('01000000', 'hex'), //                             8 version 1
  Buffer.from('00000000', 'hex'), //                            12 hash type 0
  Buffer.from('00112233445566778899aabbccddeeff', 'hex'), //    16 uuid
  Buffer.from('sha512'.padEnd(32, '\0'), 'latin1'), //          32 algorithm
  Buffer.from('00200000', 'hex'), //                            64 data block size 8192
  Buffer.from('00040000', 'hex'), //                            68 hash block size 1024
  Buffer.from('0504030201000000', 'hex'), //                    72 data blocks 0x0102030405
  Buffer.from('0300', 'hex'), //                                80 salt size 3
  Buffer.alloc(6, 0xee), //                                     82 padding, ignored
  Buffer.from('a1a2a3', 'hex'), //                              88 salt
  Buffer.alloc(253, 0xdd), //                                      room for salt, ignored
  Buffer.alloc(168, 0xcc), //                                  344 padding, ignored
])

function withBytes(position: number, bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(VALID)
  copy.set(bytes, position)
  return copy
}

test('every field of the verity superblock is decoded', () => {
  expect(VALID.byteLength).toBe(VERITY_SUPERBLOCK_SIZE)
  // At an odd place of a larger buffer, as pooled buffers are.
  const pooled = new Uint8Array(600)
  pooled.set(VALID, 5)
  expect(decodeVeritySuperblock(pooled.subarray(5, 517))).toEqual({
    uuid: '00112233-4455-6677-8899-aabbccddeeff',
    hashType: 0,
    algorithm: 'sha512',
    dataBlockSize: 8192,
    hashBlockSize: 1024,
    dataBlocks: 0x0102030405,
    salt: Uint8Array.of(0xa1, 0xa2, 0xa3),
  })
})

test('every proper prefix of the verity superblock is EIO', () => {
  for (let length = 0; length < VALID.byteLength; length += 1) {
    expect(failureOf(() => decodeVeritySuperblock(VALID.subarray(0, length))).code).toBe('EIO')
  }
})

test('an encoded verity superblock decodes to the same fields, and unused bytes are zero', () => {
  const superblock = decodeVeritySuperblock(VALID)
  const encoded = encodeVeritySuperblock(superblock)
  expect(decodeVeritySuperblock(encoded)).toEqual(superblock)
  expect(Buffer.compare(encoded.subarray(0, 82), VALID.subarray(0, 82))).toBe(0)
  expect(encoded.subarray(82, 88).every((byte) => byte === 0)).toBe(true)
  expect(encoded.subarray(91).every((byte) => byte === 0)).toBe(true)
})

const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer)
const u64 = (value: bigint) => Buffer.from(BigUint64Array.of(value).buffer)
const name = (text: string) => Buffer.from(text.padEnd(32, '\0'), 'latin1')

test.each([
  ['signature', 0, Buffer.from('VERITY\0\0', 'latin1'), /no signature/],
  ['end of the signature', 7, Buffer.of(1), /no signature/],
  ['version 0', 8, u32(0), /version 0/],
  ['version 2', 8, u32(2), /version 2/],
  ['hash type 2', 12, u32(2), /hash type 2/],
  ['hash type of 32 bits', 12, u32(0x8000_0000), /hash type 2147483648/],
  ['no algorithm', 32, name(''), /empty or has no end/],
  ['algorithm without an end', 32, Buffer.alloc(32, 0x61), /empty or has no end/],
  ['unknown algorithm', 32, name('crc32'), /"crc32" is none of/],
  ['md5', 32, name('md5'), /"md5" is none of/],
  ['algorithm with a length of its own', 32, name('shake128'), /"shake128" is none of/],
  ['name of the prototype chain', 32, name('constructor'), /is none of/],
  ['data block size 0', 64, u32(0), /data block size 0/],
  ['data block size 256', 64, u32(256), /data block size 256/],
  ['data block size 4095', 64, u32(4095), /data block size 4095/],
  ['data block size 131072', 64, u32(131072), /data block size 131072/],
  ['data block size 2^31', 64, u32(0x8000_0000), /data block size 2147483648/],
  ['hash block size 0', 68, u32(0), /hash block size 0/],
  ['hash block size 768', 68, u32(768), /hash block size 768/],
  ['hash block size 131072', 68, u32(131072), /hash block size 131072/],
  ['no data blocks', 72, u64(0n), /0 data blocks/],
  ['2^64-1 data blocks', 72, u64(0xffff_ffff_ffff_ffffn), /2\^53/],
  ['2^53 bytes of data', 72, u64(2n ** 40n), /2\^53/],
  ['salt of 257 bytes', 80, Buffer.of(1, 1), /salt of 257/],
])('a verity superblock with a wrong field is refused: %s', (_what, position, bytes, message) => {
  const error = failureOf(() => decodeVeritySuperblock(withBytes(position, bytes)))
  expect(error.code).toBe('EIO')
  expect(error.message).toMatch(message)
})

test('a verity superblock at the legal limits is accepted', () => {
  expect(decodeVeritySuperblock(withBytes(72, u64(2n ** 40n - 1n))).dataBlocks).toBe(2 ** 40 - 1)
  expect(decodeVeritySuperblock(withBytes(80, Buffer.of(0, 1))).salt.byteLength).toBe(256)
  expect(decodeVeritySuperblock(withBytes(80, Buffer.of(0, 0))).salt.byteLength).toBe(0)
  expect(decodeVeritySuperblock(withBytes(64, u32(512))).dataBlockSize).toBe(512)
  expect(decodeVeritySuperblock(withBytes(68, u32(65536))).hashBlockSize).toBe(65536)
})

test('the hash algorithms have the digest sizes of their definitions', () => {
  expect(algorithmNames()).toContain('sha256')
  for (const known of algorithmNames()) {
    const algorithm = findAlgorithm(known.toUpperCase())
    expect(algorithm?.name).toBe(known)
  }
})

test('a malformed UUID is not written to a verity superblock', () => {
  const superblock = { ...decodeVeritySuperblock(VALID), uuid: '00112233-4455-6677-8899-aabbccddee' }
  expect(failureOf(() => encodeVeritySuperblock(superblock)).code).toBe('EINVAL')
})
