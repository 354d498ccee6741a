import { expect, test } from 'vitest'
import { DirectoryRecords } from '../../../overlay/merge/directory-records.ts'
import { MergedTree, type TreeMemory } from '../../../overlay/merge/merged-tree.ts'
import type { NodeId } from '../../../src/base/index.ts'
import { listAll, names } from '../support/list.ts'
import { layer } from '../support/memory-layer.ts'

/** A tree takes over from one whose thread has ended: the kernel asks for nodes that only the first one was asked for. */

const LAYERS = 10

function layers() {
  return Array.from({ length: LAYERS }, (_, index) =>
    layer(`l${index}`, `a/b/c/of${index}\na/b/of${index}\nonly${index}/x/y\na/single${index}/z`),
  )
}

function memory(): TreeMemory & { readonly directories: { readonly chunks: SharedArrayBuffer[] } } {
  const chunks: SharedArrayBuffer[] = []
  return { generation: 77, directories: { chunks, grown: (chunk) => chunks.push(chunk) } }
}

function walk(tree: MergedTree, ...path: string[]): NodeId {
  return path.reduce((node, name) => tree.lookup(node, name)!.nodeId, 1)
}

test('a new tree knows every directory that the kernel knows, below directories that it forgot, too', () => {
  const kept = memory()
  const first = new MergedTree(layers(), { memory: kept })
  const [a, b, c] = [walk(first, 'a'), walk(first, 'a', 'b'), walk(first, 'a', 'b', 'c')]
  const single = walk(first, 'a', 'single3')
  const shown = [a, b, c, single].map((node) => listAll(first, node))
  const stats = [a, b, c, single].map((node) => first.getattr(node))
  // Once for each walk; the kernel may forget a parent first.
  first.forget(a, 4)

  const second = new MergedTree(layers(), { memory: kept })
  expect(second.state.directories).toBe(3)
  expect([c, a, single, b].map((node) => listAll(second, node))).toEqual(
    [c, a, single, b].map((node) => shown[[a, b, c, single].indexOf(node)]),
  )
  expect([a, b, c, single].map((node) => second.getattr(node))).toEqual(stats)
  expect(second.lookup(c, 'of4')!.stat).toEqual(first.lookup(c, 'of4')!.stat)
  expect(second.lookup(c, '..')!.nodeId).toBe(b)
  expect(second.lookup(1, 'a')!.nodeId).toBe(a)

  // `..` and the last lookup count.
  second.forget(c, 1)
  second.forget(b, 3)
  expect(second.state.directories).toBe(1)
  second.forget(a, 1)
  expect(second.state.directories).toBe(0)
  expect(new MergedTree(layers(), { memory: kept }).state.directories).toBe(0)
})

test('a directory that a third tree is asked for by its listing alone is found through both before it', () => {
  const kept = memory()
  const c = walk(new MergedTree(layers(), { memory: kept }), 'a', 'b', 'c')
  const second = new MergedTree(layers(), { memory: kept })
  expect(second.state.directories).toBe(3)
  const third = new MergedTree(layers(), { memory: kept })
  expect(listAll(third, c).map(({ name }) => name)).toContain('of9')
})

test('a directory that is made of other layers now is EIO, and its neighbours are shown', () => {
  const kept = memory()
  const first = new MergedTree(layers(), { memory: kept })
  const [a, b] = [walk(first, 'a'), walk(first, 'a', 'b')]
  const changed = layers().map((one, index) =>
    index === LAYERS - 1 ? layer('l9', 'q/b\na/c\na/b/only') : one,
  )
  const second = new MergedTree(changed, { memory: kept })
  for (const node of [a, b]) {
    expect(() => second.getattr(node)).toThrow(expect.objectContaining({ code: 'EIO' }))
  }
  expect(names(second, '')).toContain('only3')
})

test('records are used again, and memory grows with those in use alone', () => {
  const chunks: SharedArrayBuffer[] = []
  const open = () => new DirectoryRecords({ chunks: [...chunks], grown: (chunk) => chunks.push(chunk) })
  const name = (i: number) => `n${i}`.padEnd((i * 7) % 255, 'ä')
  let records = open()
  for (let round = 0; round < 5; round++) {
    const rows = Array.from({ length: 3000 }, (_, i) => records.add(100 + i, i, name(i)))
    const size = records.size
    if (round > 0) records = open()
    expect(records.size).toBe(size)
    expect([...records.all()]).toHaveLength(3000)
    for (const [i, at] of rows.entries()) {
      expect([records.node(at), records.parent(at), records.name(at)]).toEqual([100 + i, i, name(i)])
      expect(records.addLookups(at, 2)).toBe(3)
      expect(records.lookups(at)).toBe(3)
    }
    for (const at of rows) records.remove(at)
    expect([...records.all()]).toHaveLength(0)
  }
  // 3000 records of 32 bytes, their names, and what is lost at the ends.
  expect(open().size).toBeLessThan(3000 * (32 + 255 / 2 + 32))
})

test('what a thread was about to add when it ended is not there, and its place is used again', () => {
  const chunks: SharedArrayBuffer[] = []
  const options = () => ({ chunks: [...chunks], grown: (chunk: SharedArrayBuffer) => chunks.push(chunk) })
  const records = new DirectoryRecords(options())
  const at = records.add(20, 1, 'whole')
  const half = records.add(21, 1, 'half')
  new Uint32Array(chunks[0]!)[half / 4 + 1] = 0
  const later = new DirectoryRecords(options())
  expect([...later.all()]).toEqual([at])
  expect(later.add(22, 1, 'other')).toBe(half)
})
