import { closeSync, readFileSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { type FsError, isDirectory, isRegular, type Layer, type Ref } from '../../src/base/index.ts'
import { readTar } from '../../tar/index.ts'
import { tarEnd, tarEntry } from '../library/index.ts'
import { openIndexed, sha256, withIndexed } from './index-scene.ts'

const FILE = { type: 'file', mode: 0o644, uid: 7, mtime: 5 } as const

/** Text that deflate makes small, and bytes that it does not. */
function content(size: number, seed: number): string {
  const bytes = Buffer.alloc(size)
  let state = seed
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    bytes[at] = (at >> 12) % 3 === 0 ? state >>> 25 : 97 + ((state >>> 28) & 7)
  }
  return bytes.toString('latin1')
}

/** The files of a layer by their paths. */
function walk(layer: Layer, directory: Ref = layer.root, path = ''): Map<string, Ref> {
  const found = new Map<string, Ref>()
  const cursor = layer.openDirectory(directory, 0)
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
    const at = path === '' ? entry.name : `${path}/${entry.name}`
    found.set(at, entry.ref)
    if (isDirectory(layer.stat(entry.ref).mode))
      for (const one of walk(layer, entry.ref, at)) found.set(...one)
  }
  return found
}

async function* whole(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

async function contentsOf(archive: Buffer): Promise<Map<string, Buffer>> {
  const contents = new Map<string, Buffer>()
  for await (const { path, content, mode } of readTar(whole(archive))) {
    const parts: Uint8Array[] = []
    for await (const part of content) parts.push(part)
    if (isRegular(mode)) contents.set(path, Buffer.concat(parts))
  }
  return contents
}

describe('an index', () => {
  test('shows no wrong byte where blob or index were changed', async () => {
    const archive = Buffer.concat([
      tarEntry({ path: 'a', ...FILE, content: content(30_000, 3) }),
      tarEntry({ path: 'dir/b', ...FILE, content: content(9000, 4) }),
      tarEnd(),
    ])
    const wanted = await contentsOf(archive)
    await withIndexed(gzipSync(archive), archive, ({ index, blob }) => {
      const random = numbers(5)
      const seen = { right: 0, refused: 0 }
      for (const file of [index, blob]) {
        const bytes = readFileSync(file)
        for (let i = 0; i < 100; i++) {
          const at = random(bytes.length)
          const changed = Buffer.from(bytes)
          changed[at] = (changed[at] ?? 0) ^ (1 << random(8))
          writeFileSync(file, changed)
          expectRightOrRefused(index, blob, wanted, seen)
        }
        writeFileSync(file, bytes)
      }
      expect(seen.refused).toBeGreaterThan(100)
    })
  })

  test.each([
    ['a whiteout of no name', { path: '.wh.', ...FILE }],
    ['a whiteout of no name', { path: 'd/.wh...', ...FILE }],
    ['something lies below a whiteout', { path: '.wh.d/f', ...FILE }],
    ['leads upwards', { path: '../f', ...FILE }],
    ['the archive makes the root', { path: '.', ...FILE, type: 'link', target: 'f' }],
  ] as const)('refuses %s: %o', async (what, member) => {
    const archive = Buffer.concat([tarEntry(member), tarEnd()])
    await expect(withIndexed(archive, archive, () => undefined)).rejects.toThrow(what)
  })

  test('takes the last entry of a path, links and marks', async () => {
    const archive = Buffer.concat([
      tarEntry({ path: 'f', ...FILE, content: 'old' }),
      tarEntry({ path: 'hard', ...FILE, type: 'link', target: 'f' }),
      tarEntry({ path: 'f', ...FILE, content: 'new' }),
      tarEntry({ path: 'd/x', ...FILE }),
      tarEntry({ path: 'd', ...FILE, content: 'a file now' }),
      tarEntry({ path: '.wh.gone', ...FILE, type: 'link', target: 'nowhere' }),
      tarEnd(),
    ])
    await withIndexed(archive, archive, ({ layer, read }) => {
      const files = walk(layer)
      expect([...files.keys()]).toEqual(['.wh.gone', 'd', 'f', 'hard'])
      expect(['d', 'f', 'hard'].map((path) => read(files.get(path)!, 0, 99).toString())).toEqual([
        'a file now',
        'new',
        'old',
      ])
      expect(layer.lookup(layer.root, 'nothing')).toBeUndefined()
    })
  })

  test('takes a chain of links whose file comes last, in no time that grows with its square', async () => {
    const count = 20_000
    const links = Array.from({ length: count }, (_, i) =>
      tarEntry({ path: `l${i}`, ...FILE, type: 'link', target: `l${i + 1}` }),
    )
    const archive = Buffer.concat([
      ...links,
      tarEntry({ path: `l${count}`, ...FILE, content: 'content' }),
      tarEnd(),
    ])
    await withIndexed(archive, archive, ({ layer, read }) => {
      for (const path of ['l0', `l${count - 1}`]) {
        const { ref } = layer.lookup(layer.root, path)!
        expect(layer.stat(ref).nlink).toBe(count + 1)
        expect(read(ref, 0, 99).toString()).toBe('content')
      }
    })
  })

  test('takes links that lead to each other and come before their file, unless something else has their path', async () => {
    const link = (path: string, target: string): Buffer => tarEntry({ path, ...FILE, type: 'link', target })
    const archive = Buffer.concat([
      ...[link('a', 'b'), link('b', 'c'), link('own', 'c'), link('c', 'f')],
      tarEntry({ path: 'own', ...FILE, content: 'own' }),
      tarEntry({ path: 'f', ...FILE, content: 'content' }),
      tarEnd(),
    ])
    await withIndexed(archive, archive, ({ layer, read }) => {
      const files = walk(layer)
      const contents = ['a', 'b', 'c', 'f', 'own'].map((path) => read(files.get(path)!, 0, 99).toString())
      expect(contents).toEqual(['content', 'content', 'content', 'content', 'own'])
    })
  })

  test.each([
    ['a cut blob', (blob: Buffer) => blob.subarray(0, -20)],
    ['a blob with more at its end', (blob: Buffer) => Buffer.concat([blob, Buffer.from('more')])],
  ])('refuses %s', async (_, change) => {
    const archive = Buffer.concat([tarEntry({ path: 'f', ...FILE, content: content(9000, 1) }), tarEnd()])
    const blob = gzipSync(archive)
    const changed = change(blob)
    await expect(withIndexed(changed, archive, () => undefined, sha256(blob))).rejects.toThrow(/layer: /)
  })
})

function expectRightOrRefused(
  index: string,
  blob: string,
  wanted: ReadonlyMap<string, Buffer>,
  seen: { right: number; refused: number },
): void {
  const fds: number[] = []
  try {
    const { layer, read } = openIndexed(index, blob, fds)
    const files = walk(layer)
    expect([...files.keys()]).toEqual(['a', 'dir', 'dir/b'])
    for (const [path, bytes] of wanted)
      expect(read(files.get(path)!, 0, bytes.length).equals(bytes)).toBe(true)
    seen.right += 1
  } catch (error) {
    expect((error as FsError).code).toBe('EIO')
    seen.refused += 1
  } finally {
    for (const fd of fds) closeSync(fd)
  }
}

/** Numbers below a bound, the same ones each time. */
function numbers(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}
