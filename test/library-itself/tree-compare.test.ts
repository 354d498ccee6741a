import {
  chmodSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { S_IFCHR, S_IFIFO } from '../../src/base/index.ts'
import {
  buildSourceTree,
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  TreeBuilder,
  type TreeEntry,
  titled,
  walkInChild,
  walkTree,
} from '../library/index.ts'
import { makeNode, setXattr } from '../library/programs/native.ts'

const root = needs('root')

/** Each plants one difference of a kind that a reader could get wrong, and names what must be reported. */
const PLANTS: readonly (readonly [string, (at: (path: string) => Buffer) => void, RegExp])[] = [
  ['mode', (at) => chmodSync(at('file'), 0o4644), /^"file": mode "4644", expected "644"$/],
  ['owner', (at) => lchownSync(at('link'), 7, 0), /^"link": uid 7, expected 0$/],
  ['group', (at) => lchownSync(at('link'), 0, 70_000), /^"link": gid 70000, expected 0$/],
  ['time', (at) => lutimesSync(at('link'), 5, 6), /^"link": mtime 6, expected 4102444800$/],
  ['content', (at) => writeFileSync(at('file'), 'CONTENT'), /^"file": sha256 /],
  ['length', (at) => truncateSync(at('file'), 3), /^"file": size 3, expected 7$/],
  [
    'target',
    (at) => replace(at('link'), (path) => symlinkSync('flie', path)),
    /^"link": target "flie", expected "file"$/,
  ],
  [
    'device',
    (at) => replace(at('char'), (path) => makeNode(path, S_IFCHR | 0o600, 1, 260)),
    /^"char": rdev "1:260", expected "4095:3"$/,
  ],
  [
    'type',
    (at) => replace(at('char'), (path) => makeNode(path, S_IFIFO | 0o600, 0, 0)),
    /^"char": type fifo, expected char$/,
  ],
  ['missing name', (at) => unlinkSync(at('odd\xff')), /^"odd\u00ff": missing file$/],
  ['new name', (at) => writeFileSync(at('dir/new\n'), ''), /^"dir\/new\\n": unexpected file$/],
  [
    'lost hard link',
    (at) => replace(at('dir/two'), (path) => writeFileSync(path, 'same')),
    /linkGroup none, expected "dir\/one"/,
  ],
  [
    'other hard link',
    (at) => linkSync(at('file'), at('dir/three')),
    /^"file": linkGroup "dir\/three", expected none$/,
  ],
  [
    'attribute',
    (at) => setXattr(at('dir'), 'user.k', Buffer.from('w')),
    /^"dir": xattr user\.k 0x77, expected 0x76$/,
  ],
  [
    'new attribute',
    (at) => setXattr(at('link'), 'trusted.k', Buffer.of()),
    /^"link": xattr trusted\.k 0x, expected absent$/,
  ],
]

function replace(path: Buffer, make: (path: Buffer) => void): void {
  unlinkSync(path)
  make(path)
}

function plantTree(directory: string): TreeBuilder {
  const tree = new TreeBuilder(directory, 1)
  tree.directory('dir')
  tree.xattr('dir', 'user.k', 'v')
  tree.file('file', 'content')
  tree.file('odd\xff', 'x')
  tree.file('dir/one', 'same')
  tree.link('dir/two', 'dir/one')
  tree.symlink('link', 'file')
  tree.mtime('link', 4_102_444_800)
  tree.node('char', S_IFCHR, 4095, 3, 0o600)
  tree.close()
  return tree
}

describe.skipIf(!root.ok)(titled('compareTrees', root), () => {
  let temp = ''
  beforeAll(() => {
    temp = makeTempDir()
  })
  afterAll(() => removeTempDir(temp))

  test.each(PLANTS)('compareTrees finds a planted difference: %s', (name, plant, line) => {
    const directory = `${temp}/${name.replaceAll(' ', '-')}`
    mkdirSync(directory)
    const tree = plantTree(directory)
    const before = walkTree(directory)
    expect(compareTrees(walkTree(directory), before)).toEqual([])
    plant((path) => tree.at(path))
    const lines = compareTrees(walkTree(directory), before, { limit: 100 })
    expect(
      lines.some((text) => line.test(text)),
      lines.join('\n'),
    ).toBe(true)
  })

  test('a seed always gives the same tree, and a child process lists the same tree', async () => {
    for (const name of ['first', 'second']) {
      mkdirSync(`${temp}/${name}`)
      buildSourceTree(`${temp}/${name}`, { seed: 3 })
    }
    const first = walkTree(`${temp}/first`)
    expect(compareTrees(walkTree(`${temp}/second`), first)).toEqual([])
    expect(compareTrees(await walkInChild(`${temp}/second`), first)).toEqual([])
    expect(new Set(first.map((entry) => entry.type)).size).toBe(7)
    expect(first.filter((entry) => entry.linkGroup === 'types/file').map((entry) => entry.path)).toEqual([
      'types/file',
      'types/hard-1',
      'types/sticky/hard-2',
    ])
  })

  test('compareTrees leaves out what a packer cannot hold', () => {
    mkdirSync(`${temp}/reduced`)
    const options = { noSockets: true, noDevices: true, noXattrs: true, noInvalidUtf8: true, noSparse: true }
    buildSourceTree(`${temp}/reduced`, options)
    const entries = walkTree(`${temp}/reduced`)
    expect(entries.filter(({ type }) => ['socket', 'char', 'block'].includes(type))).toEqual([])
    expect(entries.filter(({ xattrs }) => xattrs !== undefined)).toEqual([])
    const utf8 = (path: string) =>
      Buffer.from(Buffer.from(path, 'latin1').toString()).toString('latin1') === path
    expect(entries.filter(({ path }) => !utf8(path))).toEqual([])
    expect(entries.some(({ path }) => path.includes('\n'))).toBe(true)
  })
})

describe('compareTrees on listings', () => {
  const entry: TreeEntry = { path: 'd', type: 'directory', mode: '755', uid: 0, gid: 0, mtime: 1, nlink: 2 }

  test('compareTrees leaves out the entries it is asked to leave out', () => {
    const other = { ...entry, nlink: 1, mtime: 2, xattrs: { 'trusted.overlay.origin': '00' } }
    expect(compareTrees([other], [entry])).toHaveLength(3)
    const options = {
      ignore: ['mtime'] as const,
      ignoreDirectoryNlink: true,
      ignoreXattr: (name: string) => name.includes('overlay'),
    }
    expect(compareTrees([other], [entry], options)).toEqual([])
  })

  test('compareTrees keeps its report short, and reports a name that is listed twice', () => {
    const many = Array.from({ length: 50 }, (_, i) => ({ ...entry, path: `p${i}` }))
    expect(compareTrees(many, [], { limit: 3 }).at(-1)).toBe('and 47 more')
    expect(compareTrees([entry, entry], [entry])).toEqual(['"d": listed twice'])
  })
})
