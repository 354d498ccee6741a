import { spawnSync } from 'node:child_process'
import {
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  renameSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { HostDirectoryLayer } from '../../../overlay/host/host-directory.ts'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import type { Layer } from '../../../overlay/stored/layer-flags.ts'
import type { ExtentSink } from '../../../src/base/index.ts'
import { nodeAt, paths } from '../support/list.ts'
import { layer as memoryLayer } from '../support/memory-layer.ts'

let folder: string
const open: HostDirectoryLayer[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'atomfs-host-'))
})

afterEach(() => {
  for (const one of open.splice(0)) one.close()
  // Node removes by whole paths, which are too long in one of the tests; rm(1) goes by descriptors.
  expect(spawnSync('rm', ['-rf', folder], { timeout: 20_000 }).status).toBe(0)
})

function hostLayer(options = {}): HostDirectoryLayer {
  const made = new HostDirectoryLayer(folder, options)
  open.push(made)
  return made
}

interface Extent {
  readonly fd: number
  readonly position: number
  readonly length: number
}

function extents(layer: Layer, name: string, offset: number, length: number): Extent[] {
  const found: Extent[] = []
  const fail = () => {
    throw new Error('host files are given as descriptors')
  }
  const sink: ExtentSink = {
    hole: fail,
    block: fail,
    file: (fd, position, count) => found.push({ fd, position, length: count }),
  }
  layer.extents(layer.lookup(layer.root, name)!.ref, offset, length, sink)
  return found
}

function bytesOf({ fd, position, length }: Extent): string {
  const buffer = Buffer.alloc(length)
  return buffer.toString('latin1', 0, readSync(fd, buffer, 0, length, position))
}

const coded = (code: string) => expect.objectContaining({ code })

test('names of a host directory are bytes in byte order, and a listing resumes at a position', () => {
  for (const name of ['b', 'a', '\xff\xfe', 'c'])
    writeFileSync(Buffer.from(`${folder}/${name}`, 'latin1'), name)
  const layer = hostLayer()
  const cursor = layer.openDirectory(layer.root, 0)
  expect([cursor.next(), cursor.next()].map((entry) => entry?.name)).toEqual(['a', 'b'])
  const on = layer.openDirectory(layer.root, cursor.position)
  expect([on.next(), on.next(), on.next()].map((entry) => entry?.name)).toEqual(['c', '\xff\xfe', undefined])
  expect(layer.openDirectoryAt(layer.root, 'bb').next()?.name).toBe('c')
  expect(layer.lookup(layer.root, '\xff\xfe')?.type).toBe(8)
  expect(layer.lookup(layer.root, 'none')).toBeUndefined()
})

test('hard links in a host directory share the inode, and their refs do not change', () => {
  mkdirSync(join(folder, 'd'))
  writeFileSync(join(folder, 'f'), 'x')
  linkSync(join(folder, 'f'), join(folder, 'd', 'g'))
  const layer = hostLayer()
  const f = layer.lookup(layer.root, 'f')!
  const g = layer.lookup(layer.lookup(layer.root, 'd')!.ref, 'g')!
  expect([g.ref, g.ino]).toEqual([f.ref, f.ino])
  expect(layer.stat(f.ref)).toMatchObject({ nlink: 2, size: 1, ino: f.ino })
  expect(layer.lookup(layer.root, 'f')).toEqual(f)
})

test('data of a host file comes as open descriptors, clipped at the end of the file', () => {
  writeFileSync(join(folder, 'f'), '0123456789')
  const layer = hostLayer()
  expect(extents(layer, 'f', 2, 5).map(bytesOf)).toEqual(['23456'])
  expect(extents(layer, 'f', 8, 100).map(bytesOf)).toEqual(['89'])
  expect(extents(layer, 'f', 10, 1)).toEqual([])
})

test('a descriptor that was handed out never refers to another file later', () => {
  const count = 9
  for (let i = 0; i < count; i++) writeFileSync(join(folder, `f${i}`), `content ${i}`)
  const layer = hostLayer({ openFiles: 3 })
  const first = extents(layer, 'f0', 0, 9)[0]!
  for (let i = 1; i < 3; i++) extents(layer, `f${i}`, 0, 9)
  expect(bytesOf(first)).toBe('content 0')
  // Crowded out now, but the number is not given to anybody else yet.
  const later = [3, 4, 5].map((i) => extents(layer, `f${i}`, 0, 9)[0]!)
  expect(later.map(({ fd }) => fd)).not.toContain(first.fd)
  expect(() => bytesOf(first)).toThrow(/EBADF/)
  expect(later.map(bytesOf)).toEqual(['content 3', 'content 4', 'content 5'])
  expect(extents(layer, 'f0', 0, 9).map(bytesOf)).toEqual(['content 0'])
})

