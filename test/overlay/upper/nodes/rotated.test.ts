import { closeSync, linkSync, mkdirSync, openSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HostDirectoryLayer, MergedTree } from '../../../../overlay/index.ts'
import { type FileSystem, isDirectory, type NodeId, ROOT_NODE_ID } from '../../../../src/base/index.ts'
import { setxattrFd } from '../../../../src/sys/files/xattr.ts'
import { makeTempDir, needs, removeTempDir, titled } from '../../../library/index.ts'
import { ListSink } from '../../support/list.ts'
import { OpenTree } from '../support/tree-side.ts'
import { REAL } from '../support.ts'

const asRoot = needs('root')

let folder: string
beforeEach(() => {
  folder = makeTempDir()
})
afterEach(() => removeTempDir(folder))

const at = (...names: string[]) => join(folder, ...names)

/** Files of a directory that is to be a layer. */
function write(layer: string, ...paths: string[]): void {
  for (const path of paths) {
    mkdirSync(join(at(layer), path, '..'), { recursive: true })
    writeFileSync(at(layer, path), path)
  }
}

function record(path: string, name: string, value: string): void {
  const fd = openSync(path, 'r')
  try {
    setxattrFd(fd, name, Buffer.from(value), 'either')
  } finally {
    closeSync(fd)
  }
}

/** Mounts layers, bottom first, below an upper directory of this name. */
function session<T>(layers: readonly string[], upper: string, use: (open: OpenTree) => T): T {
  const work = at(`${upper}-work`)
  for (const path of [at(upper), work]) mkdirSync(path, { recursive: true })
  const open = new OpenTree({ lowers: layers.map((name) => at(name)), upper: at(upper), work }, REAL)
  try {
    return use(open)
  } finally {
    open.close()
  }
}

function nodeAt(tree: FileSystem, path: string): NodeId {
  return path.split('/').reduce((node, name) => {
    const entry = tree.lookup(node, name)
    if (entry === undefined) throw new Error(`no ${name} of ${path}`)
    return entry.nodeId
  }, ROOT_NODE_ID)
}

/** The number of each path, asked for in all ways that there are. */
function numbers(tree: FileSystem): Record<string, number> {
  const found: Record<string, number> = { '': tree.getattr(ROOT_NODE_ID).ino }
  const walk = (node: NodeId, path: string): void => {
    const plain = new ListSink(false)
    tree.readdir(node, 0, plain)
    const plus = new ListSink(true)
    tree.readdir(node, 0, plus)
    expect(plus.taken.map(({ name, ino }) => [name, ino])).toEqual(
      plain.taken.map(({ name, ino }) => [name, ino]),
    )
    for (const { name, ino, entry: listed } of plus.taken) {
      if (name === '.') expect(ino).toBe(found[path])
      if (name === '.' || name === '..') continue
      const child = path === '' ? name : `${path}/${name}`
      const entry = tree.lookup(node, name)
      if (entry === undefined) throw new Error(`${child} is listed, but not there`)
      expect([child, entry.stat.ino]).toEqual([child, ino])
      if (listed !== undefined) expect(listed.stat.ino).toBe(ino)
      expect(tree.getattr(entry.nodeId).ino).toBe(ino)
      found[child] = ino
      if (isDirectory(entry.stat.mode)) walk(entry.nodeId, child)
    }
  }
  walk(ROOT_NODE_ID, '')
  return found
}

const readOnly = (layers: readonly string[]): Record<string, number> => {
  const opened = layers.map((name) => new HostDirectoryLayer(at(name)))
  try {
    return numbers(new MergedTree(opened))
  } finally {
    for (const layer of opened) layer.close()
  }
}

/** Paths that share a number, where each has one name only. */
function shared(found: Record<string, number>): string[][] {
  const byNumber = new Map<number, string[]>()
  for (const [path, ino] of Object.entries(found)) byNumber.set(ino, [...(byNumber.get(ino) ?? []), path])
  return [...byNumber.values()].filter((paths) => paths.length > 1)
}

