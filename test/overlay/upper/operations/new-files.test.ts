import { closeSync, openSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { setxattrFd } from '../../../../src/sys/files/xattr.ts'
import { failsWith, withTree } from '../support/tree-scene.ts'

const value = Buffer.from('v')

describe('what is known of a new file without asking the host', () => {
  test('a new file has an attribute from when it is set, under all of its names', () => {
    withTree(['d/low = x'], (scene) => {
      const file = scene.create('d/f')
      expect(scene.tree.getxattr(file, 'security.capability')).toBeUndefined()
      expect(scene.tree.getxattr(file, 'user.a')).toBeUndefined()
      scene.link('d/f', 'g')
      scene.tree.setxattr(scene.node('g'), 'user.a', value, 'create')
      expect(scene.tree.getxattr(file, 'user.a')).toEqual(new Uint8Array(value))
      expect(() => scene.tree.setxattr(file, 'user.a', value, 'create')).toThrow(failsWith('EEXIST'))
      scene.tree.removexattr(file, 'user.a')
      expect(scene.tree.getxattr(file, 'user.a')).toBeUndefined()
    })
  })

  test('a file of an earlier mount has the attributes that the upper has', () => {
    withTree([''], (scene) => {
      scene.create('with')
      scene.create('without')
      const fd = openSync(scene.upper('with'), 'r')
      setxattrFd(fd, 'user.a', value, 'create')
      closeSync(fd)
      scene.remount()
      expect(scene.tree.getxattr(scene.node('with'), 'user.a')).toEqual(new Uint8Array(value))
      expect(scene.tree.getxattr(scene.node('without'), 'user.a')).toBeUndefined()
      scene.tree.setxattr(scene.node('without'), 'user.a', value, 'either')
      expect(scene.tree.getxattr(scene.node('without'), 'user.a')).toEqual(new Uint8Array(value))
    })
  })

  test('a write leaves the mtime that a new file had, or that was set since', () => {
    withTree([''], (scene) => {
      scene.tree.clientKeepsTimes()
      const first = scene.create('first')
      const made = scene.stat('first')
      scene.create('second')
      scene.tree.write(first, 0, value, false)
      expect(scene.stat('first')).toMatchObject({ mtime: made.mtime, mtimeNsec: made.mtimeNsec, size: 1 })
      const third = scene.create('third')
      scene.tree.setattr(third, { mtime: { seconds: 77, nanoseconds: 5 } })
      scene.tree.write(third, 0, value, false)
      expect(scene.stat('third')).toMatchObject({ mtime: 77, mtimeNsec: 5, size: 1 })
    })
  })

  test.each(['device', 'wh', 'attribute'] as const)(
    'a name is made anew over a whiteout of the form %s, and is refused while something has it',
    (whiteouts) => {
      withTree(
        ['f = below\nd/x = below'],
        (scene) => {
          expect(() => scene.create('f')).toThrow(failsWith('EEXIST'))
          expect(() => scene.mkdir('d')).toThrow(failsWith('EEXIST'))
          scene.unlink('f')
          scene.unlink('d/x')
          scene.rmdir('d')
          scene.create('f', 'above')
          scene.mkdir('d')
          for (const name of ['f', 'd']) {
            expect(() => scene.create(name)).toThrow(failsWith('EEXIST'))
            expect(() => scene.mkdir(name)).toThrow(failsWith('EEXIST'))
          }
          scene.remount()
          expect(scene.read('f')).toBe('above')
          expect(scene.names('d')).toEqual([])
        },
        { whiteouts },
      )
    },
  )

  test('a whiteout without anything below it does not keep its name from a new file', () => {
    withTree(['d/low = x'], (scene) => {
      scene.unlink('d/low')
      scene.rename('d', 'moved')
      scene.remount()
      scene.create('d', 'new')
      expect(scene.read('d')).toBe('new')
      scene.create('moved/low', 'new')
      expect(scene.read('moved/low')).toBe('new')
    })
  })
})
