import { describe, expect, test } from 'vitest'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import { adapted } from '../../../overlay/stored/adapted-layer.ts'
import { ALL_MARKS, NO_MARKS, ReadPostponed, ROOT_NODE_ID, Work } from '../../../src/base/index.ts'
import { names, paths } from '../support/list.ts'
import { layer, MemoryLayer } from '../support/memory-layer.ts'

/** Only names are marks, as in a layer of tar. */
const NAMES_ONLY = { ...NO_MARKS, names: true }

function without(marks: Partial<typeof ALL_MARKS>, text: string): MemoryLayer {
  const one = layer('low', text)
  one.marks = { ...ALL_MARKS, ...marks }
  return one
}

describe('a layer whose marks are data', () => {
  test('a layer whose marks are data keeps its names in a merge, and an upper layer deletes and covers them', () => {
    const low = without({ names: false }, 'd/.wh.a\nd/.wh.b\nd/..wh.c\nd/.x\nd/z\nd/a')
    const top = layer('top', 'd/.wh...wh.a\nd/..wh.b\nd/y')
    const tree = new MergedTree([low, top])
    expect(paths(tree)).toEqual(['d/^', 'd/..wh.c', 'd/.wh.b', 'd/.x', 'd/a', 'd/y', 'd/z'])
    const d = tree.lookup(ROOT_NODE_ID, 'd')!.nodeId
    expect(tree.lookup(d, '.wh.a')).toBeUndefined()
    expect(tree.lookup(d, '..wh.c')).toBeDefined()
  })

  test('a layer whose marks are data deletes no name by its .wh. names', () => {
    const top = without({ names: false }, 'd/.wh.a\nd/.wh..wh..opq')
    expect(paths(new MergedTree([layer('low', 'd/a\nd/b'), top]))).toEqual([
      'd/^',
      'd/.wh..wh..opq',
      'd/.wh.a',
      'd/a',
      'd/b',
    ])
  })

  test('a layer whose devices are data shows devices 0:0 and deletes no name by them', () => {
    const top = without({ devices: false }, 'n c 0 0\nd c 0 0')
    const tree = new MergedTree([layer('low', 'n\nm\nd/x'), top])
    expect(paths(tree)).toEqual(['d', 'm', 'n'])
    expect(tree.lookup(ROOT_NODE_ID, 'n')!.stat.rdev).toBe(0)
  })

  test('a layer whose attributes are data shows those of overlayfs without their effect', () => {
    const top = without({ attributes: false }, 'd/ {user.overlay.opaque=y}\nm {user.overlay.metacopy=}')
    const tree = new MergedTree([layer('low', 'd/a'), top])
    expect(paths(tree)).toEqual(['d/^', 'd/a', 'm'])
    const d = tree.lookup(ROOT_NODE_ID, 'd')!.nodeId
    expect(tree.listxattr(d)).toEqual(['user.overlay.opaque'])
    expect(Buffer.from(tree.getxattr(d, 'user.overlay.opaque')!).toString()).toBe('y')
    expect(tree.getxattr(d, 'user.overlay.overlay.opaque')).toBeUndefined()
  })

  test('a layer whose marks are data may have names of 255 bytes that need an escape', () => {
    const long = `.wh.${'x'.repeat(251)}`
    const tree = new MergedTree([adapted(layer('a', `${long}\nb`), NO_MARKS)])
    expect(names(tree)).toContain(long)
    expect(tree.lookup(ROOT_NODE_ID, long)).toBeDefined()
  })

  test('a tar layer deletes by .wh. names only', () => {
    const top = without({ ...NAMES_ONLY }, '.wh.a\nb c 0 0\nd/ {user.overlay.opaque=y}')
    expect(paths(new MergedTree([layer('low', 'a\nb\nd/x'), top]))).toEqual(['b', 'd/^', 'd/x'])
  })
})

describe('an unsorted layer', () => {
  function unsorted(text: string): MemoryLayer {
    const one = new MemoryLayer('ext', { unsorted: true })
    one.sorted = false
    for (const name of text.split(' ')) one.add(one.root, name, { mode: 0o100644 })
    return one
  }

  test('an unsorted layer is merged in the order of names, each name once', () => {
    const tree = new MergedTree([unsorted('m z a k'), layer('top', 'b\nz\n.wh.k')])
    expect(names(tree)).toEqual(['a', 'b', 'm', 'z'])
  })

  test('an unsorted layer deletes by .wh. names at any position', () => {
    expect(names(new MergedTree([layer('low', 'a\nb\nc'), unsorted('z .wh.c q .wh.a')]))).toEqual([
      'b',
      'q',
      'z',
    ])
  })

  test('an unsorted directory is read and sorted once for a merge, and keeps its order if it is not merged', () => {
    const low = unsorted('m z a k')
    const tree = new MergedTree([low, layer('top', 'b')])
    names(tree)
    names(tree)
    expect(low.calls.next).toBe(5)
    expect(names(new MergedTree([unsorted('m z a k')]))).toEqual(['m', 'z', 'a', 'k'])
  })

  test('an unsorted directory that is read in several turns is read once, and each turn goes on where the last one was', () => {
    const low = unsorted('m z a k')
    const open = low.openDirectory.bind(low)
    let turns = 0
    low.openDirectory = (directory, position) => {
      const cursor = open(directory, position)
      let isRested = false
      const next = () => {
        isRested = !isRested
        if (isRested) return cursor.next()
        turns += 1
        throw new ReadPostponed(new Work([].values() as never))
      }
      return { next, position: 0 }
    }
    const top = adapted(low)
    const listed = (): number => {
      try {
        const cursor = top.openDirectory(low.root, 0)
        return [cursor.next(), cursor.next(), cursor.next(), cursor.next()].filter((one) => one).length
      } catch (error) {
        if (!(error instanceof ReadPostponed)) throw error
        return 0
      }
    }
    const rounds = Array.from({ length: 6 }, listed)
    expect(rounds).toEqual([0, 0, 0, 0, 4, 4])
    expect([turns, low.calls.next]).toEqual([4, 5])
  })

  test('an unsorted directory of more than a million names is EIO in a merge, and the error names it', () => {
    const low = unsorted('a')
    let given = 0
    low.openDirectory = () => ({ next: () => ({ name: `${++given}`, ref: 1, ino: 2, type: 8 }), position: 0 })
    expect(() => adapted(low).openDirectory(low.root, 0)).toThrow(
      expect.objectContaining({ code: 'EIO', message: expect.stringContaining('layer ext: directory 0') }),
    )
    expect(given).toBeLessThan(1_000_010)
  })
})
