import { describe, expect, test } from 'vitest'
import type { Codec } from '../../../src/codecs/index.ts'
import { crc64 } from '../../../src/codecs/lzma/crc64.ts'
import { CANDIDATES, openCandidate } from '../../../src/codecs/registry.ts'
import { hasXzTool, withSizeInHeader, xzTool } from '../compress.ts'
import { binaryBytes, randomSource } from '../samples.ts'

const SIZE = 64 * 1024

/** Words that every filter converts, among words it must leave alone. */
function branches(seed: number): Uint8Array {
  const next = randomSource(seed)
  const bytes = Buffer.alloc(SIZE)
  for (let at = 0; at < SIZE; at += 4) bytes.writeUInt32LE(next(), at)
  for (let at = 0; at < SIZE; at += 16) {
    const near = next() & 0x3ffff
    switch (next() % 8) {
      case 0: // x86: calls, close enough to overlap
        bytes[at + (next() % 4)] = 0xe8
        bytes[at + 4 + (next() % 3)] = 0xe9
        bytes.fill(next() & 1 ? 0 : 0xff, at + 8, at + 8 + (next() % 4))
        break
      case 1: // ARM and SPARC
        bytes[at + 3] = 0xeb
        bytes.writeUInt32BE((next() & 1 ? 0x40000000 : 0x7fc00000) | near, at + 8)
        break
      case 2: // Thumb, at 2 modulo 4
        bytes.writeUInt16LE(0xf000 | (next() & 0x7ff), at + 2)
        bytes.writeUInt16LE(0xf800 | (next() & 0x7ff), at + 4)
        break
      case 3: // PowerPC
        bytes.writeUInt32BE(0x48000001 | (near & ~3), at + 4)
        break
      case 4: // ARM64: bl and adrp
        bytes.writeUInt32LE((0x94000000 | near) >>> 0, at)
        bytes.writeUInt32LE(((next() & 1 ? 0x90000000 : 0x90f00000) | (near & 0x7ffff)) >>> 0, at + 8)
        break
      default: // IA-64: templates with branches, opcode 5 in each slot
        bytes[at] = (bytes[at]! & 0xe0) | (16 + (next() % 16))
        bytes[at + 5] = (bytes[at + 5]! & 0xc3) | 0x14
        bytes[at + 2] = bytes[at + 2]! & 0x3f
        bytes[at + 15] = (bytes[at + 15]! & 0x0f) | 0x50
        bytes[at + 12] = bytes[at + 12]! & 0x0f
    }
  }
  return bytes
}

const DATA: readonly Uint8Array[] = [
  branches(53),
  branches(59).subarray(0, SIZE - 3),
  binaryBytes(SIZE, 20 << 20),
  binaryBytes(SIZE + 1, (22 << 20) + 1),
  Uint8Array.of(0xe8, 0, 0, 0),
]
const FILTERS: readonly (readonly string[])[] = [
  ['--x86'],
  ['--powerpc'],
  ['--ia64'],
  ['--arm'],
  ['--armthumb'],
  ['--sparc'],
  ['--arm64'],
  ['--x86=start=4093'],
  ['--arm=start=65536'],
  ['--ia64=start=1048576'],
  ['--arm64=start=268435456'],
  ['--sparc=start=2147483648'],
  ['--x86', '--arm', '--powerpc'],
]

function codecsOf(name: 'xz' | 'lzma'): Codec[] {
  return CANDIDATES[name].map(openCandidate).filter((codec) => codec !== undefined)
}

function decodeAll(codec: Codec, stored: Uint8Array, room: number): Buffer {
  const output = new Uint8Array(room)
  return Buffer.from(output.buffer, 0, codec.decode(stored, output))
}

