import { expect, test } from 'vitest'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import { direntType, type NodeId, ROOT_NODE_ID, S_IFCHR, S_IFREG } from '../../../src/base/index.ts'
import { Random } from '../../library/trees/random.ts'
import { type Listed, ListSink } from '../support/list.ts'
import { applyLayer, isDir, type ModelNode, randomLayer, shownXattrs, toLayer } from '../support/model.ts'

const SEEDS = 400
const ABSENT = [
  'a',
  'b',
  'c',
  'dd',
  '.opq',
  '.e',
  '-m',
  '\xfe',
  '.wh.a',
  '.wh..wh..opq',
  '.wh..opq',
  '.wh..wh.aufs',
]

/** Lists with small sinks, going back to an earlier cookie now and then; checks that what comes again is the same. */
function listRandomly(tree: MergedTree, node: NodeId, plus: boolean, random: Random): Listed[] {
  const all: Listed[] = []
  let next = 0
  for (;;) {
    if (random.chance(0.15)) next = random.int(0, all.length)
    const sink = new ListSink(plus, random.int(1, 4))
    tree.readdir(node, next === 0 ? 0 : all[next - 1]!.cookie, sink)
    if (sink.taken.length === 0 && next === all.length) return all
    for (const taken of sink.taken) {
      if (taken.entry !== undefined) tree.forget(taken.entry.nodeId, 1)
      if (next < all.length) expect(taken).toEqual(all[next])
      else all.push(taken)
      next += 1
    }
  }
}

class Comparison {
  readonly #tree: MergedTree
  readonly #random: Random
  readonly #inodes = new Map<number, NodeId>()
  readonly #countsParts: boolean
  seen = 0

  constructor(tree: MergedTree, random: Random, countsParts = true) {
    this.#tree = tree
    this.#random = random
    this.#countsParts = countsParts
  }

  directory(id: NodeId, model: ModelNode, path: string): void {
    const expected = ['.', '..', ...[...model.children.keys()].sort()]
    for (const plus of [false, true]) {
      const listed = listRandomly(this.#tree, id, plus, this.#random)
      expect(listed.map(({ name }) => name).sort(), path).toEqual([...expected].sort())
      expect(listed.map(({ name }) => name)).toEqual(expected)
      for (const { name, ino, type, entry } of listed.slice(2)) {
        expect(type, `${path}/${name}`).toBe(direntType(model.children.get(name)!.mode))
        const found = this.#tree.lookup(id, name)!
        expect(found.stat.ino).toBe(ino)
        if (plus) expect(entry, `${path}/${name}`).toEqual(found)
        this.#tree.forget(found.nodeId, 1)
      }
    }
    for (const name of ABSENT) {
      if (!model.children.has(name)) expect(this.#tree.lookup(id, name), `${path}/${name}`).toBeUndefined()
    }
    for (const [name, child] of model.children) this.#node(id, name, child, `${path}/${name}`)
  }

  #node(parent: NodeId, name: string, model: ModelNode, path: string): void {
    this.seen += 1
    const { nodeId, stat } = this.#tree.lookup(parent, name)!
    this.attributes(nodeId, model, path)
    expect(this.#tree.getattr(nodeId), path).toEqual(stat)
    const owner = this.#inodes.get(stat.ino)
    expect(owner === undefined || owner === nodeId, path).toBe(true)
    this.#inodes.set(stat.ino, nodeId)
    if (isDir(model)) this.directory(nodeId, model, path)
    this.#tree.forget(nodeId, 1)
  }

  attributes(id: NodeId, model: ModelNode, path: string): void {
    const stat = this.#tree.getattr(id)
    const { mode, uid, rdev } = model
    expect(stat, path).toMatchObject({ mode, uid, rdev, size: model.content.length })
    if (isDir(model) && this.#countsParts)
      expect(stat.nlink === 1, `${path} is made of ${model.depth}`).toBe(model.depth > 1)
    const xattrs = this.#tree.listxattr(id).map((name) => [name, this.#tree.getxattr(id, name)])
    const shown = Object.fromEntries(
      xattrs.map(([name, value]) => [name, Buffer.from(value as Uint8Array).toString()]),
    )
    expect(shown, path).toEqual(shownXattrs(model.xattrs))
  }
}

test(`${SEEDS} random stacks of layers match the model that applies layer after layer`, () => {
  let seen = 0
  let merged = 0
  const kinds = new Set<number>()
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new Random(seed)
    const stored = Array.from({ length: random.int(2, 8) }, () => randomLayer(random, random.int(0, 2)))
    let model: ModelNode | undefined
    for (const one of stored) model = applyLayer(model, one)
    // Some hold the parts of few merged directories, or of none, and find them again all the time.
    const heldBytes = [8 << 20, 2000, 0][seed % 3]!
    const layers = stored.map((one, index) => toLayer(`seed ${seed} layer ${index}`, one))
    const tree = new MergedTree(layers, { heldBytes })
    const comparison = new Comparison(tree, random)
    comparison.attributes(ROOT_NODE_ID, model!, `seed ${seed}`)
    comparison.directory(ROOT_NODE_ID, model!, `seed ${seed}`)
    expect(tree.state, `seed ${seed}`).toMatchObject({ directories: 0, heldBytes: 0 })
    seen += comparison.seen
    merged += model!.depth > 1 ? 1 : 0
    for (const child of model!.children.values()) kinds.add(child.mode & 0o170000)
  }
  // The generator must go on producing something worth comparing.
  expect(seen).toBeGreaterThan(20_000)
  expect(merged).toBeGreaterThan(SEEDS / 2)
  expect(kinds.has(S_IFCHR) && kinds.has(S_IFREG)).toBe(true)
}, 120_000)

test('stacks with repeated layers match the model that applies layer after layer', () => {
  let seen = 0
  for (let seed = 1; seed <= 120; seed++) {
    const random = new Random(seed * 7 + 1)
    const stored = Array.from({ length: random.int(1, 4) }, () => randomLayer(random, random.int(0, 2)))
    const layers = stored.map((one, index) => toLayer(`seed ${seed} layer ${index}`, one))
    const order = Array.from({ length: random.int(2, 9) }, () => random.int(0, stored.length - 1))
    let model: ModelNode | undefined
    for (const index of order) model = applyLayer(model, stored[index]!)
    const tree = new MergedTree(order.map((index) => layers[index]!))
    const comparison = new Comparison(tree, random, false)
    comparison.attributes(ROOT_NODE_ID, model!, `seed ${seed}: ${order}`)
    comparison.directory(ROOT_NODE_ID, model!, `seed ${seed}: ${order}`)
    seen += comparison.seen
  }
  expect(seen).toBeGreaterThan(4000)
}, 60_000)
