import { describe, expect, test } from 'vitest'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import {
  type BlockRef,
  type ExtentSink,
  Postponed,
  ROOT_NODE_ID,
  S_IFDIR,
  S_IFREG,
} from '../../../src/base/index.ts'
import { errorWith } from '../../library/expectations.ts'
import { entryAt, listAll, names, nodeAt, paths } from '../support/list.ts'
import { layer, MemoryLayer } from '../support/memory-layer.ts'
import { waited } from '../support/waited.ts'

test('the tree knows which attributes no file can have, where all of its layers tell', () => {
  const none = Object.assign(layer('low', 'f'), { attributes: 'none' as const })
  const some = (...known: string[]) =>
    Object.assign(layer('mid', 'g'), { attributeNames: () => new Set(known) })
  const lacks = (layers: readonly MemoryLayer[], name: string) => new MergedTree(layers).neverHas(name)
  const told = [none, some('user.a'), some('trusted.overlay.overlay.b')]
  expect(lacks(told, 'security.selinux')).toBe(true)
  expect(lacks(told, 'user.a')).toBe(false)
  // Stored one level of escape deeper than it is shown.
  expect(lacks(told, 'trusted.overlay.b')).toBe(false)
  expect(lacks([...told, layer('top', 'h')], 'security.selinux')).toBe(false)
})

describe('node ids and inode numbers', () => {
  const build = () => [layer('low', 'd/a\nf\nonly/x'), layer('mid', 'd/b'), layer('top', 'd/c\ng')]

  test('node ids are the same at every mount and do not depend on the order of lookups', () => {
    const one = new MergedTree(build())
    const two = new MergedTree(build())
    const all = ['f', 'g', 'd', 'd/a', 'd/b', 'd/c', 'only', 'only/x']
    const ids = all.map((path) => nodeAt(one, path))
    expect([...all].reverse().map((path) => nodeAt(two, path))).toEqual([...ids].reverse())
    expect(new Set(ids).size).toBe(all.length)
    expect(ids.every((id) => id > ROOT_NODE_ID)).toBe(true)
  })

  test('st_ino continues after the numbers of the layers below, in stat and in listings', () => {
    const layers = build()
    const tree = new MergedTree(layers)
    const shown = (index: number, path: string) => index * 1_000_000 + layers[index]!.at(path) + 1
    expect(entryAt(tree, 'f')?.stat.ino).toBe(shown(0, 'f'))
    expect(entryAt(tree, 'd/b')?.stat.ino).toBe(shown(1, 'd/b'))
    expect(entryAt(tree, 'd')?.stat.ino).toBe(shown(2, 'd'))
    expect(tree.getattr(ROOT_NODE_ID).ino).toBe(shown(2, '/'))
    for (const { name, ino } of listAll(tree, ROOT_NODE_ID).slice(2)) {
      expect(ino).toBe(entryAt(tree, name)?.stat.ino)
    }
    const dots = listAll(tree, nodeAt(tree, 'd')).slice(0, 2)
    expect(dots.map(({ ino }) => ino)).toEqual([shown(2, 'd'), shown(2, '/')])
  })

  test('hard links in a layer share node, number and link count', () => {
    const tree = new MergedTree([layer('low', 'a = x\nd/b == a'), layer('top', 'd/c')])
    expect(entryAt(tree, 'a')).toEqual(entryAt(tree, 'd/b'))
    expect(entryAt(tree, 'a')?.stat.nlink).toBe(2)
  })

  test('a layer that appears twice has distinct nodes, and its lower copy adds no names', () => {
    const twice = layer('twice', 'd/f\nd/.wh.f\nw c 0 0\ng')
    const tree = new MergedTree([twice, layer('between', 'd/k\nw'), twice])
    expect(paths(tree)).toEqual(['d/^', 'd/f', 'd/k', 'g'])
    expect(entryAt(tree, 'g')?.stat.ino).toBe(1_000_000 + twice.at('g') + 1)
    const lower = new MergedTree([twice, layer('above', 'd/k')])
    expect(nodeAt(lower, 'g')).not.toBe(nodeAt(tree, 'g'))
  })

  test('250 layers merge, list and delete', () => {
    const layers = Array.from({ length: 250 }, (_, i) =>
      layer(
        `l${i}`,
        `d/n${String(i).padStart(3, '0')} = ${i}\nsame\nd/same = ${i}\nd/.wh.n${String(i - 2).padStart(3, '0')}`,
      ),
    )
    const tree = new MergedTree(layers)
    const shown = names(tree, 'd')
    expect(shown).toEqual(['n248', 'n249', 'same'])
    expect(entryAt(tree, 'd/same')?.stat.ino).toBe(249_000_000 + layers[249]!.at('d/same') + 1)
    expect(names(tree)).toEqual(['d', 'same'])
  })

  test('layers that need more than 2^53 ids are refused, and so is a ref outside of its span', () => {
    const wide = layer('wide', 'f')
    wide.refSpan = 2 ** 51
    expect(() => new MergedTree([wide])).not.toThrow()
    expect(() => new MergedTree([wide, wide])).toThrow(errorWith('EOVERFLOW', /layer wide.*2\^53/))
    const narrow = layer('narrow', 'a\nb')
    narrow.refSpan = 2
    const tree = new MergedTree([narrow])
    expect(names(tree)).toEqual(['a', 'b'])
    expect(() => tree.lookup(ROOT_NODE_ID, 'b')).toThrow(errorWith('EIO', /layer narrow: inode reference 2/))
  })

  test('an unknown node id is ESTALE', () => {
    const tree = new MergedTree(build())
    for (const id of [0, 2, 15, -1, 2 ** 52, Number.NaN, 1.5]) {
      expect(() => tree.getattr(id)).toThrow(expect.objectContaining({ code: 'ESTALE' }))
    }
  })
})

