import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type NodeId, ROOT_NODE_ID } from '../../../src/base/index.ts'
import { Random } from '../../support/index.ts'
import { ListSink } from '../support/list.ts'
import { type TreeScene, withTree } from './support/tree-scene.ts'

const lines = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

/** Lists in pieces and calls in between. */
function listWith(
  scene: TreeScene,
  node: NodeId,
  room: number,
  between: (names: string[]) => void,
): string[] {
  const all: string[] = []
  for (let cookie = 0; ; ) {
    const sink = new ListSink(true, room)
    scene.tree.readdir(node, cookie, sink)
    const last = sink.taken.at(-1)
    if (last === undefined) return all
    for (const { entry } of sink.taken) if (entry !== undefined) scene.tree.forget(entry.nodeId, 1)
    const names = sink.taken.map(({ name }) => name).filter((name) => name !== '.' && name !== '..')
    all.push(...names)
    between(names)
    cookie = last.cookie
  }
}

describe('listing a writable directory', () => {
  test('gives every name once, whatever comes and goes meanwhile', () => {
    withTree([lines('d/low', 100).join('\n')], (scene) => {
      const node = scene.node('d')
      for (const name of lines('d/up', 100)) scene.create(name)
      const random = new Random(7)
      const gone = new Set<string>()
      let made = 0
      const seen = listWith(scene, node, 7, (names) => {
        const [victim, renamed] = [random.pick(names), `d/r${made}`]
        scene.unlink(`d/${victim}`)
        gone.add(victim)
        const other = names.find((name) => name !== victim)
        if (other !== undefined && random.chance(0.3)) {
          scene.rename(`d/${other}`, renamed)
          gone.add(other)
        }
        scene.create(`d/n${made++}`)
      })
      const stayed = [...lines('low', 100), ...lines('up', 100)].filter((name) => !gone.has(name))
      expect(stayed.filter((name) => !seen.includes(name))).toEqual([])
      expect(new Set(seen).size).toBe(seen.length)
    })
  })

  test('removing everything that is listed leaves an empty directory, as rm -r needs it', () => {
    withTree([lines('d/low', 300).join('\n')], (scene) => {
      const node = scene.node('d')
      for (const name of lines('d/up', 300)) scene.create(name)
      const seen = listWith(scene, node, 13, (names) => {
        for (const name of names) scene.unlink(`d/${name}`)
      })
      expect(seen).toHaveLength(600)
      scene.rmdir('d')
      expect(scene.names()).toEqual([])
      expect(readdirSync(scene.upper())).toEqual(['d'])
    })
  })

  test('numbers in listings are those of stat, and `..` is the parent', () => {
    withTree(['d/low = x\nd/sub/\ne/f'], (scene) => {
      scene.create('d/up')
      scene.tree.setattr(scene.node('d/low'), { mode: 0o600 })
      for (const plus of [true, false]) {
        const sink = new ListSink(plus)
        scene.tree.readdir(scene.node('d'), 0, sink)
        const [self, parent, ...rest] = sink.taken
        expect(self?.ino).toBe(scene.stat('d').ino)
        expect(parent?.ino).toBe(scene.tree.getattr(ROOT_NODE_ID).ino)
        expect(rest.map(({ name }) => name).sort()).toEqual(['low', 'sub', 'up'])
        for (const { name, ino, type, entry } of rest) {
          expect(ino).toBe(scene.stat(`d/${name}`).ino)
          expect(type).toBe(scene.stat(`d/${name}`).mode >>> 12)
          expect(entry !== undefined).toBe(plus)
        }
      }
    })
  })

  test('a cookie leads to the same place after the list was dropped', () => {
    withTree([lines('d/low', 50).join('\n')], (scene) => {
      for (const name of lines('d/up', 50)) scene.create(name)
      const node = scene.node('d')
      const sink = new ListSink(false)
      scene.tree.readdir(node, 0, sink)
      const cookies = sink.taken.map(({ cookie }) => cookie)
      expect([...cookies].sort((a, b) => a - b)).toEqual(cookies)
      expect(cookies.every(Number.isSafeInteger)).toBe(true)
      for (const at of [1, 30, 70]) {
        // A change, and another listing from the start, so that a new list is made.
        scene.create(`d/more${at}`)
        scene.names('d')
        const rest = new ListSink(false)
        scene.tree.readdir(node, cookies[at] ?? 0, rest)
        const expected = sink.taken.slice(at + 1).map(({ name }) => name)
        const given = rest.taken.map(({ name }) => name).filter((name) => !name.startsWith('more'))
        expect(given).toEqual(expected)
      }
    })
  })
})
