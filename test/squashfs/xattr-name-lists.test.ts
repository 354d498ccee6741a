import { describe, expect, test } from 'vitest'
import { type SetReader, XattrNameLists } from '../../squashfs/xattr-name-lists.ts'
import { FsError, Postponed, type Steps, Work } from '../../src/base/index.ts'

type Sets = readonly (readonly (string | undefined)[])[]

/** Reads sets of names, each pair of `size` bytes. @param trouble called before each pair */
function readerOf(
  sets: Sets,
  { size = 10, trouble = () => {} }: { size?: number; trouble?: () => void } = {},
) {
  let opened = 0
  const reader: SetReader = {
    open: (index) => {
      opened += 1
      let at = 0
      return () => {
        const names = sets[index] ?? []
        if (at >= names.length) return undefined
        trouble()
        return { name: names[at++], size }
      }
    },
  }
  return { reader, opened: () => opened }
}

function* nothing(): Steps {}
const postponed = () => new Postponed(new Work(nothing()))

const many = (count: number): string[][] =>
  Array.from({ length: count }, (_, i) => [`user.${i % 3}`, 'user.x'])

describe('names of all attributes', () => {
  test('a small table is looked at for the first question, once', () => {
    const { reader, opened } = readerOf([
      ['user.a', 'user.b'],
      [],
      ['user.a', 'user.b'],
      [undefined, 'security.c'],
    ])
    const lists = new XattrNameLists(4, reader, () => {})
    expect([...(lists.all() ?? [])]).toEqual(['user.a', 'user.b', 'security.c'])
    expect([0, 1, 2, 3].map((set) => lists.ofSet(set))).toEqual([
      ['user.a', 'user.b'],
      [],
      ['user.a', 'user.b'],
      ['security.c'],
    ])
    expect(lists.ofSet(0)).toBe(lists.ofSet(2))
    expect(lists.ofSet(4)).toBeUndefined()
    expect(opened()).toBe(4)
  })

  test('a large table is looked at when many questions have come', () => {
    const { reader, opened } = readerOf(many(1000))
    const lists = new XattrNameLists(1000, reader, () => {})
    for (let i = 0; i < 32; i += 1) expect(i % 2 === 0 ? lists.all() : lists.ofSet(i)).toBeUndefined()
    expect(opened()).toBe(0)
    expect(lists.ofSet(500)).toEqual(['user.2', 'user.x'])
    expect(lists.all()?.size).toBe(4)
    expect(opened()).toBe(1000)
  })

  test('a pass that is interrupted, by a pause or by bytes that are not at hand, goes on where it was', () => {
    const sets = many(60)
    const often = (every: number) => {
      let calls = 0
      return () => {
        calls += 1
        if (calls % every === 0) throw postponed()
      }
    }
    const { reader, opened } = readerOf(sets, { trouble: often(7) })
    const lists = new XattrNameLists(60, reader, often(5))
    let attempts = 0
    for (;;) {
      attempts += 1
      try {
        lists.all()
        break
      } catch (error) {
        if (!(error instanceof Postponed)) throw error
      }
    }
    expect(attempts).toBeGreaterThan(20)
    expect(opened()).toBe(60)
    expect(sets.map((_, set) => lists.ofSet(set))).toEqual(sets)
  })

  test('nothing is known of a table that is damaged, or larger than what is looked at', () => {
    const broken = readerOf(many(4), {
      trouble: () => {
        throw new FsError('EIO', 'broken')
      },
    })
    const long = [['user.a', 'n'.repeat(70_000)]]
    for (const [count, { reader, opened }] of [
      [4, broken],
      [65_536, readerOf(many(65_536))],
      [4, readerOf(many(4), { size: 2 << 20 })],
      [1, readerOf(long)],
      [1, readerOf([Array<string>((1 << 18) + 1).fill('')])],
    ] as const) {
      const lists = new XattrNameLists(count, reader, () => {})
      for (let i = 0; i < 40; i += 1) {
        expect(lists.all()).toBeUndefined()
        expect(lists.ofSet(0)).toBeUndefined()
      }
      // It is tried once.
      expect(opened()).toBeLessThanOrEqual(4)
    }
  })
})