test('data and holes of a layer file are those of the host file', () => {
  const fd = openSync(join(folder, 'sparse'), 'w')
  ftruncateSync(fd, 3 << 20)
  writeSync(fd, 'x', 1 << 20)
  closeSync(fd)
  const layer = hostLayer()
  const { ref } = layer.lookup(layer.root, 'sparse')!
  const data = layer.seek(ref, 0, 'data')
  // A file system without holes answers 0 and the size; either way data begins at or before the byte written.
  expect(data).toBeLessThanOrEqual(1 << 20)
  const hole = layer.seek(ref, 1 << 20, 'hole')
  expect(hole).toBeGreaterThan(1 << 20)
  if (hole < 3 << 20) expect(() => layer.seek(ref, hole, 'data')).toThrow(coded('ENXIO'))
  expect(() => layer.seek(ref, 3 << 20, 'hole')).toThrow(coded('ENXIO'))
})

test('a host directory resolves paths longer than 4 095 characters', () => {
  const part = 'p'.repeat(200)
  const home = process.cwd()
  try {
    process.chdir(folder)
    for (let i = 0; i < 30; i++) {
      mkdirSync(part)
      process.chdir(part)
    }
    writeFileSync('deep', 'found')
  } finally {
    process.chdir(home)
  }
  const layer = hostLayer()
  let at = layer.root
  for (let i = 0; i < 30; i++) at = layer.lookup(at, part)!.ref
  const { ref } = layer.lookup(at, 'deep')!
  expect(layer.stat(ref).size).toBe(5)
  expect(layer.openDirectory(at, 0).next()?.name).toBe('deep')
})

test('a host directory resolves more and deeper directories than it keeps open', () => {
  const parts = Array.from({ length: 150 }, (_, i) => `d${i}`)
  mkdirSync(join(folder, ...parts), { recursive: true })
  const layer = hostLayer()
  let at = layer.root
  const refs = parts.map((name) => (at = layer.lookup(at, name)!.ref))
  for (const ref of [...refs].reverse()) expect(layer.stat(ref).nlink).toBeGreaterThanOrEqual(2)
  expect(layer.openDirectory(refs[148]!, 0).next()?.name).toBe('d149')
  expect(layer.openDirectory(refs[0]!, 0).next()?.name).toBe('d1')
})

test('a host file that was replaced is ESTALE', () => {
  writeFileSync(join(folder, 'f'), 'old')
  writeFileSync(join(folder, 'g'), 'new')
  const layer = hostLayer()
  const { ref } = layer.lookup(layer.root, 'f')!
  renameSync(join(folder, 'g'), join(folder, 'f'))
  expect(() => extents(layer, 'f', 0, 1)).not.toThrow()
  expect(() => layer.stat(ref)).toThrow(coded('ESTALE'))
  expect(() => layer.stat(999)).toThrow(coded('ESTALE'))
})

test('an operation on a host file of the wrong type fails with the errno for that type', () => {
  writeFileSync(join(folder, 'f'), '')
  symlinkSync('/nonexistent', join(folder, 'l'))
  const layer = hostLayer()
  const [f, l] = ['f', 'l'].map((name) => layer.lookup(layer.root, name)!.ref) as [number, number]
  for (const ref of [f, l]) {
    expect(() => layer.lookup(ref, 'x')).toThrow(coded('ENOTDIR'))
    expect(() => layer.openDirectory(ref, 0)).toThrow(coded('ENOTDIR'))
  }
  expect(Buffer.from(layer.readlink(l)).toString()).toBe('/nonexistent')
  expect(() => layer.readlink(f)).toThrow(coded('EINVAL'))
  expect(() => extents(layer, 'l', 0, 1)).toThrow(coded('EINVAL'))
  expect(() => layer.lookup(layer.root, '..')).toThrow(coded('EINVAL'))
  expect(() => new HostDirectoryLayer(join(folder, 'f'))).toThrow(coded('ENOTDIR'))
  expect(() => new HostDirectoryLayer(join(folder, 'none'))).toThrow(coded('ENOENT'))
})

test('a host directory merges with other layers', () => {
  mkdirSync(join(folder, 'd'))
  writeFileSync(join(folder, 'd', 'host'), 'x')
  writeFileSync(join(folder, '.wh.gone'), '')
  const tree = new MergedTree([memoryLayer('low', 'd/low\ngone\nkept'), hostLayer()])
  expect(paths(tree)).toEqual(['d/^', 'd/host', 'd/low', 'kept'])
  expect(tree.getattr(nodeAt(tree, 'd/host')).size).toBe(1)
})
