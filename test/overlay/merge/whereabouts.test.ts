import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HostDirectoryLayer, MergedTree } from '../../../overlay/index.ts'
import { ParentIndex } from '../../../overlay/merge/parent-index.ts'
import { type Walked, Whereabouts } from '../../../overlay/merge/whereabouts.ts'
import { DT_DIR, type Entry, type NodeId, ROOT_NODE_ID } from '../../../src/base/index.ts'
import { makeTempDir, Random, removeTempDir } from '../../library/index.ts'
import { entryAt, listAll } from '../support/list.ts'
import { layer } from '../support/memory-layer.ts'
import { waited } from '../support/waited.ts'

const ESTALE = expect.objectContaining({ code: 'ESTALE' })

/** As the kernel opens a handle: what the node id leads to must have its generation. */
function opened(tree: MergedTree, { nodeId, generation }: Entry): Entry {
  const entry = waited(() => tree.lookup(nodeId, '.'))
  if (entry === undefined) throw new Error('no entry')
  expect(entry.nodeId).toBe(nodeId)
  if (entry.generation !== generation) throw Object.assign(new Error('generation'), { code: 'ESTALE' })
  return entry
}

/** Path of a directory by its parents, as the kernel connects it (fs/exportfs/expfs.c:reconnect_path). */
function pathOf(tree: MergedTree, node: NodeId): string {
  if (node === ROOT_NODE_ID) return ''
  const parent = waited(() => tree.lookup(node, '..'))
  if (parent === undefined) throw new Error('no parent')
  const { ino } = tree.getattr(node)
  const name = listAll(tree, parent.nodeId).find((one) => one.ino === ino && !/^\.\.?$/.test(one.name))?.name
  return `${pathOf(tree, parent.nodeId)}/${name}`
}

test('an index keeps the last parent of as many nodes as there are', () => {
  const index = new ParentIndex()
  const random = new Random(3)
  const known = new Map<NodeId, NodeId>()
  for (let i = 0; i < 20_000; i++) {
    const [node, parent] = [random.int(1, 5000) * 2 ** random.int(0, 38), random.int(1, 2 ** 30)]
    index.set(node, parent)
    known.set(node, parent)
  }
  for (const [node, parent] of known) expect(index.get(node)).toBe(parent)
  expect(index.get(2 ** 52 + 1)).toBeUndefined()
})

test('a full index takes no more nodes, but other parents of those that it has', () => {
  const index = new ParentIndex(2)
  for (const node of [5, 6, 7]) index.set(node, 1)
  index.set(6, 5)
  expect([index.isFull, ...[5, 6, 7].map((node) => index.get(node))]).toEqual([true, 1, 5, undefined])
})

test('a directory that damage shows within itself is walked once', () => {
  const { stat } = entryAt(new MergedTree([layer('one', 'd/x')]), 'd') as Entry
  let listings = 0
  const tree: Walked = {
    mayExist: () => true,
    isKnown: (node) => node === ROOT_NODE_ID,
    again: (nodeId) => ({ nodeId, stat }),
    see: () => undefined,
    hold: () => {},
    forget: () => {},
    readdir: (node, cookie, sink) => {
      if (cookie > 0) return
      listings += 1
      sink.add('self', 7, DT_DIR, 1, { nodeId: node, stat })
      sink.add('sub', 50, DT_DIR, 2, { nodeId: 50, stat })
    },
  }
  const whereabouts = new Whereabouts(tree)
  expect(waited(() => whereabouts.find(50))).toEqual({ nodeId: 50, stat })
  // Root and directory, and the root again for the search.
  expect(listings).toBe(3)
  expect(() => waited(() => whereabouts.find(51))).toThrow(ESTALE)
  expect(listings).toBe(3)
})

describe('handles of an earlier mount of images', () => {
  const build = () =>
    new MergedTree([layer('low', 'd/e/f\nd/gone\nonly/x/y\ntop'), layer('top', 'd/.wh.gone\nd/g')])

  test('lead to what the tree shows under them, and directories to their path', () => {
    const before = build()
    const all = ['d', 'd/e', 'd/e/f', 'd/g', 'only', 'only/x', 'only/x/y', 'top']
    const handles = all.map((path) => entryAt(before, path) as Entry)
    for (const at of [...all.keys()].reverse()) {
      const tree = build()
      const entry = opened(tree, handles[at] as Entry)
      expect(entry).toEqual(handles[at])
      if (!/f|g|y|top/.test(all[at] ?? '')) expect(pathOf(tree, entry.nodeId)).toBe(`/${all[at]}`)
      tree.forget(entry.nodeId, 1)
    }
  })

  test('leave nothing behind, also those that lead nowhere', () => {
    const tree = build()
    const d = (entryAt(tree, 'd') as Entry).nodeId
    tree.forget(d, 1)
    expect(waited(() => tree.lookup(d, '.'))?.nodeId).toBe(d)
    tree.forget(d, 1)
    for (let node = d + 100; node < d + 140; node++) {
      expect(() => waited(() => tree.lookup(node, '.'))).toThrow(ESTALE)
    }
    expect(tree.state.directories).toBe(0)
  })

  test('do not lead to what the layers have and the tree does not show', () => {
    const alone = new MergedTree([layer('low', 'd/e/f\nd/gone\nonly/x/y\ntop')])
    const hidden = (entryAt(alone, 'd/gone') as Entry).nodeId
    const tree = build()
    expect(() => waited(() => tree.lookup(hidden, '.'))).toThrow(ESTALE)
  })
})

describe('handles of an earlier mount of directories', () => {
  let folder: string
  beforeEach(() => {
    folder = makeTempDir()
    for (const path of ['l/d/e', 'u/d']) mkdirSync(join(folder, path), { recursive: true })
    for (const path of ['l/d/e/f', 'l/d/g', 'l/top', 'u/d/h']) writeFileSync(join(folder, path), path)
  })
  afterEach(() => removeTempDir(folder))

  const mounted = <T>(use: (tree: MergedTree) => T): T => {
    const layers = ['l', 'u'].map((name) => new HostDirectoryLayer(join(folder, name)))
    try {
      return use(new MergedTree(layers))
    } finally {
      for (const one of layers) one.close()
    }
  }

  test('lead to the same files, wherever they are now, and to no other ones', () => {
    const paths = ['d', 'd/e', 'd/e/f', 'd/g', 'd/h', 'top']
    const handles = mounted((tree) => paths.map((path) => entryAt(tree, path) as Entry))
    mounted((tree) => {
      for (const handle of handles) expect(opened(tree, handle)).toEqual(handle)
    })
    renameSync(join(folder, 'l/d/g'), join(folder, 'l/d/e/moved'))
    rmSync(join(folder, 'l/top'))
    // It may well get the number of the one that is gone.
    writeFileSync(join(folder, 'l/top'), 'another')
    mounted((tree) => {
      const [moved, top] = [handles[3] as Entry, handles[5] as Entry]
      expect(opened(tree, moved).stat.size).toBe(moved.stat.size)
      expect(() => opened(tree, top)).toThrow(ESTALE)
    })
  })
})
