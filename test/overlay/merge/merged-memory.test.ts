import { expect, test } from 'vitest'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import type { NodeId } from '../../../src/base/index.ts'
import { listAll, names, nodeAt } from '../support/list.ts'
import { layer } from '../support/memory-layer.ts'

const LAYERS = 40
const DIRECTORIES = 80
const HELD = 50_000

/** Every layer has all directories, each with a file and a directory of its own, and a common one. */
function build(heldBytes?: number) {
  const text = (index: number) =>
    Array.from({ length: DIRECTORIES }, (_, i) => `d${i}/of${index}\nd${i}/sub/of${index}`).join('\n')
  const layers = Array.from({ length: LAYERS }, (_, index) => layer(`l${index}`, text(index)))
  return { layers, tree: new MergedTree(layers, heldBytes === undefined ? {} : { heldBytes }) }
}

const EXPECTED = Array.from({ length: LAYERS }, (_, index) => `of${index}`).sort()

test('a layer that appears thousands of times costs as much memory as one', () => {
  const one = layer('one', 'd/e/f\nd/g')
  const before = { ...one.calls }
  const tree = new MergedTree(Array.from({ length: 4096 }, () => one))
  expect(names(tree, 'd')).toEqual(['e', 'g'])
  expect(names(tree, 'd/e')).toEqual(['f'])
  expect(tree.state).toMatchObject({ directories: 0, heldBytes: 0 })
  const calls = Object.entries(one.calls).map(([name, count]) => count - before[name as keyof typeof before])
  for (const count of calls) expect(count).toBeLessThan(40)
})

test('the tree holds no more directories than its bound, and finds dropped ones again unchanged', () => {
  const { tree } = build(HELD)
  const nodes: NodeId[] = []
  for (let i = 0; i < DIRECTORIES; i++) {
    const { nodeId } = tree.lookup(1, `d${i}`)!
    nodes.push(nodeId, tree.lookup(nodeId, 'sub')!.nodeId)
    expect(tree.state.heldBytes).toBeLessThanOrEqual(HELD)
  }
  expect(tree.state.directories).toBe(DIRECTORIES * 2)
  expect(tree.state.heldBytes).toBeGreaterThan(HELD / 2)
  nodes.forEach((node, at) => {
    const shown = listAll(tree, node).map(({ name }) => name)
    expect(shown).toEqual(['.', '..', ...EXPECTED, ...(at % 2 === 0 ? ['sub'] : [])])
    expect(tree.state.heldBytes).toBeLessThanOrEqual(HELD)
  })
})

test('a held directory is not read again, and a dropped one costs one lookup per layer and path component', () => {
  for (const [heldBytes, lookups] of [
    [8 << 20, LAYERS],
    [0, LAYERS * 3],
  ] as const) {
    const { tree, layers } = build(heldBytes)
    const node = tree.lookup(tree.lookup(1, 'd7')!.nodeId, 'sub')!.nodeId
    const count = () => layers.reduce((sum, one) => sum + one.calls.lookup, 0)
    const before = count()
    expect(tree.lookup(node, 'none')).toBeUndefined()
    expect(count() - before).toBeLessThanOrEqual(lookups)
  }
})

test('a directory outlives a parent that the kernel forgets first, and both are freed in the end', () => {
  for (const heldBytes of [8 << 20, 0]) {
    const { tree } = build(heldBytes)
    const parent = tree.lookup(1, 'd3')!.nodeId
    const child = tree.lookup(parent, 'sub')!.nodeId
    tree.forget(parent, 1)
    expect(tree.state.directories).toBe(2)
    expect(listAll(tree, child).slice(2)).toHaveLength(LAYERS)
    expect(tree.lookup(child, '..')!.nodeId).toBe(parent)
    tree.forget(parent, 1)
    tree.forget(child, 1)
    expect(tree.state).toMatchObject({ directories: 0, heldBytes: 0 })
    expect(() => tree.getattr(child)).toThrow(expect.objectContaining({ code: 'ESTALE' }))
  }
})

test('a directory below many dropped directories is found again without recursion', () => {
  const path = Array.from({ length: 3000 }, () => 'd').join('/')
  const others = Array.from({ length: 60 }, (_, i) => `o${i}`)
  const layers = ['one', 'two'].map((name) =>
    layer(name, [`${path}/of-${name}`, ...others.map((other) => `${other}/x`)].join('\n')),
  )
  const tree = new MergedTree(layers, { heldBytes: 20_000 })
  const deepest = nodeAt(tree, path)
  for (const other of others) tree.lookup(1, other)
  const before = layers[0]!.calls.lookup
  expect(listAll(tree, deepest).map(({ name }) => name)).toEqual(['.', '..', 'of-one', 'of-two'])
  expect(layers[0]!.calls.lookup - before).toBeGreaterThan(2900)
})

test('a layer that changed under the mount is damage, not another directory', () => {
  const low = layer('low', 'd/a')
  const tree = new MergedTree([low, layer('top', 'd/b')], { heldBytes: 0 })
  const node = tree.lookup(1, 'd')!.nodeId
  low.link(low.root, 'd', low.at('d/a'))
  expect(() => tree.lookup(node, 'a')).toThrow(
    expect.objectContaining({ code: 'EIO', message: expect.stringContaining('directory "d"') }),
  )
})