describe.skipIf(!hasXzTool())('xz (skipped only where there is no xz tool to compress with)', () => {
  test.each(FILTERS)('every xz decoder undoes the branch filters %s %s %s', (...filters) => {
    let converted = 0
    for (const [i, bytes] of DATA.entries()) {
      const options = ['--check=crc32', ...filters.filter((filter) => filter !== undefined)]
      const stored = xzTool(bytes, ...options, '--lzma2=preset=6')
      for (const codec of codecsOf('xz')) {
        expect(decodeAll(codec, stored, bytes.length).equals(bytes), `${codec.library}, sample ${i}`).toBe(
          true,
        )
      }
      // With the same data unfiltered the stream is another one: the filter had work to do.
      if (
        !Buffer.from(stored)
          .subarray(24)
          .equals(Buffer.from(xzTool(bytes, '--check=crc32')).subarray(24))
      )
        converted++
    }
    expect(converted).toBeGreaterThan(2)
  })

  test('an xz decoder without liblzma refuses and names a filter that is no branch filter', () => {
    const stored = xzTool(DATA[0]!, '--delta=dist=4', '--lzma2')
    expect(() => decodeAll(codecsOf('xz').at(-1)!, stored, SIZE)).toThrow(/filter 3 is not supported/)
  })

  test('an xz decoder notices every flipped bit in container and data', () => {
    const bytes = Buffer.from('the container of xz has a check for each of its parts. '.repeat(8))
    const stored = xzTool(bytes, '--check=crc32')
    for (const codec of codecsOf('xz')) {
      for (let bit = 0; bit < stored.length * 8; bit++) {
        const damaged = Uint8Array.from(stored)
        damaged[bit >> 3]! ^= 1 << (bit & 7)
        expect(() => decodeAll(codec, damaged, 1000), `${codec.library}, bit ${bit}`).toThrow(/^xz block/)
      }
    }
  })

  test('an lzma decoder refuses a header whose size is not the size of the data', () => {
    const bytes = Buffer.from('sizes in a header are claims, not facts. '.repeat(20))
    const stored = xzTool(bytes, '--format=lzma')
    for (const codec of codecsOf('lzma')) {
      expect(decodeAll(codec, withSizeInHeader(stored, bytes.length), 2000).equals(bytes)).toBe(true)
      for (const size of [0, 1, bytes.length - 1, bytes.length + 1, 2001, 2 ** 40]) {
        const label = `${codec.library}, size ${size}`
        expect(() => decodeAll(codec, withSizeInHeader(stored, size), 2000), label).toThrow(/^lzma block/)
      }
    }
  })

  test('an lzma decoder does not allocate a dictionary of 4 GiB because the header names one', () => {
    const bytes = Buffer.from('a hostile dictionary size. '.repeat(40))
    const stored = Buffer.from(xzTool(bytes, '--format=lzma'))
    stored.writeUInt32LE(0xffff_ffff, 1)
    for (const codec of codecsOf('lzma')) {
      const before = process.memoryUsage().rss
      expect(decodeAll(codec, stored, bytes.length).equals(bytes), codec.library).toBe(true)
      expect(process.memoryUsage().rss - before).toBeLessThan(64 << 20)
    }
  })
})

test('an lzma decoder reads data with a size and without an end marker, as the LZMA SDK writes it', () => {
  const stored = Buffer.from(
    'XQAAAQBiAQAAAAAAAAA5nEsCCGgtHDkiZ3wEl1fzgi5zDbARuWY1dzjcjmk65T4//pZBav3K2zMTfemvnH+EpGjfq/XoVSxxJHjtaAAA',
    'base64',
  )
  const text = 'squashfs stores lzma as 13 bytes of header and one stream; '.repeat(6)
  for (const codec of codecsOf('lzma')) {
    expect(decodeAll(codec, stored, 400).toString(), codec.library).toBe(text)
    for (let length = 0; length < stored.length; length++) {
      expect(() => decodeAll(codec, stored.subarray(0, length), 400), `${codec.library} ${length}`).toThrow(
        /lzma/,
      )
    }
  }
})

test('CRC-64 of the standard check string has the catalogued value', () => {
  expect(Buffer.from(crc64(Buffer.from('123456789'))).readBigUInt64LE()).toBe(0x995dc9bbdf1939fan)
})
