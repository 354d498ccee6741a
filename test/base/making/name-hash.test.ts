import { expect, test } from 'vitest'
import { newNameHash } from '../../../src/base/index.ts'

const names = Array.from({ length: 20_000 }, (_, i) => Buffer.from(`file-${i}`))

test('a hash depends on every byte of the name, its length, the directory and the key', () => {
  const hash = newNameHash(Uint32Array.of(0x03020100, 0x07060504))
  const seen = new Set<number>()
  for (const name of ['', '\0', '\0\0', 'a', 'a\0', 'abc', 'abcd', 'abcde', 'abcdefgh', 'n'.repeat(255)]) {
    for (const parent of [0, 1, 2 ** 26]) seen.add(hash(parent, Buffer.from(name)))
  }
  expect(seen.size).toBe(30)
  const bytes = Buffer.from('some name of a file')
  const before = hash(7, bytes)
  for (let at = 0; at < bytes.length; at++) {
    bytes[at]! ^= 0x80
    expect(hash(7, bytes)).not.toBe(before)
    bytes[at]! ^= 0x80
  }
  expect(hash(7, bytes)).toBe(before)
  expect(newNameHash(Uint32Array.of(0x03020100, 0x07060505))(7, bytes)).not.toBe(before)
})

test('names spread over a table, whatever the key', () => {
  for (let round = 0; round < 5; round++) {
    const hash = newNameHash()
    const slots = new Set(names.map((name) => hash(round, name) & 0xffff))
    // Of 65 536 places, 20 000 take some 17 240 by chance.
    expect(slots.size).toBeGreaterThan(17_000)
    expect(slots.size).toBeLessThan(17_500)
  }
})

test('names that fall together in one table are apart in another', () => {
  const hash = newNameHash(Uint32Array.of(1, 2))
  const together = names.filter((name) => (hash(0, name) & 0xff) === 5)
  expect(together.length).toBeGreaterThan(40)
  const other = newNameHash(Uint32Array.of(3, 4))
  expect(new Set(together.map((name) => other(0, name) & 0xff)).size).toBeGreaterThan(20)
})
