import { expect, test } from 'vitest'
import { Largest } from '../../../src/molecule/usage/largest.ts'
import { type SizeNode, SizeTree } from '../../../src/molecule/usage/size-tree.ts'
import { Random } from '../../library/trees/random.ts'

function nodesOf(node: SizeNode): number {
  return 1 + node.children.reduce((sum, child) => sum + nodesOf(child), 0)
}

test('a tree of 60 000 files keeps the largest in bounded memory, and its sums stay exact', () => {
  const random = new Random(1)
  const tree = new SizeTree(3000, 2)
  const sizes: number[] = []
  tree.enter('')
  for (let directory = 0; directory < 60; directory++) {
    tree.enter(`d${directory}`)
    for (let file = 0; file < 1000; file++) {
      const size = random.chance(0.03) ? random.int(1e6, 2e6) : random.int(0, 1000)
      sizes.push(size)
      tree.file(`f${file}`)
      tree.size(file % 4, size, file % 2 === 0 ? size : 0, true)
    }
    tree.leave()
  }
  tree.leave()
  const root = tree.finish()
  const total = sizes.reduce((sum, size) => sum + size, 0)
  expect(root.names).toBe(1 + 60 + 60_000)
  // Layers 0, 1 and 2 are one.
  expect([...root.layers.keys()].sort()).toEqual([0, 1])
  expect([...root.layers.values()].reduce((sum, { held }) => sum + held, 0)).toBe(total)
  expect(root.children.every(({ names }) => names === 1001)).toBe(true)
  expect(nodesOf(root)).toBeGreaterThan(500)
  expect(nodesOf(root)).toBeLessThan(1501)
  const kept = root.children.flatMap(({ children }) =>
    children.map(({ layers }) => [...layers.values()][0]!.held),
  )
  const largest = sizes.sort((a, b) => b - a).slice(0, kept.length)
  expect(kept.sort((a, b) => b - a)).toEqual(largest)
})

test('a file in one layer that is a directory in another counts in the directory above', () => {
  const tree = new SizeTree(1000, 0)
  tree.enter('')
  tree.size(1, 5, 5, false)
  tree.enter('both')
  tree.file('\x1b\xff')
  tree.size(0, 7, 0, true)
  tree.leave()
  tree.leave()
  const root = tree.finish()
  expect([...root.layers]).toEqual([
    [1, { held: 5, shown: 5 }],
    [0, { held: 7, shown: 0 }],
  ])
  expect(root.children[0]).toMatchObject({
    name: 'both',
    names: 2,
    children: [{ name: '\\x1b\\xff', names: 1 }],
  })
})

test('the largest things are kept in order, and nothing else is made', () => {
  const random = new Random(3)
  const sizes = Array.from({ length: 5000 }, () => random.int(0, 900))
  const largest = new Largest<number>(20)
  let made = 0
  for (const size of sizes) {
    largest.offer(size, () => {
      made += 1
      return size
    })
  }
  expect(largest.things).toEqual([...sizes].sort((a, b) => b - a).slice(0, 20))
  expect(made).toBeLessThan(400)
  const none = new Largest<number>(0)
  none.offer(1, () => 1)
  expect(none.things).toEqual([])
})
