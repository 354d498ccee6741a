import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type NodeId, ROOT_NODE_ID } from '../../../../src/base/index.ts'
import { Random } from '../../../library/index.ts'
import { ListSink } from '../../support/list.ts'
import { type TreeScene, withTree } from '../support/tree-scene.ts'

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
  test('a listing gives every name once while names are added and removed', () => {
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

  test('removing all listed names leaves an empty directory, as rm -r needs it', () => {
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

  test('the inode numbers in a listing are those of stat, and `..` is the parent', () => {
    withTree(['d/low = x\nd/sub/\ne/f'], (scene) => {
      scene.create('d/up')
      scene.tree.setattr(scene.node('d/low'), { mode: 0o600 })
      for (const plus of [true, false]) {
        // Nothing is known any more: of what the kernel knows it wants no attributes.
        scene.remount()
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

  test('a cookie resumes at the same place after the list was dropped', () => {
    withTree([lines('d/low', 50).join('\n')], (scene) => {
      for (const name of lines('d/up', 50)) scene.create(name)
      const node = scene.node('d')
      const sink = new ListSink(false)
      scene.tree.readdir(node, 0, sink)
      const cookies = sink.taken.map(({ cookie }) => cookie)
      expect([...cookies].sort((a, b) => a - b)).toEqual(cookies)
      expect(cookies.every((cookie) => cookie < 2 ** 31)).toBe(true)
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

  test('a listing gives attributes for names that the kernel does not know or may ask for again', () => {
    withTree(['d/low = x\nd/seen = x'], (scene) => {
      const node = scene.node('d')
      const withAttributes = (): string[] => {
        const sink = new ListSink(true)
        scene.tree.readdir(node, 0, sink)
        return sink.taken.filter(({ entry }) => entry !== undefined).map(({ name }) => name)
      }
      scene.node('d/seen')
      scene.mkdir('d/made')
      const written = scene.create('d/new')
      expect(withAttributes()).toEqual(['low', 'new'])
      expect(withAttributes()).toEqual([])
      scene.tree.write(written, 0, Buffer.from('x'), false)
      expect(withAttributes()).toEqual(['new'])
      scene.tree.setattr(written, { size: 0 })
      expect(withAttributes()).toEqual(['new'])
      scene.tree.forget(scene.node('d/low'), 3)
      expect(withAttributes()).toEqual(['low'])
    })
  })

  test('a listing that is kept up to date equals a new one', () => {
    for (let seed = 0; seed < 6; seed++) playChanges(new Random(seed))
  })

  test('a listing is complete after more changes than are recorded', () => {
    withTree([lines('d/low', 3).join('\n')], (scene) => {
      scene.create('d/a')
      expect(scene.names('d')).toHaveLength(4)
      for (const name of lines('d/n', 5000)) scene.create(name)
      for (const name of lines('d/n', 4998)) scene.unlink(name)
      expect(scene.names('d')).toEqual(['a', 'low0', 'low1', 'low2', 'n4998', 'n4999'])
    })
  })
})

/** Name, number and type of all that a directory lists. */
function listed(scene: TreeScene, path: string, plus: boolean): string[] {
  const sink = new ListSink(plus)
  scene.tree.readdir(scene.node(path), 0, sink)
  for (const { entry } of sink.taken) if (entry !== undefined) scene.tree.forget(entry.nodeId, 1)
  return sink.taken.map(({ name, ino, type }) => `${name} ${ino} ${type}`).sort()
}

/** Random changes in two directories; each listing must be that of a tree that knows nothing yet. */
function playChanges(random: Random): void {
  const below = ['d', 'e'].map((dir) => `${lines(`${dir}/low`, 8).join('\n')}\n${dir}/sub/x`).join('\n')
  withTree([below, 'd/low3\nd/low9'], (scene) => {
    const path = () => `${random.pick(['d', 'e'])}/${random.pick(['low', 'up'])}${random.int(0, 12)}`
    const actions: (() => unknown)[] = [
      () => scene.create(path()),
      () => scene.mkdir(path()),
      () => scene.unlink(path()),
      () => scene.rmdir(path()),
      () => scene.rename(path(), path(), random.pick(['replace', 'noreplace', 'exchange'])),
      () => scene.link(path(), path()),
      () => scene.tree.setattr(scene.node(path()), { mode: 0o600 }),
    ]
    for (let round = 0; round < 30; round++) {
      for (let i = random.int(0, 5); i > 0; i--) {
        try {
          random.pick(actions)()
        } catch (error) {
          // Most fail: no such name, or one too many.
          if (!(error instanceof Error && error.name === 'FsError') && !String(error).includes('Error: no '))
            throw error
        }
      }
      const [plus, dir] = [random.chance(0.5), random.pick(['d', 'e'])]
      const kept = listed(scene, dir, plus)
      if (round % 6 === 5) {
        scene.remount()
        expect(kept).toEqual(listed(scene, dir, plus))
      }
      for (const line of kept) {
        const [name = '', ino, type] = line.split(' ')
        if (name.startsWith('.')) continue
        expect(scene.exists(`${dir}/${name}`)).toBe(true)
        const stat = scene.stat(`${dir}/${name}`)
        expect([ino, type]).toEqual([String(stat.ino), String(stat.mode >>> 12)])
      }
    }
  })
}
