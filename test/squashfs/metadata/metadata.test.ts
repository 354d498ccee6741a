import { deflateSync, inflateSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { MetadataCache } from '../../../squashfs/metadata/metadata-cache.ts'
import { MetadataCursor, TAKE_MAX } from '../../../squashfs/metadata/metadata-cursor.ts'
import { MetadataReader } from '../../../squashfs/metadata/metadata-reader.ts'
import {
  blockOf,
  describeRef,
  offsetOf,
  referenceAt,
  refOf,
} from '../../../squashfs/metadata/metadata-reference.ts'
import { MetadataTable } from '../../../squashfs/metadata/metadata-table.ts'
import { FsError, viewOf } from '../../../src/base/index.ts'
import type { Codec } from '../../../src/codecs/index.ts'
import { cat, u16, u32 } from '../support/bytes.ts'
import { MemorySource } from '../support/sources.ts'

const ZLIB: Codec = {
  name: 'gzip',
  tier: 'portable',
  library: 'test',
  decode(input, output) {
    try {
      const decoded = inflateSync(input, { maxOutputLength: output.length })
      output.set(decoded)
      return decoded.length
    } catch (error) {
      throw new FsError('EIO', 'inflate', { cause: error })
    }
  },
}

const FIRST = Uint8Array.from({ length: 8192 }, (_, i) => (i * 7 + (i >> 8)) & 0xff)
const SECOND = Uint8Array.from({ length: 100 }, (_, i) => 200 - i)
const PLAIN = cat(u16(0x8000 | 8192), FIRST, u16(0x8000 | 100), SECOND)

function tableOf(bytes: Uint8Array, end = bytes.length, cache = new MetadataCache()): MetadataTable {
  return new MetadataTable(new MetadataReader(new MemorySource(bytes), ZLIB, cache, 'img'), 0, end, 'table')
}

function eio(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof FsError && error.code === 'EIO') return error.message
    throw error
  }
  throw new Error('no error')
}

test('a metadata record that crosses two blocks is read whole', () => {
  const cursor = new MetadataCursor(tableOf(PLAIN), 0, 8189)
  const at = cursor.take(5)
  expect([...cursor.bytes.subarray(at, at + 5)]).toEqual([...FIRST.subarray(8189), ...SECOND.subarray(0, 2)])
  expect([cursor.blockPosition, cursor.offset]).toEqual([8194, 2])
  const next = cursor.take(2)
  expect(cursor.view.getUint8(next)).toBe(SECOND[2])
})

test('skip and copy cross metadata blocks, and a used-up block counts as the start of the next', () => {
  const cursor = new MetadataCursor(tableOf(PLAIN), 0, 0)
  cursor.skip(8192)
  expect([cursor.blockPosition, cursor.offset]).toEqual([8194, 0])
  cursor.seek(0, 8190)
  expect([...cursor.copy(4)]).toEqual([...FIRST.subarray(8190), ...SECOND.subarray(0, 2)])
})

test('a metadata offset at or past the decoded length is EIO (squashfuse issue 158)', () => {
  const table = tableOf(PLAIN)
  expect(eio(() => new MetadataCursor(table, 8194, 100))).toMatch(/offset 100.*100 bytes/)
  expect(eio(() => new MetadataCursor(table, 0, 65535))).toMatch(/offset 65535/)
  const inside = new MetadataCursor(table, 8194, 99)
  expect(inside.view.getUint8(inside.take(1))).toBe(SECOND[99])
})

test('metadata outside the legal range of the table is not read', () => {
  const table = tableOf(PLAIN, 8194)
  expect(eio(() => table.block(8194))).toMatch(/outside 0\.\.8194/)
  expect(eio(() => table.block(-1))).toMatch(/outside/)
  const cursor = new MetadataCursor(table, 0, 8190)
  expect(eio(() => cursor.take(3))).toMatch(/past the end/)
  expect(eio(() => tableOf(PLAIN, 8193).block(0))).toMatch(/stored size 8192/)
  expect(eio(() => tableOf(PLAIN, 1).block(0))).toMatch(/past the end/)
})

