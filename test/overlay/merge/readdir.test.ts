import { describe, expect, test } from 'vitest'
import { stackOf } from '../../../overlay/merge/directory.ts'
import { MergeCursor } from '../../../overlay/merge/merge-cursor.ts'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import { ParkedCursors } from '../../../overlay/merge/parked-cursors.ts'
import { rootDirectory } from '../../../overlay/merge/root.ts'
import { ROOT_NODE_ID, S_IFREG } from '../../../src/base/index.ts'
import { errorWith } from '../../library/expectations.ts'
import { Random } from '../../library/trees/random.ts'
import { forgetAll, ListSink, listAll, names, nodeAt } from '../support/list.ts'
import { layer, MemoryLayer } from '../support/memory-layer.ts'

/** Lists in steps of `room` entries, each from the last cookie. */
function stepwise(tree: MergedTree, node: number, room: () => number, plus = false): string[] {
  const seen: string[] = []
  let cookie = 0
  for (;;) {
    const sink = new ListSink(plus, room())
    tree.readdir(node, cookie, sink)
    forgetAll(tree, sink.taken)
    const last = sink.taken.at(-1)
    if (last === undefined) return seen
    seen.push(...sink.taken.map(({ name }) => name))
    cookie = last.cookie
  }
}

const lettered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(6, '0')}`)

describe('listing', () => {
  const merged = () => [
    layer('low', 'a\nb\nd c 0 0\ne\ns/x'),
    layer('mid', '.wh.b\nc\nf'),
    layer('top', 'a\ns/y\nz'),
  ]

  test.each([1, 2, 3, 5])('a listing into a sink with room for %i loses no name and repeats none', (room) => {
    const tree = new MergedTree(merged())
    const all = ['.', '..', 'a', 'c', 'e', 'f', 's', 'z']
    for (const plus of [false, true]) expect(stepwise(tree, ROOT_NODE_ID, () => room, plus)).toEqual(all)
    const single = new MergedTree([layer('one', 'a\nb c 0 0\nc\n.wh.d\ne')])
    expect(stepwise(single, ROOT_NODE_ID, () => room)).toEqual(['.', '..', 'a', 'c', 'e'])
  })

  test('every cookie of a listing resumes after its entry, in any order', () => {
    const tree = new MergedTree(merged())
    for (const path of ['/', 's']) {
      const node = nodeAt(tree, path)
      const all = listAll(tree, node)
      expect(new Set(all.map(({ cookie }) => cookie)).size).toBe(all.length)
      expect(all.every(({ cookie }) => cookie > 0)).toBe(true)
      const random = new Random(7)
      for (let i = 0; i < 50; i++) {
        const from = random.int(0, all.length - 1)
        const rest = new ListSink(false, random.int(1, 4))
        tree.readdir(node, all[from]!.cookie, rest)
        expect(rest.taken).toEqual(all.slice(from + 1, from + 1 + rest.taken.length))
        expect(rest.taken.length > 0 || from === all.length - 1).toBe(true)
      }
    }
  })

  test('READDIRPLUS of a merged directory gives the entries of lookup', () => {
    const tree = new MergedTree(merged())
    const listed = listAll(tree, ROOT_NODE_ID, true)
    expect(listed.slice(0, 2).map(({ entry }) => entry)).toEqual([undefined, undefined])
    for (const { name, entry } of listed.slice(2)) expect(entry).toEqual(tree.lookup(ROOT_NODE_ID, name))
  })

  test('a damaged child is listed without an entry, and its lookup is EIO', () => {
    const [low, top] = [layer('low', 'a\nbad\nd/x\ndev c 1 1'), layer('top', 'd/y\nz')]
    for (const path of ['bad', 'dev']) low.damage(path)
    const tree = new MergedTree([low, top])
    const listed = listAll(tree, ROOT_NODE_ID, true).slice(2)
    expect(listed.map(({ name, entry }) => [name, entry !== undefined])).toEqual([
      ['a', true],
      ['bad', false],
      ['d', true],
      ['dev', false],
      ['z', true],
    ])
    for (const name of ['bad', 'dev']) {
      expect(() => tree.lookup(ROOT_NODE_ID, name)).toThrow(errorWith('EIO', /layer low/))
    }
  })

  test('a directory that is damaged in the middle gives the names before the damage, then EIO', () => {
    for (const layers of [[layer('low', 'a\nb\nc\nd')], [layer('low', 'a\nb\nc\nd'), layer('top', 'b')]]) {
      layers[0]!.brokenNames.add('c')
      const tree = new MergedTree(layers)
      const sink = new ListSink(false)
      tree.readdir(ROOT_NODE_ID, 0, sink)
      expect(sink.taken.map(({ name }) => name)).toEqual(['.', '..', 'a', 'b'])
      const again = () => tree.readdir(ROOT_NODE_ID, sink.taken.at(-1)!.cookie, new ListSink(false))
      expect(again).toThrow(errorWith('EIO', /layer low: entry c/))
      expect(again).toThrow(errorWith('EIO', /layer low: entry c/))
      layers[0]!.brokenNames.clear()
      expect(names(tree)).toEqual(['a', 'b', 'c', 'd'])
    }
  })

  test('names out of order are EIO in a merged directory, and listed as stored in one of a single layer', () => {
    const odd = layer('odd', 'd/b\nd/a\nd/c', { unsorted: true })
    expect(names(new MergedTree([odd]), 'd')).toEqual(['b', 'a', 'c'])
    const tree = new MergedTree([layer('low', 'd/z'), odd])
    const d = nodeAt(tree, 'd')
    expect(() => tree.readdir(d, 2, new ListSink(false))).not.toThrow()
    const sink = new ListSink(false)
    tree.readdir(d, 0, sink)
    expect(sink.taken.map(({ name }) => name)).toEqual(['.', '..', 'b'])
    expect(() => tree.readdir(d, sink.taken.at(-1)!.cookie, new ListSink(false))).toThrow(
      errorWith('EIO', /layer odd: directory 1: "a" follows "b"/),
    )
  })
})

describe('the cost of a listing', () => {
  const big = (label: string, prefix: string, count: number) => {
    const made = new MemoryLayer(label)
    for (const name of lettered(prefix, count)) made.add(0, name, { mode: S_IFREG | 0o644 })
    return made
  }

  test('a listing of 100 000 + 100 000 names reads each entry once and no inode', () => {
    const layers = [big('low', 'a', 100_000), big('top', 'b', 100_000)]
    const tree = new MergedTree(layers)
    const stats = layers.map(({ calls }) => calls.stat)
    const shown = stepwise(tree, ROOT_NODE_ID, () => 500)
    expect(shown.length).toBe(200_002)
    // One more call per layer for its end, and in the top one a look for `.wh.` names.
    expect(layers.map(({ calls }) => calls.next)).toEqual([100_001, 100_002])
    expect(layers.map(({ calls }) => calls.openDirectory)).toEqual([1, 1])
    expect(layers.map(({ calls }) => calls.lookup)).toEqual([0, 0])
    // `.` and `..` show the root's own number.
    expect(layers.map(({ calls }) => calls.stat)).toEqual([stats[0], stats[1]! + 1])
  })

  test('two listings of a directory at the same time do not restart each other', () => {
    const layers = [big('low', 'a', 2000), big('top', 'b', 2000)]
    const tree = new MergedTree(layers)
    const cookies = [0, 0]
    for (let step = 0; step < 45; step++) {
      for (const who of [0, 1]) {
        const sink = new ListSink(false, 100)
        tree.readdir(ROOT_NODE_ID, cookies[who]!, sink)
        cookies[who] = sink.taken.at(-1)?.cookie ?? cookies[who]!
      }
    }
    expect(cookies).toEqual([4002, 4002])
    expect(layers[0]!.calls.next + layers[1]!.calls.next).toBeLessThan(2 * 4000 + 400)
  })

  test('parked cursors are bounded, and a dropped cursor resumes at the same place', () => {
    const layers = [big('low', 'a', 50), big('top', 'b', 50)]
    const directory = rootDirectory(stackOf(layers), '')
    const parked = new ParkedCursors(10)
    const walk = new MergeCursor(directory)
    for (let i = 0; i < 40; i++) {
      walk.advance()
      parked.park(9, new MergeCursor(directory, walk.checkpoint))
    }
    expect(parked.size).toBe(5)
    for (const ordinal of [3, 37, 40, 100]) {
      const cursor = parked.resume(9, directory, ordinal)
      expect(cursor.ordinal).toBe(ordinal)
      expect(cursor.peek()[0]?.entry.name).toBe([...lettered('a', 50), ...lettered('b', 50)][ordinal])
    }
    parked.forget(9)
    expect(parked.size).toBe(0)
  })

  test('a name found in the top layer is not looked up in other layers', () => {
    const layers = [layer('low', 'f'), layer('top', 'f')]
    const tree = new MergedTree(layers)
    const before = layers[0]!.calls.lookup
    tree.lookup(ROOT_NODE_ID, 'f')
    expect(layers[0]!.calls.lookup).toBe(before)
  })
})
