import { describe, expect, test } from 'vitest'
import { LastingIds } from '../../../overlay/upper/nodes/lasting-ids.ts'
import { type Entry, Postponed, ROOT_NODE_ID, type Stat } from '../../../src/base/index.ts'
import { ListSink } from '../support/list.ts'
import { layer } from '../support/memory-layer.ts'
import { waited } from '../support/waited.ts'
import { failsWith, type TreeScene, withTree } from './support/tree-scene.ts'

/** What the kernel has of a file: node id and generation are its handle. */
function handleOf(scene: TreeScene, path: string): Entry {
  const at = path.lastIndexOf('/')
  const entry = scene.tree.lookup(scene.node(path.slice(0, Math.max(at, 0))), path.slice(at + 1))
  if (entry === undefined) throw new Error(`no ${path}`)
  return entry
}

/** As the kernel opens a handle: what the node id leads to must have its generation. */
function opened({ tree }: TreeScene, { nodeId, generation }: Entry): Entry {
  const entry = waited(() => tree.lookup(nodeId, '.'))
  if (entry === undefined) throw new Error('no entry')
  expect(entry.nodeId).toBe(nodeId)
  if (entry.generation !== generation) throw Object.assign(new Error('generation'), { code: 'ESTALE' })
  return entry
}

const forgetAll = ({ tree }: TreeScene, ...handles: readonly Entry[]): void => {
  for (const { nodeId } of handles) tree.forget(nodeId, 1000)
}

const LOW = 'd/one = one\nd/two == d/one\nd/e/f = f\nd/g = g'

describe('handles of a writable tree', () => {
  test('a node that the kernel forgot is found by its id, at the next mount too', () => {
    withTree([LOW], (scene) => {
      scene.mkdir('d/new')
      scene.create('d/new/own', 'own')
      scene.link('d/new/own', 'other')
      const paths = ['d', 'd/e/f', 'd/one', 'd/two', 'd/new', 'd/new/own']
      const handles = paths.map((path) => handleOf(scene, path))
      for (let round = 0; round < 3; round++) {
        for (const handle of handles.toReversed()) {
          const { nodeId, generation, stat } = handle
          const { ino } = stat
          expect(opened(scene, handle)).toMatchObject({ nodeId, generation, stat: { ino } })
        }
        if (round === 0) forgetAll(scene, ...handles)
        else scene.remount()
      }
      expect(new Set(handles.map(({ nodeId }) => nodeId)).size).toBe(handles.length)
    })
  })

  test('a handle leads to the copy of its file, and one of a renamed copy or of a removed file is stale', () => {
    withTree([LOW], (scene) => {
      const [f, g, one, two] = ['d/e/f', 'd/g', 'd/one', 'd/two'].map((path) => handleOf(scene, path))
      for (const path of ['d/e/f', 'd/one'])
        scene.tree.write(scene.node(path), 0, Buffer.from('changed'), false)
      scene.remount()
      expect(scene.read(opened(scene, f!).nodeId)).toBe('changed')
      expect(() => opened(scene, one!)).toThrow(failsWith('ESTALE'))
      expect(scene.read(opened(scene, two!).nodeId)).toBe('one')
      scene.rename('d/e/f', 'd/moved')
      scene.unlink('d/g')
      scene.create('d/g', 'another')
      scene.remount()
      for (const handle of [f!, g!]) expect(() => opened(scene, handle)).toThrow(failsWith('ESTALE'))
    })
  })

  test('a file that lost the name under which it was seen last is found under another', () => {
    withTree([''], (scene) => {
      scene.mkdir('a')
      scene.mkdir('b')
      scene.create('a/x', 'x')
      scene.link('a/x', 'b/x')
      const handle = handleOf(scene, 'a/x')
      scene.remount()
      opened(scene, handle)
      forgetAll(scene, handle)
      for (const path of ['a/x', 'b/x']) {
        scene.unlink(path)
        forgetAll(scene, handle)
        if (path === 'a/x') expect(scene.read(opened(scene, handle).nodeId)).toBe('x')
        forgetAll(scene, handle)
      }
      expect(() => opened(scene, handle)).toThrow(failsWith('ESTALE'))
    })
  })

  test('a directory that moves during the walk is found with what is in it', () => {
    withTree([''], (scene) => {
      for (const path of ['a', 'a/b', 'z', 'z/deep']) scene.mkdir(path)
      scene.create('z/deep/x', 'x')
      const handle = handleOf(scene, 'z/deep/x')
      for (let steps = 0; steps < 6; steps++) {
        scene.remount()
        let postponed: unknown
        try {
          scene.tree.lookup(handle.nodeId, '.')
        } catch (error) {
          postponed = error
        }
        if (!(postponed instanceof Postponed)) throw new Error('not postponed')
        for (let step = 0; step < steps; step++) postponed.work.advance()
        const [from, to] = scene.exists('z/deep') ? ['z/deep', 'a/b/deep'] : ['a/b/deep', 'z/deep']
        scene.rename(from!, to!)
        expect(scene.read(opened(scene, handle).nodeId)).toBe('x')
      }
    })
  })

  test('a walk tells the kernel nothing: listings bring the attributes afterwards as before', () => {
    withTree([''], (scene) => {
      const node = scene.create('new')
      expect(() => waited(() => scene.tree.lookup(node + 50_000, '.'))).toThrow(failsWith('ESTALE'))
      const sink = new ListSink(true)
      scene.tree.readdir(ROOT_NODE_ID, 0, sink)
      expect(sink.taken.find(({ name }) => name === 'new')?.entry?.nodeId).toBe(node)
    })
  })
})

describe('ids that last', () => {
  const stat = { btime: 5, btimeNsec: 7 } as Stat

  test('an inode number that was used again has another generation', () => {
    const ids = new LastingIds([])
    const id = ids.ofUpper(77)!
    const generation = ids.generation(id, undefined, stat)
    expect(ids.generation(id, undefined, { ...stat, btimeNsec: 8 })).not.toBe(generation)
    expect(new LastingIds([]).generation(id, undefined, stat)).toBe(generation)
  })

  test('ids of layers, of the upper, of names, and counted ones are different, and those of names last', () => {
    const only = layer('one', 'f')
    const ids = new LastingIds([only])
    const part = { layer: 0, ref: only.refSpan - 1 }
    const [ofPart, first, last] = [ids.ofPart(part), ids.ofUpper(0)!, ids.ofUpper(2 ** 40 - 1)!]
    const name = ids.ofName(part, ofPart, 'x')!
    const counted = ids.count()
    expect([...new Set([ofPart, first, last, name, counted])].sort((a, b) => a - b)).toEqual([
      ofPart,
      first,
      last,
      name,
      counted,
    ])
    expect([ids.ofUpper(2 ** 40), ids.ofUpper(2n ** 60n), ids.ofName(part, counted, 'x')]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
    expect([ofPart, first, name, counted].map((id) => ids.mayExist(id))).toEqual([true, true, true, false])
    expect(ids.partOf(ofPart)).toEqual(part)
    expect(new LastingIds([only]).ofName(part, ofPart, 'x')).toBe(name)
    expect(ids.ofName(part, ofPart, 'y')).not.toBe(name)
  })
})