describe('nodes in memory', () => {
  test('only merged directories known to the kernel are held, and none after the last forget', () => {
    const tree = new MergedTree([layer('low', 'a/b/x\nu/v/w'), layer('top', 'a/b/y')])
    const a = nodeAt(tree, 'a')
    const b = nodeAt(tree, 'a/b')
    nodeAt(tree, 'u/v/w')
    expect(tree.state.directories).toBe(2)
    listAll(tree, b)
    expect(tree.state.parked).toBe(1)
    tree.forget(b, 1)
    expect(tree.state).toMatchObject({ directories: 1, parked: 0 })
    expect(() => tree.getattr(b)).toThrow(errorWith('ESTALE', /forgotten/))
    expect(() => tree.readdir(b, 0, { plus: false, add: () => true })).toThrow(
      errorWith('ESTALE', /forgotten/),
    )
    tree.forget(a, 1)
    expect(tree.state.directories).toBe(1)
    tree.forget(a, 1)
    expect(tree.state.directories).toBe(0)
    expect(nodeAt(tree, 'a/b')).toBe(b)
  })

  test('a READDIRPLUS entry counts as a lookup only if the sink takes it', () => {
    const tree = new MergedTree([layer('low', 'a/x\nb/x'), layer('top', 'a/y\nb/y')])
    let room = 3
    tree.readdir(ROOT_NODE_ID, 0, { plus: true, add: () => room-- > 0 })
    expect(tree.state.directories).toBe(1)
    tree.forget(nodeAt(tree, 'a'), 2)
    expect(tree.state.directories).toBe(0)
  })

  test("'.' is the node itself and '..' is its parent, in each directory", () => {
    const tree = new MergedTree([layer('low', 'a/b/x\nu/f'), layer('top', 'a/b/y')])
    const [a, b, u] = [nodeAt(tree, 'a'), nodeAt(tree, 'a/b'), nodeAt(tree, 'u')]
    expect(tree.lookup(b, '.')?.nodeId).toBe(b)
    expect(tree.lookup(b, '..')?.nodeId).toBe(a)
    expect(tree.lookup(a, '..')?.nodeId).toBe(ROOT_NODE_ID)
    expect(tree.lookup(ROOT_NODE_ID, '..')?.nodeId).toBe(ROOT_NODE_ID)
    // Of a directory of one layer nothing is remembered: it is searched for.
    expect(() => tree.lookup(u, '.')).toThrow(Postponed)
    expect(waited(() => tree.lookup(u, '.'))?.nodeId).toBe(u)
    expect(waited(() => tree.lookup(u, '..'))?.nodeId).toBe(ROOT_NODE_ID)
    expect(() => tree.lookup(nodeAt(tree, 'u/f'), '..')).toThrow(errorWith('ENOTDIR', /./))
    tree.forget(b, 2)
    tree.forget(a, 3)
    expect(tree.state.directories).toBe(0)
  })

  test('a directory found on two paths with different parts is EIO on the second path', () => {
    const low = layer('low', 'a/x\nb/y')
    const top = new MemoryLayer('top')
    const shared = top.add(0, 'a', { mode: S_IFDIR | 0o755 })
    top.link(0, 'b', shared)
    const tree = new MergedTree([low, top])
    const first = nodeAt(tree, 'a')
    expect(() => tree.lookup(ROOT_NODE_ID, 'b')).toThrow(
      errorWith('EIO', /layer top: directory 1 .*two paths/),
    )
    expect(listAll(tree, ROOT_NODE_ID, true).map(({ name, entry }) => [name, entry !== undefined])).toEqual([
      ['.', false],
      ['..', false],
      ['a', true],
      ['b', false],
    ])
    expect(tree.lookup(ROOT_NODE_ID, 'a')?.nodeId).toBe(first)
  })
})

