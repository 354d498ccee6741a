import { expect, test } from 'vitest'
import { readCompressorOptions } from '../../squashfs/compressor-options.ts'
import { SUPERBLOCK_FLAGS, type Superblock } from '../../squashfs/superblock.ts'
import { FsError } from '../../src/base/index.ts'
import type { CompressorName } from '../../src/codecs/index.ts'
import { open, run, withRoot } from './support/builder.ts'
import { cat, u16, u32 } from './support/bytes.ts'
import { MemorySource } from './support/sources.ts'

const SUPERBLOCK = open(withRoot([], run(1, []))).superblock

/** Reads the options block `bytes` behind a superblock that announces it, with 40 bytes before the tables. */
function read(compressor: CompressorName, bytes: Uint8Array | undefined): unknown {
  const flags = bytes === undefined ? 0 : SUPERBLOCK_FLAGS.compressorOptions
  const superblock: Superblock = { ...SUPERBLOCK, compressor, flags, inodeTable: 96 + 40 }
  const image = cat(new Uint8Array(96), bytes ?? new Uint8Array(0), new Uint8Array(40))
  try {
    return readCompressorOptions(new MemorySource(image), superblock)
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
}

const eight = (first: Uint8Array, second: Uint8Array): Uint8Array => cat(u16(0x8008), first, second)

test('the options of each compressor are decoded', () => {
  expect(read('gzip', cat(u16(0x8008), u32(9), u16(15), u16(3)))).toEqual({
    compressionLevel: 9,
    windowSize: 15,
    strategies: 3,
  })
  expect(read('lzo', eight(u32(4), u32(8)))).toEqual({ algorithm: 4, compressionLevel: 8 })
  expect(read('xz', eight(u32(0x18000), u32(5)))).toEqual({ dictionarySize: 0x18000, filters: 5 })
  expect(read('xz', eight(u32(0x8000_0000), u32(0)))).toEqual({ dictionarySize: 0x8000_0000, filters: 0 })
  expect(read('lz4', eight(u32(1), u32(1)))).toEqual({ version: 1, flags: 1 })
  expect(read('zstd', cat(u16(0x8004), u32(22)))).toEqual({ compressionLevel: 22 })
})

test('only lz4 requires compressor options', () => {
  expect(read('zstd', undefined)).toEqual({})
  expect(read('lzma', undefined)).toEqual({})
  expect(read('lz4', undefined)).toBe('EIO')
})

test.each<[string, CompressorName, Uint8Array]>([
  ['gzip level 0', 'gzip', cat(u16(0x8008), u32(0), u16(15), u16(0))],
  ['gzip window', 'gzip', cat(u16(0x8008), u32(9), u16(16), u16(0))],
  ['lzo algorithm', 'lzo', eight(u32(5), u32(0))],
  ['xz dictionary 0', 'xz', eight(u32(0), u32(0))],
  ['xz dictionary of no allowed size', 'xz', eight(u32(0x14000), u32(0))],
  ['lz4 version', 'lz4', eight(u32(2), u32(0))],
  ['zstd level', 'zstd', cat(u16(0x8004), u32(23))],
  ['compressed', 'zstd', cat(u16(0x0004), u32(15))],
  ['too short', 'xz', cat(u16(0x8004), u32(0x8000), u32(0))],
])('%s is EIO', (_name, compressor, bytes) => {
  expect(read(compressor, bytes)).toBe('EIO')
})
