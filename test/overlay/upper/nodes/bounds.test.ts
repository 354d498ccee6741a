import { readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type NodeId, ROOT_NODE_ID, S_IFIFO } from '../../../../src/base/index.ts'
import { ListSink } from '../../support/list.ts'
import { failsWith, ME, TreeScene, withTree } from '../support/tree-scene.ts'

const openDescriptors = () => readdirSync('/proc/self/fd').length

describe('descriptors and nodes of a writable tree', () => {
  test('a writable tree closes its descriptors at the end, and frees nodes when they are forgotten', () => {
    const before = openDescriptors()
    const scene = new TreeScene(['d/e/f = x\nd/g'])
    const entry = scene.tree.lookup(ROOT_NODE_ID, 'd')
    const file = scene.tree.lookup(entry?.nodeId ?? 0, 'g')
    scene.tree.write(file?.nodeId ?? 0, 0, Buffer.from('x'), false)
    scene.tree.unlink(entry?.nodeId ?? 0, 'g')
    expect(scene.tree.state.nodes).toBe(3)
    // The parent stays as long as a child needs it, whatever the order; what has no name needs none.
    scene.tree.forget(entry?.nodeId ?? 0, 1)
    expect(scene.tree.state.nodes).toBe(2)
    scene.tree.forget(file?.nodeId ?? 0, 1)
    expect(scene.tree.state.nodes).toBe(1)
    // One that is open without a name when the mount ends.
    const open = scene.create('open')
    scene.unlink('open')
    scene.tree.write(open, 0, Buffer.from('x'), false)
    scene.close()
    expect(openDescriptors()).toBe(before)
  })

  test('a parent stays known as long as one of its children is', () => {
    withTree(['a/b/c/d = x'], ({ tree }) => {
      const taken = [ROOT_NODE_ID]
      for (const name of ['a', 'b', 'c', 'd']) taken.push(tree.lookup(taken.at(-1) ?? 0, name)?.nodeId ?? 0)
      const leaf = taken.at(-1) ?? 0
      for (const node of taken.slice(1, -1)) tree.forget(node, 1)
      expect(tree.state.nodes).toBe(5)
      tree.write(leaf, 0, Buffer.from('y'), false)
      tree.forget(leaf, 1)
      expect(tree.state.nodes).toBe(1)
      expect(() => tree.getattr(leaf)).toThrow(failsWith('ESTALE'))
    })
  })

  test('READDIRPLUS of a writable tree counts only entries that the sink takes', () => {
    withTree([Array.from({ length: 20 }, (_, i) => `d/f${i}`).join('\n')], ({ tree }) => {
      const directory = tree.lookup(ROOT_NODE_ID, 'd')?.nodeId ?? 0
      const sink = new ListSink(true, 7)
      tree.readdir(directory, 0, sink)
      expect(tree.state.nodes).toBe(2 + 5)
      for (const { entry } of sink.taken) if (entry !== undefined) tree.forget(entry.nodeId, 1)
      expect(tree.state.nodes).toBe(2)
    })
  })

  test('directories may be nested deeper than the number of held descriptors', () => {
    withTree([], (scene) => {
      const depth = 600
      const nodes = [ROOT_NODE_ID]
      const caller = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, umask: 0 }
      for (let i = 0; i < depth; i++) {
        nodes.push(scene.tree.mkdir(nodes.at(-1) ?? 0, 'nnnnn', 0o755, caller).nodeId)
      }
      const [shallow, deep] = [nodes[1] ?? 0, nodes.at(-1) ?? 0]
      for (let i = 0; i < 3; i++) {
        // One end after the other, so that neither stays open.
        for (const node of nodes.slice(1, 400)) scene.tree.getattr(node)
        scene.tree.mkdir(deep, `d${i}`, 0o755, caller)
        scene.tree.rename(deep, `d${i}`, shallow, `s${i}`, 'replace', false)
        scene.tree.rename(shallow, `s${i}`, deep, `d${i}`, 'noreplace', false)
      }
      expect(scene.tree.lookup(deep, 'd2')).toBeDefined()
      expect(scene.tree.state.descriptors).toBeLessThan(600)
    })
  })

  test('writing many files holds a bounded number of descriptors', () => {
    withTree([], (scene) => {
      for (let i = 0; i < 700; i++) scene.create(`f${i}`, `${i}`)
      expect(scene.tree.state.descriptors).toBeLessThan(600)
      for (const i of [0, 300, 699]) expect(scene.read(`f${i}`)).toBe(`${i}`)
    })
  })
})

