import { describe, expect, test } from 'vitest'
import type { SquashfsImage } from '../../../squashfs/image.ts'
import { type ByteSource, Postponed, Work } from '../../../src/base/index.ts'
import { Random } from '../../library/trees/random.ts'
import { type BuiltImage, open } from '../support/builder.ts'
import {
  CountingCodec,
  equalNames,
  holes,
  indexedNames,
  manyNames,
  manyValues,
} from '../support/long-walks.ts'
import { MemorySource } from '../support/sources.ts'

const MOST_TRIES = 100_000

function* nothing(): Generator<'more', void> {}

/** The outcome of a request that is handled again for as long as it is postponed. */
function handled(request: () => unknown): { outcome: unknown; tries: number } {
  for (let tries = 1; tries < MOST_TRIES; tries++) {
    try {
      return { outcome: request(), tries }
    } catch (error) {
      if (!(error instanceof Postponed)) return { outcome: String(error), tries }
    }
  }
  throw new Error('postponed again and again')
}

/** The image twice: one whose walks and reads are interrupted whenever `chance` says, and one at hand. */
function both(built: BuiltImage, chances: { pause: number; read: number }, seed = 1) {
  const random = new Random(seed)
  let isFirst = true
  let reluctant = false
  const maybe = (chance: number): void => {
    if (reluctant && random.chance(chance)) throw new Postponed(new Work(nothing()))
  }
  const codec = new CountingCodec()
  const bytes = new MemorySource(built.bytes)
  const source: ByteSource = {
    size: bytes.size,
    label: 'far',
    readInto(position, target) {
      maybe(chances.read)
      bytes.readInto(position, target)
    },
  }
  const pause = (): void => {
    // As `Turn.pause`: each attempt gets on.
    if (!isFirst) maybe(chances.pause)
    isFirst = false
  }
  const far = open(built, { source, codec, pause })
  const near = open(built, { codec: new CountingCodec() })
  reluctant = true
  const ask = (request: (image: SquashfsImage) => unknown) => {
    codec.decoded = 0
    const expected = handled(() => request(near)).outcome
    const { outcome, tries } = handled(() => {
      isFirst = true
      return request(far)
    })
    expect(outcome).toEqual(expected)
    return { tries, decoded: codec.decoded, outcome }
  }
  return { ask, far, near }
}

function namesFrom(image: SquashfsImage, position: number, most: number): string[] {
  const cursor = image.openDirectory(image.root, position)
  const names: string[] = []
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
    names.push(entry.name)
    if (names.length >= most) break
  }
  return names
}

function firstBlock(image: SquashfsImage, offset: number): number | string {
  let found: number | string = 'hole'
  image.extents(0, offset, 1, {
    hole() {},
    file() {},
    block(block) {
      found = block.position
    },
  })
  return found
}

const BLOCK = 1 << 20
const ALWAYS = { pause: 1, read: 0 }
const SOMETIMES = { pause: 0.3, read: 0.2 }

describe.each([
  ['at each place where they may', ALWAYS],
  ['by chance, as their reads are', SOMETIMES],
])('walks that pause %s', (_, chances) => {
  test('through a block list end where they would, and walk nothing twice', () => {
    const blocks = 2 ** 21
    const built = holes(blocks, BLOCK, blocks - 5000)
    for (const first of ['read', 'data', 'hole'] as const) {
      const { ask } = both(built, chances)
      const requests = {
        read: (image: SquashfsImage) => firstBlock(image, blocks * BLOCK - 1),
        data: (image: SquashfsImage) => image.seek(0, 0, 'data'),
        hole: (image: SquashfsImage) => image.seek(0, (blocks - 5000) * BLOCK, 'hole'),
      }
      const { tries, decoded } = ask(requests[first])
      // Of some 1500 steps every sixteenth may pause.
      expect(tries).toBeGreaterThan(40)
      // 1024 metadata blocks; a checkpoint is never far.
      expect(decoded).toBeLessThan(2 * 1024)
      for (const request of Object.values(requests)) ask(request)
    }
  })

  test('through the names of a directory without an index', () => {
    const { ask } = both(manyNames(60_000), chances)
    for (const name of ['000059999', '000030000', '0000300', '000060000', '000000000']) {
      ask((image) => image.lookup(image.root, name))
      ask((image) => image.openDirectoryAt(image.root, name).next())
    }
    const { near } = both(manyNames(60_000), chances)
    const cursor = near.openDirectory(near.root, 0)
    for (let i = 0; i < 50_000; i++) cursor.next()
    const { tries } = both(manyNames(60_000), chances).ask((image) => namesFrom(image, cursor.position, 5))
    expect(tries).toBeGreaterThan(20)
  })

  test('through names that are all the same', () => {
    const { ask } = both(equalNames(60), chances)
    expect(ask((image) => namesFrom(image, 0, 5)).tries).toBeGreaterThan(20)
    ask((image) => image.lookup(image.root, 'a'))
    expect(ask((image) => image.lookup(image.root, 'b')).tries).toBeGreaterThan(20)
    expect(both(equalNames(120), chances).ask((image) => image.lookup(image.root, 'b')).outcome).toMatch(
      'not in order',
    )
  })

  test('through a large index', () => {
    const count = 3000
    const { ask } = both(indexedNames(count), chances)
    const last = String(count - 1).padStart(9, '0')
    expect(ask((image) => image.lookup(image.root, last)).tries).toBeGreaterThan(10)
    for (const name of ['000000000', '000001500', '0000015', '9']) {
      ask((image) => image.lookup(image.root, name))
      ask((image) => image.openDirectoryAt(image.root, name).next()?.name)
    }
  })

  test('through many attributes', () => {
    const count = 600
    const { ask } = both(manyValues(count, 3000), chances)
    expect(ask((image) => image.listxattr(0)).tries).toBeGreaterThan(50)
    for (const name of ['user.0', `user.${count - 1}`, 'user.none', 'user.300']) {
      ask((image) => image.getxattr(0, name))
      ask((image) => image.getxattr(0, name))
    }
  })
})
