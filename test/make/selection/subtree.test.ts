import { expect, test } from 'vitest'
import { S_IFDIR, S_IFREG } from '../../../src/base/index.ts'
import { excludeGlobs } from '../../../src/make/selection/glob.ts'
import { within, without } from '../../../src/make/selection/subtree.ts'
import type { TreeItem } from '../../../src/make/tree-item.ts'

const entry = (path: string, mode = S_IFREG): TreeItem => ({
  path,
  entry: { mode, uid: 0, gid: 0, mtime: 0 },
})

async function pathsOf(items: AsyncIterable<TreeItem>): Promise<string[]> {
  const paths: string[] = []
  for await (const item of items) paths.push('link' in item ? `${item.path} -> ${item.link}` : item.path)
  return paths
}

test('a directory of a tree is a tree of its own', async () => {
  const items = [entry('', S_IFDIR), entry('a/bc'), entry('a/b/c'), entry('a/b', S_IFDIR), entry('x')]
  expect(await pathsOf(within([...items, { path: 'a/b/d', link: 'a/b/c' }], 'a/b'))).toEqual([
    'c',
    '',
    'd -> c',
  ])
})

test('a directory that is none, or is not there, and a hard link out of it are refused', async () => {
  await expect(pathsOf(within([entry('a')], 'a'))).rejects.toThrow('"a" is no directory')
  await expect(pathsOf(within([entry('ab/c')], 'a'))).rejects.toThrow('there is no "a"')
  const link: TreeItem = { path: 'a/b', link: 'c' }
  await expect(pathsOf(within([entry('c'), link], 'a'))).rejects.toThrow(
    '"a/b" is a hard link to "c", which does not lie in "a"',
  )
})

test('what lies in a directory that is left out is left out, in any order', async () => {
  const items = [entry('a/b/c'), entry('a/b', S_IFDIR), entry('a', S_IFDIR), entry('b'), entry('', S_IFDIR)]
  expect(await pathsOf(without(items, excludeGlobs(['/a/b'])))).toEqual(['a', 'b', ''])
})
