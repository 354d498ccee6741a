import { lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { HostDirectoryLayer } from '../../../overlay/host/host-directory.ts'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import { HOST_NUMBERS, InodeNumbers } from '../../../overlay/stored/inode-numbers.ts'
import type { InodeSource } from '../../../overlay/stored/layer-flags.ts'
import { ROOT_NODE_ID } from '../../../src/base/index.ts'
import { Random } from '../../library/trees/random.ts'
import { entryAt, listAll } from '../support/list.ts'
import { layer } from '../support/memory-layer.ts'

const NARROW = 2 ** 32

function layersOf(...sources: readonly InodeSource[]) {
  return sources.map((inodes, index) => {
    const one = layer(`l${index}`, 'f')
    one.inodes = inodes
    return one
  })
}

describe('inode numbers', () => {
  test('the inode numbers of images follow each other below 2^32', () => {
    const numbers = new InodeNumbers(layersOf({ count: 70 }, { count: 5 }, { count: 2 ** 31 }), 7)
    expect([numbers.ofLayer(0, 1), numbers.ofLayer(0, 70), numbers.ofLayer(1, 1)]).toEqual([1, 70, 71])
    expect(numbers.ofLayer(2, 2 ** 31)).toBe(75 + 2 ** 31)
    expect(numbers.ofUpper(7, 12)).toBe(75 + 2 ** 31 + 12)
  })

  test('the inode numbers of host directories are those of the file system, interleaved for several file systems', () => {
    const one = new InodeNumbers(layersOf({ device: 7 }, { device: 7 }), 7)
    expect([one.ofLayer(0, 11), one.ofLayer(1, 11), one.ofUpper(7, 12)]).toEqual([11, 11, 12])
    const two = new InodeNumbers(layersOf({ device: 7 }, { count: 100 }, { device: 9 }), 7)
    expect([two.ofLayer(0, 11), two.ofLayer(2, 11), two.ofUpper(7, 12)]).toEqual([122, 123, 124])
  })

  test('a layer with a wrong inode count does not take numbers of another layer', () => {
    const numbers = new InodeNumbers(layersOf({ count: 10 }, { count: 10 }))
    expect(numbers.ofLayer(0, 11)).toBeGreaterThan(NARROW)
    expect(numbers.ofLayer(1, 11)).not.toBe(numbers.ofLayer(0, 11))
    expect(() => numbers.ofLayer(0, NARROW)).toThrow(expect.objectContaining({ code: 'EIO' }))
    expect(() => numbers.ofLayer(0, 0)).toThrow(expect.objectContaining({ code: 'EIO' }))
  })

  test('a single layer keeps its own inode numbers', () => {
    expect(new InodeNumbers(layersOf({ count: 10 })).ofLayer(0, NARROW - 1)).toBe(NARROW - 1)
  })

  test('each file has one inode number for any layer counts, below 2^32 if there are fewer files', () => {
    const random = new Random(41)
    const [many, some] = [2 ** 31, 5_000_000]
    for (let round = 0; round < 40; round++) {
      const sources = Array.from({ length: random.int(1, 40) }, (): InodeSource => {
        const kind = random.int(0, 3)
        if (kind === 0) return { device: random.int(1, 4) }
        return { count: random.int(0, kind === 1 ? many : some) }
      })
      const upper = random.int(1, 4)
      const numbers = new InodeNumbers(layersOf(...sources), upper)
      const turns = new Set([upper, ...sources.flatMap((one) => ('device' in one ? [one.device] : []))]).size
      const counted = sources.reduce((sum, one) => sum + ('count' in one ? one.count : 0), 0)
      const seen = new Map<number, string>()
      const note = (ino: number, file: string) => {
        expect(ino > 0 && Number.isSafeInteger(ino)).toBe(true)
        expect(seen.get(ino) ?? file).toBe(file)
        seen.set(ino, file)
      }
      sources.forEach((source, index) => {
        if ('device' in source) {
          for (const ino of [1, 2, some, many, NARROW, HOST_NUMBERS - 1]) {
            const shown = numbers.ofLayer(index, ino)
            note(shown, `device ${source.device} ${ino}`)
            if (counted + (ino + 1) * turns < NARROW) expect(shown).toBeLessThan(NARROW)
          }
          for (const ino of [HOST_NUMBERS, HOST_NUMBERS + 7])
            note(numbers.ofLayer(index, ino), `${index} ${ino}`)
          return
        }
        for (const ino of new Set([1, 2, source.count, source.count + 1, random.int(1, many), NARROW - 1])) {
          if (ino === 0) continue
          const shown = numbers.ofLayer(index, ino)
          note(shown, `${index} ${ino}`)
          if (counted < NARROW && ino <= source.count) expect(shown).toBeLessThan(NARROW)
        }
      })
      for (const ino of [1, 2, some, HOST_NUMBERS - 1])
        note(numbers.ofUpper(upper, ino), `device ${upper} ${ino}`)
      note(numbers.ofUpper(upper, 2 ** 51), 'upper')
    }
  })

  test('more file systems than can be distinguished are refused', () => {
    const sources = Array.from({ length: 1025 }, (_, device) => ({ device }))
    expect(() => new InodeNumbers(layersOf(...sources))).toThrow(
      expect.objectContaining({ code: 'EOVERFLOW', message: expect.stringContaining('1025 file systems') }),
    )
  })
})

test('files of host directories keep their inode numbers at every mount and in any order of lookups', () => {
  const folder = mkdtempSync(join(tmpdir(), 'atomfs-inodes-'))
  const [low, top] = [join(folder, 'low'), join(folder, 'top')]
  for (const path of [low, top]) mkdirSync(join(path, 'd'), { recursive: true })
  for (const path of ['low/a', 'low/d/b', 'top/d/c']) writeFileSync(join(folder, path), path)
  try {
    for (const order of [
      ['a', 'd/b', 'd/c', 'd'],
      ['d', 'd/c', 'd/b', 'a'],
    ]) {
      const layers = [low, top].map((path) => new HostDirectoryLayer(path))
      try {
        const tree = new MergedTree(layers)
        for (const path of order) {
          const host = lstatSync(join(folder, ['a', 'd/b'].includes(path) ? 'low' : 'top', path))
          expect(entryAt(tree, path)?.stat.ino).toBe(host.ino)
        }
        const listed = listAll(tree, ROOT_NODE_ID).find(({ name }) => name === 'a')
        expect(listed?.ino).toBe(lstatSync(join(low, 'a')).ino)
      } finally {
        for (const one of layers) one.close()
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a copied-up file keeps its inode number during the mount', () => {
  const numbers = new InodeNumbers(layersOf({ device: 7 }), 9)
  const [original, large] = [numbers.ofLayer(0, HOST_NUMBERS + 3), 2n ** 60n + 5n]
  numbers.keep(12, original)
  numbers.keep(large, numbers.ofLayer(0, HOST_NUMBERS + 4))
  expect(numbers.ofUpper(9, 12)).toBe(original)
  expect(numbers.ofUpper(9, large)).toBe(original + 1)
  expect(numbers.ofUpper(9, 13)).not.toBe(numbers.ofLayer(0, 13))
})
