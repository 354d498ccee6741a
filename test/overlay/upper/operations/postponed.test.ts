import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type BlockStore, FsError, Postponed, ROOT_NODE_ID } from '../../../../src/base/index.ts'
import { thrownBy } from '../../../library/expectations.ts'
import { HeldBackground } from '../support/held-background.ts'
import { failsWith, type TreeScene, withTree } from '../support/tree-scene.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')

function inBackground(
  layers: readonly string[],
  use: (scene: TreeScene, background: HeldBackground) => void,
): void {
  const background = new HeldBackground()
  withTree(layers, (scene) => use(scene, background), { fsync: 'auto' }, { background })
}

/** What the operation waits for. */
const postponedBy = (operation: () => unknown): Postponed => thrownBy(Postponed, operation)

/** Names in the work directory: copies that nobody sees yet. */
function copies(scene: TreeScene): string[] {
  return readdirSync(join(scene.folder, 'w/work'))
}

const openDescriptors = () => readdirSync('/proc/self/fd').length

describe('copy-up with the help of other threads', () => {
  test('a postponed copy-up shows the old file until it is done, then the requested change', () => {
    inBackground(['d/a = before'], (scene, background) => {
      const node = scene.node('d/a')
      const descriptors = openDescriptors()
      const write = () => scene.tree.write(node, 0, bytes('after!'), false)
      const chmod = () => scene.tree.setattr(node, { mode: 0o600 })
      const postponed = postponedBy(write)
      expect(postponedBy(chmod).work).toBe(postponed.work)
      expect(postponed.isAnswer).toBe(false)
      expect(scene.read('d/a')).toBe('before')
      expect(copies(scene).length).toBe(1)
      background.workOff(postponed)
      expect(existsSync(scene.upper('d/a'))).toBe(false)
      expect(write()).toBe(6)
      chmod()
      expect(scene.read('d/a')).toBe('after!')
      expect(scene.stat('d/a').mode & 0o7777).toBe(0o600)
      expect(background.syncs).toEqual(['all'])
      expect(copies(scene)).toEqual([])
      // The upper's directory and file stay open for the next request.
      expect(openDescriptors()).toBeLessThanOrEqual(descriptors + 2)
    })
  })

  test('a postponed copy-up goes to the place that the file has at its end', () => {
    inBackground(['d/a = text'], (scene, background) => {
      const node = scene.node('d/a')
      const write = () => scene.tree.write(node, 4, bytes('+'), false)
      const postponed = postponedBy(write)
      scene.tree.rename(ROOT_NODE_ID, 'd', ROOT_NODE_ID, 'e', 'replace', false)
      background.workOff(postponed)
      write()
      expect(readFileSync(scene.upper('e/a'), 'latin1')).toBe('text+')
      expect(copies(scene)).toEqual([])
    })
  })

  test('a postponed copy-up of a file removed meanwhile serves those who have the file open', () => {
    inBackground(['a = text'], (scene, background) => {
      const node = scene.node('a')
      const write = () => scene.tree.write(node, 4, bytes('+'), false)
      const postponed = postponedBy(write)
      scene.unlink('a')
      background.workOff(postponed)
      write()
      expect(scene.names()).toEqual([])
      expect(scene.read(node)).toBe('text+')
      expect(copies(scene)).toEqual([])
    })
  })

  test('each name of a hard-linked file is copied up by itself', () => {
    inBackground(['a = text\nb == a'], (scene, background) => {
      const [first, second] = [scene.node('a'), scene.node('b')]
      const write = () => scene.tree.write(first, 4, bytes('+'), false)
      const writeOther = () => scene.tree.write(second, 4, bytes('-'), false)
      const works = [postponedBy(write), postponedBy(writeOther)]
      for (const work of works) background.workOff(work)
      write()
      writeOther()
      expect(['a', 'b'].map((name) => scene.read(name))).toEqual(['text+', 'text-'])
    })
  })

  test('a copy-up of a part of a file is started anew if another change needs more of it', () => {
    inBackground(['a = a long text'], (scene, background) => {
      const node = scene.node('a')
      const first = postponedBy(() => scene.tree.setattr(node, { size: 1 }))
      background.workOff(first)
      const second = postponedBy(() => scene.tree.write(node, 0, bytes('A'), false))
      expect(second.work).not.toBe(first.work)
      background.workOff(second)
      scene.tree.write(node, 0, bytes('A'), false)
      expect(scene.read('a')).toBe('A long text')
      expect(copies(scene)).toEqual([])
    })
  })

  test('a change that needs no data of the file waits for the copy-up under way', () => {
    inBackground(['a = text'], (scene, background) => {
      const node = scene.node('a')
      const write = () => scene.tree.write(node, 4, bytes('+'), false)
      const empty = () => scene.tree.setattr(node, { size: 0 })
      const postponed = postponedBy(write)
      expect(postponedBy(empty).work).toBe(postponed.work)
      background.workOff(postponed)
      write()
      empty()
      expect(scene.read('a')).toBe('')
      expect(copies(scene)).toEqual([])
    })
  })

  test('a finished copy-up that is not used is removed when the file is forgotten', () => {
    inBackground(['a = text'], (scene, background) => {
      const { nodeId } = scene.tree.lookup(ROOT_NODE_ID, 'a')!
      const link = () => scene.tree.link(nodeId, ROOT_NODE_ID, 'b')
      const postponed = postponedBy(link)
      scene.create('b')
      background.workOff(postponed)
      expect(link).toThrow(failsWith('EEXIST'))
      expect(copies(scene).length).toBe(1)
      scene.tree.forget(nodeId, 1)
      expect(copies(scene)).toEqual([])
    })
  })

  test('a copy-up that fails leaves no file behind, and may be tried again', () => {
    inBackground(['a = text'], (scene, background) => {
      const node = scene.node('a')
      const descriptors = openDescriptors()
      const write = () => scene.tree.write(node, 4, bytes('+'), false)
      background.failure = new FsError('ENOSPC', 'full')
      background.workOff(postponedBy(write))
      expect(write).toThrow(failsWith('ENOSPC'))
      expect(copies(scene)).toEqual([])
      expect(openDescriptors()).toBe(descriptors)
      expect(scene.read('a')).toBe('text')
      background.failure = undefined
      background.workOff(postponedBy(write))
      write()
      expect(scene.read('a')).toBe('text+')
    })
  })

  test('a copy-up of a short file is postponed if its data is not at hand', () => {
    const background = new HeldBackground()
    const store: BlockStore = {
      readBlock: () => {
        throw new FsError('EIO', 'the dispatcher does not read this')
      },
      isAtHand: () => false,
    }
    const options = { background, store }
    withTree(
      ['a = text'],
      (scene) => {
        const chmod = () => scene.tree.setattr(scene.node('a'), { mode: 0o600 })
        const { work } = postponedBy(chmod)
        work.advance()
        expect(background.writes).toEqual([4])
      },
      { fsync: 'volatile' },
      options,
    )
  })

  test('a file that is empty or has no data is copied up without being postponed', () => {
    inBackground(['a\nd/\nl -> a'], (scene, background) => {
      for (const path of ['a', 'd', 'l'])
        scene.tree.setattr(scene.node(path), { uid: process.geteuid?.() ?? 0 })
      expect(background.syncs).toEqual([])
      expect(scene.names()).toEqual(['a', 'd', 'l'])
    })
  })
})

