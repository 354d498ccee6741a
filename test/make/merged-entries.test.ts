import { expect, test } from 'vitest'
import {
  type BlockStore,
  type DirectorySink,
  type Entry,
  type FileSystem,
  FsError,
  type Name,
  type NodeId,
  S_IFCHR,
  S_IFDIR,
  S_IFREG,
  type Stat,
} from '../../src/base/index.ts'
import { MergedEntries, type MergedEntriesOptions } from '../../src/make/merged-entries.ts'
import { nothingLeftOut, type TreeItem } from '../../src/make/tree-item.ts'

interface Node {
  readonly stat: Stat
  readonly children?: ReadonlyMap<Name, NodeId>
}

const TIMES = { atime: 0, mtime: 7, ctime: 0, atimeNsec: 0, mtimeNsec: 0, ctimeNsec: 0 }
const stat = (mode: number, other: Partial<Stat> = {}): Stat => ({
  ...{ ino: 1, mode, nlink: 1, uid: 2, gid: 3, rdev: 0, size: 0, blocks: 0, blksize: 4096, ...TIMES },
  ...other,
})
const directory = (children: Readonly<Record<Name, NodeId>>): Node => ({
  stat: stat(S_IFDIR | 0o755),
  children: new Map(Object.entries(children)),
})
const file = (other: Partial<Stat> = {}): Node => ({ stat: stat(S_IFREG | 0o644, other) })

/** Files in memory, which are known only as long as a lookup of them was not forgotten. */
class CountedTree implements Partial<FileSystem> {
  readonly lookups = new Map<NodeId, number>()
  readonly asked: NodeId[] = []
  readonly #nodes: ReadonlyMap<NodeId, Node>

  constructor(nodes: Readonly<Record<number, Node>>) {
    this.#nodes = new Map(Object.entries(nodes).map(([node, what]) => [Number(node), what]))
  }

  entries(options: MergedEntriesOptions = {}): MergedEntries {
    return new MergedEntries(this as unknown as FileSystem, {} as BlockStore, options)
  }

  getattr(node: NodeId): Stat {
    this.asked.push(node)
    return this.#known(node).stat
  }

  forget(node: NodeId, count: number): void {
    this.lookups.set(node, (this.lookups.get(node) ?? 0) - count)
  }

  listxattr(): readonly Name[] {
    return []
  }

  readdir(node: NodeId, cookie: number, sink: DirectorySink): void {
    for (const [i, [name, child]] of [...(this.#known(node).children ?? [])].entries()) {
      if (i < cookie) continue
      const found = this.#nodes.get(child)
      const entry: Entry | undefined = found && { nodeId: child, stat: found.stat }
      if (!sink.add(name, Number(child), 0, i + 1, entry)) return
      if (entry !== undefined) this.lookups.set(child, (this.lookups.get(child) ?? 0) + 1)
    }
  }

  lookup(_parent: NodeId, name: Name): Entry | undefined {
    throw new FsError('EIO', `${name} is damaged`)
  }

  #known(node: NodeId): Node {
    const found = this.#nodes.get(node)
    if (found === undefined || (node !== 1 && (this.lookups.get(node) ?? 0) <= 0)) {
      throw new FsError('ESTALE', `node ${node} is not known`)
    }
    return found
  }
}

function shortForm(items: Iterable<TreeItem>): string[] {
  return [...items].map((item) => ('link' in item ? `${item.path} -> ${item.link}` : item.path))
}

test('names of one file are links, and two files with one inode number stay two', () => {
  const tree = new CountedTree({
    1: directory({ a: 2, b: 3, d: 4, e: 2 }),
    2: file({ ino: 9, nlink: 3 }),
    3: file({ ino: 9, nlink: 2 }),
    4: directory({ c: 2, f: 3 }),
  })
  expect(shortForm(tree.entries().items())).toEqual(['', 'a', 'b', 'd', 'd/c -> a', 'd/f -> b', 'e -> a'])
})

test('every lookup is forgotten, a directory when all in it has come, and attributes are asked for once', () => {
  const tree = new CountedTree({ 1: directory({ a: 2, d: 3 }), 2: file(), 3: directory({ b: 4 }), 4: file() })
  const known = (): NodeId[] => [...tree.lookups].filter(([, count]) => count !== 0).map(([node]) => node)
  const seen: string[] = []
  for (const { path } of tree.entries().items()) seen.push(`${path}: ${known().sort().join()}`)
  expect(seen).toEqual([': ', 'a: 2,3', 'd: 3', 'd/b: 3,4'])
  expect(known()).toEqual([])
  expect(tree.asked).toEqual([1])
})

test('a tree of 5 000 levels needs no more of the stack than one of one', () => {
  const depth = 5000
  const nodes: Record<number, Node> = { [depth + 1]: directory({}) }
  for (let level = 1; level <= depth; level += 1) nodes[level] = directory({ d: level + 1 })
  let last = ''
  let count = 0
  for (const { path } of new CountedTree(nodes).entries().items()) {
    last = path
    count += 1
  }
  expect({ count, length: last.length }).toEqual({ count: depth + 1, length: depth * 2 - 1 })
})

test('a directory that leads to itself ends with an error', () => {
  const tree = new CountedTree({ 1: directory({ down: 2 }), 2: directory({ down: 2 }) })
  expect(() => shortForm(tree.entries().items())).toThrow(/a path of more than 65536 bytes/)
})

test('what is left out is not met, and what is damaged is named by its path', () => {
  const tree = new CountedTree({ 1: directory({ a: 2, d: 3 }), 2: file(), 3: directory({ b: 2, gone: 5 }) })
  const exclude = { excludes: (path: Name) => path === 'd' }
  expect(shortForm(tree.entries({ exclude }).items())).toEqual(['', 'a'])
  expect(() => shortForm(tree.entries().items())).toThrow('"d/gone": gone is damaged')
})

test('marks that are data are escaped in a layer, and a device 0:0 is left out and counted; not in an image', () => {
  const nodes = { 1: directory({ '.wh.a': 2, device: 3 }), 2: file(), 3: { stat: stat(S_IFCHR) } }
  const leftOut = nothingLeftOut()
  expect(shortForm(new CountedTree(nodes).entries({ leftOut }).items())).toEqual(['', '..wh.a'])
  expect(leftOut.devices).toBe(1)
  const stored = new CountedTree(nodes).entries({ form: 'stored', leftOut })
  expect(shortForm(stored.items())).toEqual(['', '.wh.a', 'device'])
  expect(leftOut.devices).toBe(1)
})
