import { expect, test } from 'vitest'
import { BLOCK_LIST_MAX } from '../../../squashfs/block-list.ts'
import { LISTING_MAX, UNSORTED_MAX } from '../../../squashfs/directories/listing-walk.ts'
import type { SquashfsImage } from '../../../squashfs/image.ts'
import type { BlockRef } from '../../../src/base/index.ts'
import { type BuiltImage, open } from '../support/builder.ts'
import {
  CountingCodec,
  equalNames,
  holes,
  longAttribute,
  longIndex,
  longListing,
  manyNames,
} from '../support/long-walks.ts'

/** The image, and what it decodes for one request. */
function counted(built: BuiltImage): {
  image: SquashfsImage
  cost: (request: () => unknown) => { result: unknown; decoded: number }
} {
  const codec = new CountingCodec()
  const image = open(built, { codec })
  const cost = (request: () => unknown) => {
    codec.decoded = 0
    let result: unknown
    try {
      result = request()
    } catch (error) {
      result = String(error)
    }
    return { result, decoded: codec.decoded }
  }
  return { image, cost }
}

function firstBlock(image: SquashfsImage, offset: number): number | string {
  let found: BlockRef | undefined
  image.extents(0, offset, 1, {
    hole() {},
    file() {},
    block(block) {
      found = block
    },
  })
  return found?.position ?? 'hole'
}

const BLOCK = 1 << 20
// Some 16 times the metadata cache: 2^22 blocks in 2048 metadata blocks.
const BLOCKS = 2 ** 22

test('a long block list is walked once, both by reads and by seeks', () => {
  const size = BLOCKS * BLOCK
  const built = holes(BLOCKS, BLOCK, BLOCKS - 5000)
  const dataAt = (BLOCKS - 5000) * BLOCK
  for (const first of ['read', 'data', 'hole'] as const) {
    const { image, cost } = counted(built)
    const ask = {
      read: () => firstBlock(image, size - 1),
      data: () => image.seek(0, 0, 'data'),
      hole: () => image.seek(0, dataAt, 'hole'),
    }
    const expected = { read: 'hole', data: dataAt, hole: dataAt + BLOCK }
    expect(cost(ask[first])).toEqual({ result: expected[first], decoded: expect.any(Number) })
    cost(ask.read)
    for (const then of ['read', 'data', 'hole'] as const) {
      const { result, decoded } = cost(ask[then])
      expect(result, `${then} after ${first}`).toBe(expected[then])
      expect(decoded, `${then} after ${first}`).toBeLessThan(20)
    }
    expect(cost(() => firstBlock(image, dataAt)).result).toBe(96)
    expect(cost(() => image.seek(0, dataAt + BLOCK, 'data'))).toMatchObject({
      result: expect.stringContaining('no data after'),
    })
    expect(cost(() => image.seek(0, dataAt + BLOCK, 'data')).decoded).toBeLessThan(20)
  }
})

test('a block list beyond the bound is refused before it is walked, and one of 2^25 blocks is read', () => {
  const bound = BLOCK_LIST_MAX / 4
  const { image, cost } = counted(holes(bound + 2048, BLOCK))
  const size = (bound + 2048) * BLOCK
  expect(image.stat(0).size).toBe(size)
  for (const request of [
    () => firstBlock(image, size - 1),
    () => image.seek(0, 0, 'data'),
    () => image.seek(0, 0, 'hole'),
  ]) {
    const { result, decoded } = cost(request)
    expect(result).toMatch(`${bound + 2048} blocks, at most ${bound} are read`)
    expect(decoded).toBe(0)
  }
  const large = open(holes(2 ** 25, BLOCK), { codec: new CountingCodec() })
  expect(large.seek(0, 0, 'hole')).toBe(0)
  expect(firstBlock(large, 2 ** 25 * BLOCK - 1)).toBe('hole')
})

test('a directory of a million equal names lists one, and a lookup of another name gives up early', () => {
  const { image, cost } = counted(equalNames(1400))
  const before = cost(() => image.lookup(image.root, 'a'))
  expect(before.result).toMatchObject({ name: 'a', ref: 0 })
  const missing = cost(() => image.lookup(image.root, 'b'))
  expect(missing.result).toMatch(`more than ${UNSORTED_MAX} names are not in order`)
  expect(missing.decoded).toBeLessThan(100)
  const names: string[] = []
  const listed = cost(() => {
    const cursor = image.openDirectory(image.root, 0)
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) names.push(entry.name)
  })
  expect(names).toEqual(['a'])
  expect(listed.result).toMatch('are not in order, or the same')
})

test('a listing beyond the bound is refused, and one within it is read', () => {
  const { image, cost } = counted(longListing(LISTING_MAX + 1))
  for (const request of [
    () => image.lookup(image.root, 'b'),
    () => image.openDirectory(image.root, 0),
    () => image.openDirectoryAt(image.root, 'b'),
  ]) {
    expect(cost(request).result).toMatch(`listing of ${LISTING_MAX + 1} bytes, at most ${LISTING_MAX}`)
  }
  const within = open(longListing(LISTING_MAX))
  expect(within.lookup(within.root, 'a')).toMatchObject({ ref: 0 })
})

test('a large directory without an index is walked once', () => {
  // 8 MiB of listing, 1600 metadata blocks.
  const count = 400_000
  const { image, cost } = counted(manyNames(count))
  const whole = cost(() => image.lookup(image.root, '000399999'))
  expect(whole.result).toMatchObject({ name: '000399999' })
  expect(whole.decoded).toBeGreaterThan(1500)
  for (const name of ['000399998x', '000000000', '000123456', '000200000', '000399999', '0003', '00039']) {
    const { result, decoded } = cost(() => image.lookup(image.root, name))
    if (name.length === 9) expect(result).toMatchObject({ name })
    else expect(result).toBeUndefined()
    expect(decoded, name).toBeLessThan(40)
    expect(image.openDirectoryAt(image.root, name).next()?.name).toBe(
      name.length === 9 ? name : name === '000399998x' ? '000399999' : name.padEnd(9, '0'),
    )
  }
  // By position as well, and not only where somebody stood lately.
  const cursor = image.openDirectory(image.root, 0)
  const places: { position: number; name: string }[] = []
  for (let i = 0; ; i++) {
    const { position } = cursor
    const entry = cursor.next()
    if (entry === undefined) break
    if (i % 12_345 === 0) places.push({ position, name: entry.name })
  }
  for (const { position, name } of places.toReversed()) {
    const { result, decoded } = cost(() => image.openDirectory(image.root, position).next()?.name)
    expect(result).toBe(name)
    expect(decoded).toBeLessThan(40)
  }
})

test('a value or an index name that is too large is refused before it is skipped', () => {
  const attribute = counted(longAttribute(10_000_000))
  for (const request of [
    () => attribute.image.getxattr(0, 'user.second'),
    () => attribute.image.getxattr(0, 'user.first'),
    () => attribute.image.listxattr(0),
  ]) {
    const { result, decoded } = attribute.cost(request)
    expect(result).toMatch('value of 10000000 bytes, at most 65536')
    expect(decoded).toBe(0)
  }
  const codec = new CountingCodec()
  const image = open(longIndex(10_000_000), { codec })
  expect(codec.decoded).toBe(0)
  expect(() => image.lookup(image.root, 'f')).toThrow(/a name of 10000000 bytes/)
})