describe('syncing in other threads', () => {
  test.each([
    ['all', false],
    ['data', true],
  ] as const)(
    'fsync in another thread (%s) is answered for files and directories that were changed',
    (kind, dataOnly) => {
      inBackground(['a = text\nd/b = text'], (scene, background) => {
        const made = scene.create('d/new', 'text')
        scene.tree.write(made, 0, Buffer.alloc(2 << 20), false)
        const descriptors = openDescriptors()
        // Neither is done at once: of the first nothing is known yet, and for the second much was written.
        for (const path of ['d', 'd/new']) {
          const postponed = postponedBy(() => scene.tree.fsync(scene.node(path), dataOnly))
          expect(postponed.isAnswer).toBe(true)
          background.workOff(postponed)
          expect(() => postponed.work.finish()).not.toThrow()
        }
        // What is in the layers is on the disk.
        scene.tree.fsync(scene.node('a'), dataOnly)
        expect(background.syncs).toEqual([kind, kind])
        expect(openDescriptors()).toBe(descriptors)
      })
    },
  )

  test('syncfs is done in another thread', () => {
    inBackground(['a = text'], (scene, background) => {
      background.workOff(postponedBy(() => scene.tree.syncfs()))
      expect(background.syncs).toEqual(['file system'])
    })
  })

  test('fsync in another thread reports its error', () => {
    inBackground(['a = text'], (scene, background) => {
      scene.create('new', 'text')
      background.failure = new FsError('EDQUOT', 'quota')
      const postponed = postponedBy(() => scene.tree.fsync(scene.node('new'), false))
      background.workOff(postponed)
      expect(() => postponed.work.finish()).toThrow(failsWith('EDQUOT'))
    })
  })
})
