import { describe, expect, test } from 'vitest'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import { ROOT_NODE_ID } from '../../../src/base/index.ts'
import { NodePaths } from '../../../src/drivers/fuse-native/node-paths.ts'
import { nodeAt } from '../../overlay/support/list.ts'
import { layer } from '../../overlay/support/memory-layer.ts'

const odd = 'z\xff'
const utf8 = Buffer.from('größe').toString('latin1')

/** Both layers know `a` and `a/b`, so these are merged directories, which live as long as somebody knows them. */
function tree(): MergedTree {
  const lower = layer('lower', `a/b/one = 1\n ${odd} = 2\n ${utf8} = 3\n file = 4\n c/d/e/f = 5`)
  return new MergedTree([lower, layer('upper', 'a/b/two = 6')])
}

describe('NodePaths', () => {
  test('NodePaths resolves paths from the root', () => {
    const merged = tree()
    const paths = new NodePaths(merged)
    expect(paths.resolve('/')).toBe(ROOT_NODE_ID)
    expect(paths.size).toBe(0)
    for (const path of ['a', 'a/b', 'a/b/one', 'a/b/two', 'file', 'c/d/e/f']) {
      expect(paths.resolve(`/${path}`)).toBe(nodeAt(merged, path))
    }
  })

  test('NodePaths reads text as UTF-8, and finds no name that text cannot hold', () => {
    const paths = new NodePaths(tree())
    expect(paths.resolve('/größe')).toBe(nodeAt(tree(), utf8))
    expect(() => paths.resolve(`/${Buffer.from(odd, 'latin1').toString('utf8')}`)).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    )
  })

  test.each([
    ['/no', 'ENOENT', 0],
    ['/a/no', 'ENOENT', 1],
    ['/a/b/no/more', 'ENOENT', 2],
    ['/file/x', 'ENOTDIR', 1],
    [`/${'n'.repeat(256)}`, 'ENAMETOOLONG', 0],
  ])('resolving %s fails with %s, and the nodes found on the way are kept', (path, code, found) => {
    const paths = new NodePaths(tree())
    expect(() => paths.resolve(path)).toThrow(expect.objectContaining({ code }))
    expect(paths.size).toBe(found)
  })

  test('NodePaths looks up a known path only once', () => {
    const merged = tree()
    let lookups = 0
    const counting = Object.assign(Object.create(merged) as MergedTree, {
      lookup: (parent: number, name: string) => {
        lookups += 1
        return MergedTree.prototype.lookup.call(merged, parent, name)
      },
      forget: (node: number, count: number) => merged.forget(node, count),
    })
    const paths = new NodePaths(counting)
    for (let i = 0; i < 3; i++) paths.resolve('/a/b/one')
    expect(lookups).toBe(3)
  })

  test('NodePaths forgets the least recently used node and returns its lookups', () => {
    const merged = tree()
    const paths = new NodePaths(merged, 4)
    paths.resolve('/a/b/one')
    expect(merged.state.directories).toBe(2)
    paths.resolve('/c/d/e/f')
    expect(paths.size).toBe(4)
    expect(merged.state.directories).toBe(0)
    // And finds it again.
    expect(paths.resolve('/a/b/two')).toBe(nodeAt(merged, 'a/b/two'))
  })

  test('NodePaths forgets a directory only after all known nodes below it', () => {
    const merged = tree()
    const paths = new NodePaths(merged, 3)
    paths.resolve('/a/b/one')
    paths.resolve('/file')
    // Had it gone by age alone, "a" would be the one that is missing.
    expect(merged.state.directories).toBe(2)
    paths.resolve('/c')
    expect(merged.state.directories).toBe(1)
    expect(paths.size).toBe(3)
  })
})