describe('attributes', () => {
  test('a merged directory has the attributes of the topmost layer, with one link', () => {
    const tree = new MergedTree([
      layer('low', 'd/ {mode=777 uid=1 user.a=low user.low=1}\nd/s/'),
      layer('top', 'd/ {mode=700 uid=2 user.a=top}'),
    ])
    const d = entryAt(tree, 'd')!
    expect(d.stat).toMatchObject({ mode: S_IFDIR | 0o700, uid: 2, gid: 3, nlink: 1 })
    expect(tree.listxattr(d.nodeId)).toEqual(['user.a'])
    expect(Buffer.from(tree.getxattr(d.nodeId, 'user.a')!).toString()).toBe('top')
    expect(tree.getxattr(d.nodeId, 'user.low')).toBeUndefined()
    expect(entryAt(tree, 'd/s')?.stat.nlink).toBe(2)
  })

  test('the owner option overrides the owner of every file', () => {
    const tree = new MergedTree([layer('one', 'd/f {uid=7}')], { uid: 1000, gid: 0 })
    for (const path of ['', 'd', 'd/f'])
      expect(entryAt(tree, path)?.stat).toMatchObject({ uid: 1000, gid: 0 })
  })

  test('overlay attributes are hidden, and escaped ones lose one level of escape', () => {
    const stored = [
      'user.plain',
      'user.overlay.origin',
      'trusted.overlay.impure',
      'user.overlay.overlay.opaque',
      'trusted.overlay.overlay.overlay.redirect',
      'user.fuseoverlayfs.origin',
      'user.overlayer',
      'security.capability',
    ]
    const tree = new MergedTree([layer('one', `f {${stored.map((name) => `${name}=of-${name}`).join(' ')}}`)])
    const f = nodeAt(tree, 'f')
    expect(tree.listxattr(f)).toEqual([
      'user.plain',
      'user.overlay.opaque',
      'trusted.overlay.overlay.redirect',
      'user.overlayer',
      'security.capability',
    ])
    const get = (name: string) => Buffer.from(tree.getxattr(f, name) ?? '').toString()
    expect(get('user.overlay.opaque')).toBe('of-user.overlay.overlay.opaque')
    expect(get('trusted.overlay.overlay.redirect')).toBe('of-trusted.overlay.overlay.overlay.redirect')
    for (const name of ['user.overlay.origin', 'trusted.overlay.impure', 'user.fuseoverlayfs.origin']) {
      expect(tree.getxattr(f, name)).toBeUndefined()
    }
    expect(() => tree.getxattr(f, `user.overlay.${'n'.repeat(240)}`)).toThrow(
      errorWith('EOPNOTSUPP', /escaped/),
    )
  })

  test.each(['user', 'trusted'])(
    'a file with the attribute %s.overlay.metacopy is EIO, never zeros',
    (space) => {
      const layers = [
        layer('low', 'f = data'),
        layer('top', `f = \0\0\0\0 {${space}.overlay.metacopy=}\ng = ok`),
      ]
      const tree = new MergedTree(layers)
      const message = errorWith('EIO', /layer top: inode 1 has overlay\.metacopy/)
      expect(() => tree.lookup(ROOT_NODE_ID, 'f')).toThrow(message)
      // The id can be guessed, so that every way to the file is shut.
      const id = nodeAt(tree, 'g') - 2
      expect(() => tree.getattr(id)).toThrow(message)
      expect(() => tree.seek(id, 0, 'data')).toThrow(message)
      const sink: ExtentSink = { hole: () => {}, block: () => {}, file: () => {} }
      expect(() => tree.read(id, 0, 4, sink)).toThrow(message)
      expect(names(tree)).toEqual(['f', 'g'])
    },
  )

  test('a file without attributes is searched for them once, not at every read', () => {
    const one = layer('one', 'f = data')
    const tree = new MergedTree([one])
    const f = nodeAt(tree, 'f')
    const before = one.calls.listxattr
    const blocks: [BlockRef, number, number][] = []
    for (let i = 0; i < 10; i++) {
      tree.read(f, 1, 2, { hole: () => {}, file: () => {}, block: (...args) => blocks.push(args) })
    }
    expect(one.calls.listxattr).toBe(before)
    expect(blocks.at(-1)).toMatchObject([{ position: 1 }, 1, 2])
    expect(tree.seek(f, 1, 'hole')).toBe(4)
  })

  test('an entry of a layer whose type differs from its inode is EIO', () => {
    const one = layer('one', 'f\nd/')
    one.wrongTypes.set('f', S_IFDIR >>> 12).set('d', S_IFREG >>> 12)
    const tree = new MergedTree([one])
    expect(() => tree.lookup(ROOT_NODE_ID, 'f')).toThrow(
      errorWith('EIO', /"f" has type 4, its inode 1 has mode 0100644/),
    )
    expect(() => tree.lookup(ROOT_NODE_ID, 'd')).toThrow(errorWith('EIO', /"d" has type 8/))
  })

  test('a lookup that cannot succeed fails with the errno for its reason', () => {
    const tree = new MergedTree([layer('one', 'f\nl -> f')])
    expect(tree.lookup(ROOT_NODE_ID, 'absent')).toBeUndefined()
    expect(() => tree.lookup(nodeAt(tree, 'f'), 'x')).toThrow(errorWith('ENOTDIR', /./))
    expect(() => tree.readdir(nodeAt(tree, 'f'), 0, { plus: false, add: () => true })).toThrow(
      errorWith('ENOTDIR', /./),
    )
    expect(() => tree.readlink(nodeAt(tree, 'f'))).toThrow(errorWith('EINVAL', /./))
    expect(() => tree.lookup(ROOT_NODE_ID, 'n'.repeat(256))).toThrow(errorWith('ENAMETOOLONG', /256/))
    expect(Buffer.from(tree.readlink(nodeAt(tree, 'l'))).toString()).toBe('f')
  })

  test('statfs adds up the layers, and counts a repeated layer once', () => {
    const [a, b] = [layer('a', 'x\ny'), layer('b', 'z')]
    expect(new MergedTree([a, b, a]).statfs()).toEqual({
      blockSize: 1024,
      blocks: 20,
      blocksFree: 0,
      blocksAvailable: 0,
      files: 5,
      filesFree: 0,
      nameMax: 255,
    })
  })
})
