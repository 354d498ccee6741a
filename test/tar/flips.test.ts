import { closeSync, readFileSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import {
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Layer,
  type Ref,
  type Stat,
} from '../../src/base/index.ts'
import { pax, withField } from '../library/images/tar-special.ts'
import { Random, tarEnd, tarEntry } from '../library/index.ts'
import { type IndexedLayer, openIndexed, withIndexed } from './index-scene.ts'

/** Flipped bits of each file. */
const FLIPS = Number(process.env['ATOMFS_FLIPS'] ?? 60)
const SEED = Number(process.env['ATOMFS_SEED'] ?? 7)
const FILE = { type: 'file', mode: 0o644, uid: 7, mtime: 5 } as const

const random = new Random(3)
const ARCHIVE = Buffer.concat([
  tarEntry({ ...FILE, path: 'dir/', type: 'directory', mode: 0o2755 }),
  ...Array.from({ length: 40 }, (_, i) =>
    tarEntry({ ...FILE, path: `dir/file-${i}`, content: random.bytes(i * 300).toString('hex') }),
  ),
  tarEntry({ ...FILE, path: 'hard', type: 'link', target: 'dir/file-3' }),
  withField(tarEntry({ ...FILE, path: 'soft', type: 'link', target: 'dir/file-4' }), 156, '2'),
  pax('SCHILY.xattr.user.a=value', 'SCHILY.xattr.security.capability=\x01\0\0\x02', 'mtime=12.5'),
  tarEntry({ ...FILE, path: 'attributes' }),
  pax('GNU.sparse.size=99999', 'GNU.sparse.name=sparse', 'GNU.sparse.map=2,1,5000,2'),
  tarEntry({ ...FILE, path: '@', content: 'abc' }),
  tarEntry({ ...FILE, path: 'dir/.wh..wh..opq' }),
  tarEntry({ ...FILE, path: '.wh.gone' }),
  tarEnd(),
])

/** What a layer says of one name: all that a mount can show. */
function describeFile(layer: Layer, read: IndexedLayer['read'], ref: Ref): string {
  const stat: Stat = layer.stat(ref)
  const attributes = layer
    .listxattr(ref)
    .map((name) => [name, Buffer.from(layer.getxattr(ref, name) ?? []).toString('hex')])
  const target = isSymlink(stat.mode) ? Buffer.from(layer.readlink(ref)).toString('latin1') : ''
  const content = isRegular(stat.mode) ? read(ref, 0, stat.size).toString('latin1') : ''
  return JSON.stringify([stat, attributes, target, content])
}

/**
 * Compares all that a layer shows with what it should. What fails says EIO, and the others go on.
 * @returns how many names failed
 */
function compareLayer(
  { layer, read }: Pick<IndexedLayer, 'layer' | 'read'>,
  wanted: Map<string, string>,
): number {
  let failed = 0
  const attempt = (work: () => void): void => {
    try {
      work()
    } catch (error) {
      if (!(error instanceof FsError) || error.code !== 'EIO') throw error
      failed += 1
    }
  }
  const waiting: [path: string, ref: Ref][] = [['', layer.root]]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [path, ref] = next
    attempt(() => expect(describeFile(layer, read, ref), path).toBe(wanted.get(path)))
    attempt(() => {
      if (!isDirectory(layer.stat(ref).mode)) return
      const names: string[] = []
      const cursor = layer.openDirectory(ref, 0)
      for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
        names.push(entry.name)
        waiting.push([path === '' ? entry.name : `${path}/${entry.name}`, entry.ref])
      }
      const prefix = path === '' ? '' : `${path}/`
      const below = [...wanted.keys()].filter((one) => one !== '' && one.startsWith(prefix))
      const own = below
        .map((one) => one.slice(prefix.length))
        .filter((one) => one !== '' && !one.includes('/'))
      expect(names.sort(), path).toEqual(own.sort())
    })
  }
  return failed
}

/** @returns all that a layer shows, by path */
function describeLayer({ layer, read }: Pick<IndexedLayer, 'layer' | 'read'>): Map<string, string> {
  const found = new Map<string, string>()
  const waiting: [path: string, ref: Ref][] = [['', layer.root]]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [path, ref] = next
    found.set(path, describeFile(layer, read, ref))
    if (!isDirectory(layer.stat(ref).mode)) continue
    const cursor = layer.openDirectory(ref, 0)
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      waiting.push([path === '' ? entry.name : `${path}/${entry.name}`, entry.ref])
    }
  }
  return found
}

describe('one flipped bit', () => {
  test.each([
    ['gzip', gzipSync(ARCHIVE)],
    ['plain', ARCHIVE],
  ])(
    `never gives a wrong byte, name or attribute, in the index or the blob: %s, ${FLIPS} each, seed ${SEED}`,
    (form, stored) =>
      withIndexed(stored, ARCHIVE, (whole) => {
        const { index, blob } = whole
        const wanted = describeLayer(whole)
        expect(wanted.size).toBe(48)
        const bits = new Random(SEED)
        const counts = { refused: 0, partly: 0, harmless: 0 }
        for (const file of [index, blob]) {
          const bytes = readFileSync(file)
          for (let i = 0; i < FLIPS; i++) {
            const at = bits.int(0, bytes.length - 1)
            const changed = Buffer.from(bytes)
            changed[at]! ^= 1 << bits.int(0, 7)
            writeFileSync(file, changed)
            const fds: number[] = []
            try {
              const failed = compareLayer(openIndexed(index, blob, fds), wanted)
              counts[failed > 0 ? 'partly' : 'harmless'] += 1
            } catch (error) {
              if (!(error instanceof FsError)) throw error
              // Of another version, as it seems: refused as that.
              if (!/version \d+, only \d+ is known/.test(error.message)) expect(error.code).toBe('EIO')
              counts.refused += 1
            } finally {
              for (const fd of fds) closeSync(fd)
            }
          }
          writeFileSync(file, bytes)
        }
        if (FLIPS > 1000) console.log(form, JSON.stringify(counts))
        expect(counts.refused + counts.partly).toBeGreaterThan(FLIPS / 2)
      }),
    120_000 + FLIPS * 500,
  )
})
