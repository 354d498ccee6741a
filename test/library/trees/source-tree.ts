import { chmodSync, lchownSync, linkSync, lutimesSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK } from '../../../src/base/index.ts'
import { makeNode, setXattr } from '../programs/native.ts'
import { Random } from './random.ts'
import { addSparse, addXattrs } from './source-tree-parts.ts'

export interface SourceTreeOptions {
  /** `small`: some hundred entries, in well under a second; `full`: about 40 000 and 5 GiB of (sparse) content. */
  readonly size?: 'small' | 'full'
  readonly seed?: number
  /** Block size of the image it is meant for: files end one byte before, at and after it. 128 KiB if absent. */
  readonly blockSize?: number
  /** Leave out sockets (tar has none). */
  readonly noSockets?: boolean
  /** Leave out devices: char 0:0 never occurs, so that no layer of it holds a whiteout. */
  readonly noDevices?: boolean
  /** Leave out hard links of fifos and devices (tar stores each by itself). */
  readonly noSpecialLinks?: boolean
  readonly noXattrs?: boolean
  /** Leave out attributes of symbolic links and special files only. */
  readonly noSymlinkXattrs?: boolean
  /** Leave out names and link targets that are not UTF-8. */
  readonly noInvalidUtf8?: boolean
  readonly noSparse?: boolean
  /** Longest target of a symbolic link, bytes; 3999 if absent. */
  readonly longestTarget?: number
}

/**
 * So late that `relatime` never renews it: mksquashfs recognises hard links by comparing the whole of `struct stat`,
 * and takes a symbolic link for another inode where its own readlink(2) changed the access time in between.
 */
const FAR_ATIME = 4_000_000_000

/** Writes into a tree and keeps what must be set last. */
export class TreeBuilder {
  readonly root: string
  readonly random: Random
  readonly #times: { readonly path: Buffer; readonly mtime: number }[] = []

  constructor(root: string, seed: number) {
    this.root = root
    this.random = new Random(seed)
  }

  /** The place of a relative path given as a "binary" string. */
  at(path: string): Buffer {
    return path === ''
      ? Buffer.from(this.root)
      : Buffer.concat([Buffer.from(`${this.root}/`), Buffer.from(path, 'latin1')])
  }

  directory(path: string, mode = 0o755): void {
    mkdirSync(this.at(path))
    this.#finish(path, mode)
  }

  file(path: string, content: Uint8Array | string = '', mode = 0o644): void {
    writeFileSync(this.at(path), content)
    this.#finish(path, mode)
  }

  symlink(path: string, target: string): void {
    symlinkSync(Buffer.from(target, 'latin1'), this.at(path))
    this.#finish(path, undefined)
  }

  node(path: string, type: number, major = 0, minor = 0, mode = 0o644): void {
    makeNode(this.at(path), type | mode, major, minor)
    this.#finish(path, mode)
  }

  link(path: string, existing: string): void {
    linkSync(this.at(existing), this.at(path))
  }

  owner(path: string, uid: number, gid: number): void {
    lchownSync(this.at(path), uid, gid)
  }

  xattr(path: string, name: string, value: Uint8Array | string): void {
    setXattr(this.at(path), name, typeof value === 'string' ? Buffer.from(value) : value)
  }

  /** Overrides the time that every entry gets. Whole seconds. */
  mtime(path: string, mtime: number): void {
    this.#times.push({ path: this.at(path), mtime })
  }

  /** Sets the times; nothing may be added afterwards. Children come before their directories. */
  close(): void {
    const sorted = new Map(this.#times.map(({ path, mtime }) => [path.toString('latin1'), mtime]))
    for (const [path, mtime] of [...sorted].sort(([a], [b]) => (a < b ? 1 : -1))) {
      lutimesSync(Buffer.from(path, 'latin1'), FAR_ATIME, mtime)
    }
  }

  #finish(path: string, mode: number | undefined): void {
    // The umask of the process must not show.
    if (mode !== undefined) chmodSync(this.at(path), mode)
    this.mtime(path, 1_000_000_000 + this.random.int(0, 700_000_000))
  }
}

/**
 * Fills an existing empty directory with everything that a squashfs image can hold. Needs root. The same options
 * give the same tree.
 */
export function buildSourceTree(root: string, options: SourceTreeOptions = {}): void {
  const tree = new TreeBuilder(root, options.seed ?? 1)
  const full = options.size === 'full'
  chmodSync(root, 0o755)
  tree.mtime('', 1_234_567_890)
  addTypes(tree, options)
  addNames(tree, options)
  addSizes(tree, options.blockSize ?? 131_072)
  addOwnersAndTimes(tree, full ? 300 : 20)
  addMany(tree, full)
  addDeep(tree, full ? 120 : 20)
  if (!options.noXattrs) addXattrs(tree, options)
  if (!options.noSparse) addSparse(tree, full)
  tree.close()
}