describe('removed files in use', () => {
  const MANY = 30
  const few = { mostHeld: 3 }
  const lower = Array.from({ length: MANY }, (_, i) => `low${i} = low ${i}`).join('\n')
  const left = (scene: TreeScene) => readdirSync(join(scene.folder, 'w/work'))

  test('removed files in use hold few descriptors, and keep data and attributes', () => {
    withTree(
      [lower],
      (scene) => {
        const nodes: [NodeId, string][] = []
        for (let i = 0; i < MANY; i++) {
          nodes.push([scene.create(`new${i}`, `new ${i}`), `new ${i}`], [scene.node(`low${i}`), `low ${i}`])
          const unnamed = scene.tree.tmpfile(ROOT_NODE_ID, 0o600, { ...ME, umask: 0 }).nodeId
          scene.tree.write(unnamed, 0, Buffer.from(`tmp ${i}`), false)
          nodes.push([unnamed, `tmp ${i}`])
          scene.unlink(`new${i}`)
          scene.unlink(`low${i}`)
        }
        const before = openDescriptors()
        for (const [node, text] of nodes) {
          scene.tree.write(node, text.length, Buffer.from('!'), false)
          scene.tree.setattr(node, { mode: 0o640 })
          expect(scene.read(node)).toBe(`${text}!`)
          const { nlink, mode, size } = scene.tree.getattr(node)
          expect([nlink, mode & 0o777, size]).toEqual([0, 0o640, text.length + 1])
        }
        expect(openDescriptors() - before).toBeLessThan(3 * MANY + 10)
        expect(left(scene).length).toBeGreaterThan(2 * MANY)
        expect(scene.names()).toEqual([])
        for (const [node] of nodes) scene.tree.forget(node, 1_000)
        expect(left(scene)).toEqual([])
      },
      {},
      few,
    )
  })

  test('an unnamed file may get a name, and a removed one may not', () => {
    withTree(
      [],
      (scene) => {
        const { tree } = scene
        for (let i = 0; i < MANY; i++) {
          const { nodeId } = tree.tmpfile(ROOT_NODE_ID, 0o600, { ...ME, umask: 0 })
          tree.link(nodeId, ROOT_NODE_ID, `f${i}`)
          expect(tree.getattr(nodeId).nlink).toBe(1)
          const removed = scene.create(`gone${i}`)
          scene.unlink(`gone${i}`)
          expect(() => tree.link(removed, ROOT_NODE_ID, 'back')).toThrow(failsWith('ENOENT'))
        }
        expect(left(scene)).toHaveLength(MANY - few.mostHeld)
        expect(scene.names()).toHaveLength(MANY)
      },
      {},
      few,
    )
  })

  test('removed directories in use hold few descriptors', () => {
    withTree(
      [],
      (scene) => {
        const nodes = Array.from({ length: MANY }, (_, i) => scene.mkdir(`d${i}`))
        const before = openDescriptors()
        for (let i = 0; i < MANY; i++) scene.rmdir(`d${i}`)
        expect(openDescriptors()).toBeLessThanOrEqual(before + few.mostHeld)
        for (const node of nodes) expect(scene.tree.getattr(node).nlink).toBe(0)
      },
      {},
      few,
    )
  })

  test('removed files are deleted at the end of the mount, or by the next mount after a crash', () => {
    withTree(
      [],
      (scene) => {
        for (let i = 0; i < MANY; i++) {
          scene.create(`f${i}`, 'x')
          scene.unlink(`f${i}`)
        }
        writeFileSync(join(scene.folder, 'w/work/#left'), 'by a crash')
        expect(left(scene)).toHaveLength(MANY - few.mostHeld + 1)
        scene.remount()
        expect(left(scene)).toEqual([])
      },
      {},
      few,
    )
  })
})

describe('errors of a writable tree', () => {
  test('the error for an unusable upper directory names it', () => {
    expect(() => new TreeScene(['a'], {}, { subdir: 'none' })).toThrow(
      expect.objectContaining({ code: 'ENOENT', message: expect.stringMatching(/upper directory .*none/) }),
    )
  })

  test('a subdirectory of the layers may be the root of a writable tree', () => {
    withTree(
      ['sub/d/a = x\nother'],
      (scene) => {
        expect(scene.names()).toEqual(['d'])
        scene.rename('d', 'e')
        scene.remount()
        expect(scene.read('e/a')).toBe('x')
      },
      {},
      { subdir: 'sub' },
    )
  })

  test('a file that another program replaced in the upper is ESTALE', () => {
    withTree([], (scene) => {
      const caller = { ...ME, umask: 0 }
      const { nodeId } = scene.tree.mknod(ROOT_NODE_ID, 'f', S_IFIFO | 0o600, 0, caller)
      writeFileSync(scene.upper('g'), 'foreign')
      renameSync(scene.upper('g'), scene.upper('f'))
      expect(() => scene.tree.getattr(nodeId)).toThrow(failsWith('ESTALE'))
      expect(() => scene.tree.setattr(nodeId, { mode: 0o644 })).toThrow(failsWith('ESTALE'))
    })
  })
})