describe.skipIf(!asRoot.ok)(titled('an upper directory that becomes a layer', asRoot), () => {
  test('copies and the directories around them keep their inode numbers over several rounds as a layer', () => {
    write('l', 'f', 'd/f', 'd/other', 'd/e/deep', 'whole')
    symlinkSync('f', at('l', 'link'))
    const change = (tree: OpenTree['tree'], paths: readonly string[]) => {
      for (const path of paths) tree.setattr(nodeAt(tree, path), { mtime: 'now' })
    }
    const first = session(['l'], 'u1', ({ tree }) => {
      const before = numbers(tree)
      change(tree, ['f', 'link', 'd/f', 'd/e/deep'])
      expect(numbers(tree)).toEqual(before)
      return before
    })
    expect(readOnly(['l', 'u1'])).toEqual(first)
    session(['l', 'u1'], 'u2', ({ tree }) => {
      expect(numbers(tree)).toEqual(first)
      change(tree, ['f', 'link', 'd/f'])
      expect(numbers(tree)).toEqual(first)
    })
    session(['l', 'u1', 'u2'], 'u3', ({ tree }) => {
      expect(numbers(tree)).toEqual(first)
      change(tree, ['f', 'd/e/deep'])
      expect(numbers(tree)).toEqual(first)
    })
    expect(readOnly(['l', 'u1', 'u2', 'u3'])).toEqual(first)
    expect(shared(first)).toEqual([])
  })

  test('a file that was created anew has an inode number of its own', () => {
    write('l', 'f', 'd/f')
    const made = session(['l'], 'u1', ({ tree }) => {
      const before = numbers(tree)
      const d = nodeAt(tree, 'd')
      tree.unlink(d, 'f')
      tree.mknod(d, 'f', 0o100644, 0, { uid: 0, gid: 0, umask: 0 })
      const after = numbers(tree)
      expect(after['d/f']).not.toBe(before['d/f'])
      return after
    })
    expect(readOnly(['l', 'u1'])).toEqual(made)
  })

  test('an inode record counts only if the copy hides the file with that number', () => {
    write('l', 'a', 'b', 'c', 'linked')
    linkSync(at('l', 'linked'), at('l', 'linked2'))
    write('u', 'a', 'b', 'c', 'x', 'linked', 'two')
    linkSync(at('u', 'two'), at('u', 'two2'))
    write('l', 'two')
    const below = readOnly(['l'])
    const number = (path: string) => `${below[path]}`
    record(at('u'), 'user.overlay.atomfs.numbers', '1')
    // A stranger's records: of another file, of one twice, of one with other names, of one that has itself two names.
    for (const [path, value] of [
      ['a', number('a')],
      ['b', number('a')],
      ['x', number('c')],
      ['c', '-1'],
      ['linked', number('linked')],
      ['two', number('two')],
    ] as const) {
      record(at('u', path), 'user.overlay.atomfs.ino', value)
    }
    const found = readOnly(['l', 'u'])
    expect(found['a']).toBe(below['a'])
    const others = ['b', 'x', 'c', 'linked', 'two']
    for (const path of others) expect(Object.values(below), path).not.toContain(found[path])
    expect(found['linked2']).toBe(below['linked2'])
    expect(shared(found)).toEqual([['two', 'two2']])
    session(['l', 'u'], 'v', ({ tree }) => {
      expect(numbers(tree)).toEqual(found)
      for (const path of ['a', ...others]) tree.setattr(nodeAt(tree, path), { mode: 0o600 })
      expect(shared(numbers(tree))).toEqual([])
    })
  })

  test('an upper without the mark at its root is not searched for inode records', () => {
    write('l', 'a')
    write('u', 'a')
    const below = readOnly(['l'])
    record(at('u', 'a'), 'user.overlay.atomfs.ino', `${below['a']}`)
    expect(readOnly(['l', 'u'])['a']).not.toBe(below['a'])
    record(at('u'), 'user.overlay.atomfs.numbers', '1')
    expect(readOnly(['l', 'u'])['a']).toBe(below['a'])
    // Renamed outside of any mount: its original is somewhere else.
    renameSync(at('u', 'a'), at('u', 'z'))
    expect(shared(readOnly(['l', 'u']))).toEqual([])
  })
})