test.each([
  ['empty', u16(0x8000)],
  ['empty, compressed', u16(0)],
  ['larger than a block', cat(u16(0x8000 | 8193), new Uint8Array(8193))],
  ['not what the codec expects', cat(u16(4), Uint8Array.of(1, 2, 3, 4))],
  [
    'decodes to too much',
    cat(u16(deflateSync(new Uint8Array(8193)).length), deflateSync(new Uint8Array(8193))),
  ],
])('a metadata block that is %s is EIO', (_name, bytes) => {
  expect(eio(() => tableOf(bytes).block(0))).toMatch(/^img: table: metadata block at 0/)
})

test('a compressed metadata block of full size is decoded', () => {
  const stored = deflateSync(FIRST)
  const block = tableOf(cat(u16(stored.length), stored)).block(0)
  expect(block.length).toBe(8192)
  expect(Buffer.compare(block.bytes, FIRST)).toBe(0)
})

test('a failed read leaves the metadata cache unchanged, and the next read may succeed', () => {
  const bytes = PLAIN.slice()
  let fail = true
  const memory = new MemorySource(bytes)
  const source = {
    size: bytes.length,
    label: 'flaky',
    readInto(position: number, target: Uint8Array) {
      if (fail) throw new FsError('EIO', 'disk')
      memory.readInto(position, target)
    },
  }
  const cache = new MetadataCache()
  const table = new MetadataTable(new MetadataReader(source, ZLIB, cache, 'img'), 0, bytes.length, 't')
  expect(eio(() => table.block(0))).toBe('disk')
  expect(cache.cost).toBe(0)
  fail = false
  expect(table.block(0).length).toBe(8192)
})

test('one metadata cache serves several images, stays within its bound and keeps recently used blocks', () => {
  const cache = new MetadataCache(40 * 1024)
  const tables = [0, 1, 2].map(() => tableOf(PLAIN, PLAIN.length, cache))
  const first = tables.map((table) => table.block(0))
  for (const table of tables) expect(table.block(8194).bytes[1]).toBe(SECOND[1])
  expect(cache.cost).toBeLessThanOrEqual(40 * 1024)
  expect(tables[2]!.block(0)).toBe(first[2])
  const again = tables[0]!.block(0)
  expect(again).not.toBe(first[0])
  expect(Buffer.compare(again.bytes, FIRST)).toBe(0)
})

test('a metadata cache that was emptied holds nothing, and its images read as before', () => {
  const cache = new MetadataCache()
  const tables = [0, 1].map(() => tableOf(PLAIN, PLAIN.length, cache))
  const first = tables.map((table) => [table.block(0), table.block(8194)])
  cache.clear()
  expect(cache.cost).toBe(0)
  for (const [i, table] of tables.entries()) {
    expect(table.block(0)).not.toBe(first[i]![0])
    expect(Buffer.compare(table.block(0).bytes, FIRST)).toBe(0)
    expect(table.block(8194).bytes[1]).toBe(SECOND[1])
  }
  expect(cache.cost).toBeGreaterThan(4 * 8192)
})

test('a record longer than the cursor can put together is a bug of the caller', () => {
  const crossing = new MetadataCursor(tableOf(PLAIN), 0, 8191)
  expect(crossing.take(50)).toBe(0)
  expect(() => crossing.take(TAKE_MAX + 1)).toThrow('bug: 513 bytes')
})

test('a stored reference has its offset below and its block above', () => {
  const view = viewOf(cat(u16(0x1234), u32(0x8765_4321), u16(1)))
  expect(referenceAt(view, 0)).toEqual({ block: 0x1_8765_4321, offset: 0x1234 })
  const ref = refOf(5, 77)
  expect([blockOf(ref), offsetOf(ref), describeRef(ref)]).toEqual([5, 77, '5:77'])
})