function addTypes(tree: TreeBuilder, options: SourceTreeOptions): void {
  tree.directory('types')
  tree.file('types/file', 'plain\n')
  tree.file('types/setuid', '#!/bin/sh\n', 0o4755)
  tree.file('types/setgid', '#!/bin/sh\n', 0o2755)
  tree.file('types/unreadable', 'secret\n', 0)
  tree.directory('types/sticky', 0o1777)
  tree.directory('types/empty', 0o700)
  tree.symlink('types/symlink', 'file')
  tree.symlink('types/dangling', '../no/such/thing')
  const target = Array.from({ length: 400 }, (_, i) => `${i}`.padStart(9, 'x')).join('/')
  tree.symlink('types/long-symlink', target.slice(0, options.longestTarget))
  tree.node('types/fifo', S_IFIFO, 0, 0, 0o622)
  tree.link('types/hard-1', 'types/file')
  tree.link('types/sticky/hard-2', 'types/file')
  tree.link('types/symlink-hard', 'types/symlink')
  if (!options.noSpecialLinks) tree.link('types/fifo-hard', 'types/fifo')
  if (!options.noSockets) tree.node('types/socket', S_IFSOCK, 0, 0, 0o755)
  if (options.noDevices) return
  tree.node('types/char', S_IFCHR, 5, 1, 0o620)
  tree.node('types/block', S_IFBLK, 8, 17, 0o660)
  // The 32-bit encoding has 12 bits of major and 20 of minor number.
  tree.node('types/char-max', S_IFCHR, 4095, 1_048_575)
  tree.node('types/block-minor', S_IFBLK, 259, 300)
  if (options.noSpecialLinks) return
  tree.link('types/char-hard', 'types/char')
  tree.link('types/block-hard', 'types/block')
}

function addNames(tree: TreeBuilder, options: SourceTreeOptions): void {
  tree.directory('names')
  const names = [
    'new\nline',
    'with space',
    ' ',
    '-dash',
    '*?[a]',
    'back\\slash',
    '"quote\'',
    'tab\t',
    '...',
    '.hidden',
    'n'.repeat(255),
    Buffer.from('größe-☃-𝄞').toString('latin1'),
    '\x01\x7f',
  ]
  if (!options.noInvalidUtf8) names.push('\xff\xfe', 'trunc\xc3', '\xed\xa0\x80', '\x80'.repeat(255))
  for (const name of names) tree.file(`names/${name}`, Buffer.from(name, 'latin1'))
  tree.directory(`names/${'d'.repeat(255)}`)
  tree.symlink('names/to-odd', options.noInvalidUtf8 ? 'new\nline' : 'trunc\xc3')
}

function addSizes(tree: TreeBuilder, block: number): void {
  tree.directory('sizes')
  for (const size of [0, 1, block - 1, block, block + 1, 2 * block, 3 * block + 777]) {
    tree.file(`sizes/text-${size}`, tree.random.text(size))
    tree.file(`sizes/random-${size}`, tree.random.bytes(size))
  }
  tree.file('sizes/zeros', Buffer.alloc(2 * block + 5))
  const middle = Buffer.concat([tree.random.bytes(block), Buffer.alloc(block), tree.random.bytes(99)])
  tree.file('sizes/zero-block-inside', middle)
  tree.file('sizes/duplicate', middle)
}

function addOwnersAndTimes(tree: TreeBuilder, owners: number): void {
  tree.directory('owners')
  for (let i = 0; i < owners; i += 1) {
    tree.file(`owners/u${i}`, `${i}`)
    // Also ids beyond 16 and 31 bits; squashfs holds each number once in a table.
    tree.owner(`owners/u${i}`, i === 1 ? 4_000_000_000 : 1000 + i * 37, i === 2 ? 70_000 : 100 + i)
  }
  tree.directory('times')
  const times = {
    epoch: 0,
    one: 1,
    y2001: 1_000_000_000,
    y2038: 2 ** 31 - 1,
    'y2038-after': 2 ** 31,
    y2100: 4_102_444_800,
  }
  for (const [name, mtime] of Object.entries(times)) {
    tree.file(`times/${name}`, name)
    tree.mtime(`times/${name}`, mtime)
  }
}

function addMany(tree: TreeBuilder, full: boolean): void {
  tree.directory('wide')
  for (let i = 0; i < (full ? 30_000 : 300); i += 1) tree.file(`wide/entry-${i.toString(36)}`)
  tree.directory('many')
  for (let d = 0; d < (full ? 60 : 5); d += 1) {
    tree.directory(`many/d${d}`)
    for (let i = 0; i < (full ? 100 : 10); i += 1) {
      tree.file(`many/d${d}/f${i}`, tree.random.text(tree.random.int(0, 6000)))
    }
  }
}

function addDeep(tree: TreeBuilder, levels: number): void {
  let path = 'deep'
  tree.directory(path)
  for (let i = 0; i < levels; i += 1) {
    path += `/level${i}`
    tree.directory(path)
    if (i % 10 === 9) tree.file(`${path}/leaf`, `${i}\n`)
  }
}
