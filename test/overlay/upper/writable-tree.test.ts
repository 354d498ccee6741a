import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { HostDirectoryLayer } from '../../../overlay/host/host-directory.ts'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import { DEFAULT_ACL } from '../../../overlay/stored/acl.ts'
import { ROOT_NODE_ID, S_IFCHR, S_IFIFO, S_IFREG } from '../../../src/base/index.ts'
import { needs, titled } from '../../library/index.ts'
import { readXattrs } from '../../library/programs/native.ts'
import { listAll } from '../support/list.ts'
import { failsWith, ME, withTree } from './support/tree-scene.ts'

const asRoot = needs('root')
const bytes = (text: string) => Buffer.from(text, 'latin1')

describe('new files', () => {
  test('a new file has owner, umask, times and an inode number of its own, also after a remount', () => {
    withTree(['d/a = x'], (scene) => {
      const entry = scene.tree.mknod(scene.node('d'), 'new', S_IFREG | 0o666, 0, ME)
      expect(entry.stat).toMatchObject({ mode: S_IFREG | 0o644, uid: ME.uid, gid: ME.gid, nlink: 1, size: 0 })
      expect(entry.stat.mtime).toBeGreaterThan(1_600_000_000)
      expect(scene.tree.write(entry.nodeId, 3, bytes('abc'), false)).toBe(3)
      expect(scene.read('d/new')).toBe('\0\0\0abc')
      scene.remount()
      expect(scene.names('d')).toEqual(['a', 'new'])
      expect(scene.stat('d/new').ino).toBe(entry.stat.ino)
      expect(scene.read('d/new')).toBe('\0\0\0abc')
    })
  })

  test('a new name may have any bytes, up to 255 of them', () => {
    withTree(['a'], (scene) => {
      const odd = '\xff\x01 \n'
      const long = 'n'.repeat(255)
      for (const name of [odd, long]) scene.create(name, name)
      expect(scene.names()).toEqual([odd, 'a', long].sort())
      for (const name of [odd, long]) scene.unlink(name)
      expect(() => scene.create('n'.repeat(256))).toThrow(failsWith('ENAMETOOLONG'))
      expect(() => scene.tree.lookup(ROOT_NODE_ID, 'n'.repeat(256))).toThrow(failsWith('ENAMETOOLONG'))
      expect(scene.names()).toEqual(['a'])
      expect(scene.tree.statfs().nameMax).toBe(255)
    })
  })

  test('creating an existing name is EEXIST, a device 0:0 EPERM, and a name in a file ENOTDIR', () => {
    withTree(['a = x\nd/'], (scene) => {
      for (const name of ['a', 'd']) {
        expect(() => scene.create(name)).toThrow(failsWith('EEXIST'))
        expect(() => scene.mkdir(name)).toThrow(failsWith('EEXIST'))
      }
      expect(() => scene.tree.mknod(ROOT_NODE_ID, 'w', S_IFCHR, 0, ME)).toThrow(failsWith('EPERM'))
      expect(() => scene.tree.mkdir(scene.node('a'), 'x', 0o755, ME)).toThrow(failsWith('ENOTDIR'))
      expect(readdirSync(scene.upper())).toEqual([])
    })
    withTree([], (scene) => {
      scene.mkdir('only')
      expect(scene.names()).toEqual(['only'])
    })
  })

  test.skipIf(!asRoot.ok)(
    titled('owners shown by ranges are stored with the ids of the layers', asRoot),
    () => {
      const range = [{ stored: 0, shown: 1000, count: 10 }]
      withTree(
        ['d/a = x'],
        (scene) => {
          const directory = scene.node('d')
          scene.tree.setattr(directory, { uid: 1003, gid: 1004, mode: 0o2775 })
          const caller = { uid: 1001, gid: 1002, umask: 0 }
          const made = scene.tree.mknod(directory, 'new', S_IFREG | 0o644, 0, caller)
          expect(made.stat).toMatchObject({ uid: 1001, gid: 1004 })
          scene.tree.setattr(scene.node('d/a'), { mode: 0o600 })
          expect(scene.stat('d/a')).toMatchObject({ uid: 1000, gid: 1000 })
          const stored = ['d', 'd/new', 'd/a'].map((path) => lstatSync(scene.upper(path)))
          expect(stored.map(({ uid, gid }) => [uid, gid])).toEqual([
            [3, 4],
            [1, 4],
            [0, 0],
          ])
          // Nobody's, for a caller whom the ranges do not know.
          const stranger = scene.tree.mknod(ROOT_NODE_ID, 'odd', S_IFREG | 0o644, 0, { ...caller, uid: 5 })
          expect(stranger.stat.uid).toBe(65_534)
          expect(lstatSync(scene.upper('odd')).uid).toBe(65_534)
        },
        {},
        { uid: range, gid: range },
      )
    },
  )

  test('a setattr of a known mtime and ctime changes nothing', () => {
    withTree(['a = x\nb = x'], (scene) => {
      const [known, other] = [scene.node('a'), scene.node('b')]
      const { mtime: seconds, mtimeNsec: nanoseconds } = scene.tree.getattr(known)
      const ctime = { seconds: 1_700_000_000, nanoseconds: 5 }
      scene.unlink('a')
      const shown = scene.tree.setattr(known, { mtime: { seconds, nanoseconds }, ctime })
      expect(shown).toMatchObject({ mtime: seconds, mtimeNsec: nanoseconds, nlink: 0 })
      scene.tree.setattr(other, { mtime: { seconds, nanoseconds }, ctime })
      expect(readdirSync(scene.upper())).toEqual(['a'])
      scene.tree.setattr(other, { mtime: { seconds: seconds + 1, nanoseconds }, ctime })
      expect(scene.stat('b').mtime).toBe(seconds + 1)
      expect(readdirSync(scene.upper()).sort()).toEqual(['a', 'b'])
    })
  })

  test('a setgid directory gives its group to new files and setgid to new directories', () => {
    withTree(['d/'], (scene) => {
      const directory = scene.node('d')
      scene.tree.setattr(directory, { mode: 0o2775 })
      const { mode } = scene.tree.mkdir(directory, 'sub', 0o755, ME).stat
      expect(mode & 0o7777).toBe(0o2755)
      expect(scene.tree.mknod(directory, 'f', S_IFREG | 0o644, 0, ME).stat.gid).toBe(scene.stat('d').gid)
    })
  })

  test.each(['real', 'override'] as const)(
    'a default access list replaces the umask, owners %s',
    (owners) => {
      // Read and write for the owner, read for user 5, and a mask.
      const entry = (tag: number, permissions: number, id = 0xffff_ffff) => {
        const one = Buffer.alloc(8)
        one.writeUInt16LE(tag)
        one.writeUInt16LE(permissions, 2)
        one.writeUInt32LE(id, 4)
        return one
      }
      const list = [entry(1, 7), entry(2, 5, 5), entry(4, 5), entry(0x10, 7), entry(0x20, 1)]
      const acl = Buffer.concat([Buffer.from([2, 0, 0, 0]), ...list])
      withTree(
        ['d/'],
        (scene) => {
          const directory = scene.node('d')
          scene.tree.setxattr(directory, DEFAULT_ACL, acl, 'either')
          const file = scene.tree.mknod(directory, 'f', S_IFREG | 0o666, 0, ME)
          expect(file.stat.mode & 0o777).toBe(0o660)
          expect(scene.tree.getxattr(file.nodeId, 'system.posix_acl_access')).toBeDefined()
          expect(scene.tree.getxattr(file.nodeId, DEFAULT_ACL)).toBeUndefined()
          const sub = scene.tree.mkdir(directory, 'sub', 0o777, ME)
          expect(sub.stat.mode & 0o777).toBe(0o771)
          expect(Buffer.from(scene.tree.getxattr(sub.nodeId, DEFAULT_ACL) ?? [])).toEqual(acl)
          scene.unlink('d/f')
          // Where a whiteout was, and where nobody has looked before.
          scene.remount()
          expect(scene.tree.mknod(scene.node('d'), 'f', S_IFREG | 0o666, 0, ME).stat.mode & 0o777).toBe(0o660)
          scene.tree.removexattr(scene.node('d'), DEFAULT_ACL)
          expect(scene.tree.mknod(scene.node('d'), 'g', S_IFREG | 0o666, 0, ME).stat.mode & 0o777).toBe(0o644)
        },
        { owners },
      )
    },
  )
})

describe('copy-up', () => {
  test('copy-up keeps inode number, node, data and parents', () => {
    withTree(['d/e/f = old text', 'd/x'], (scene) => {
      const node = scene.node('d/e/f')
      const before = scene.tree.getattr(node)
      const parents = ['d', 'd/e'].map((path) => scene.stat(path))
      scene.tree.setattr(node, { mode: 0o600 })
      const after = scene.tree.getattr(node)
      expect(after).toMatchObject({
        ...before,
        mode: S_IFREG | 0o600,
        ctime: after.ctime,
        ctimeNsec: after.ctimeNsec,
        blocks: after.blocks,
        blksize: after.blksize,
        btime: after.btime,
        btimeNsec: after.btimeNsec,
      })
      expect(scene.node('d/e/f')).toBe(node)
      expect(scene.read(node)).toBe('old text')
      for (const [i, path] of ['d', 'd/e'].entries()) {
        const { ino, mtime, mtimeNsec } = parents[i]!
        expect(scene.stat(path)).toMatchObject({ ino, mtime, mtimeNsec })
      }
      scene.remount()
      expect(scene.stat('d/e/f').ino).toBe(before.ino)
      expect(readdirSync(`${scene.folder}/w/work`)).toEqual([])
    })
  })

  test('an open file sees what is written by another name and after it was truncated', () => {
    withTree(['f = 0123456789'], (scene) => {
      const node = scene.node('f')
      scene.tree.setattr(node, { size: 4 })
      expect(scene.read(node)).toBe('0123')
      scene.tree.write(node, 2, bytes('XY'), false)
      scene.tree.setattr(node, { size: 6 })
      expect(scene.read('f')).toBe('01XY\0\0')
      expect(() => scene.tree.setattr(ROOT_NODE_ID, { size: 0 })).toThrow(failsWith('EISDIR'))
      expect(() => scene.tree.write(ROOT_NODE_ID, 0, bytes('x'), false)).toThrow(failsWith('EISDIR'))
    })
  })

  test('a write removes setuid only if the kernel asks for it', () => {
    withTree(['f = x'], (scene) => {
      const node = scene.node('f')
      scene.tree.setattr(node, { mode: 0o6755 })
      scene.tree.write(node, 0, bytes('y'), false)
      expect(scene.stat('f').mode & 0o7777).toBe(0o6755)
      scene.tree.write(node, 0, bytes('y'), true)
      expect(scene.stat('f').mode & 0o7777).toBe(0o755)
      scene.tree.setattr(node, { mode: 0o6744 })
      scene.tree.setattr(node, { size: 0, killPrivileges: true })
      expect(scene.stat('f').mode & 0o7777).toBe(0o2744)
    })
  })
})

describe('files without a name', () => {
  test.each([true, false])('a removed file lives until it is forgotten, written before: %s', (written) => {
    withTree(['d/f = below'], (scene) => {
      const node = scene.node('d/f')
      if (written) scene.tree.write(node, 0, bytes('B'), false)
      scene.unlink('d/f')
      expect(scene.tree.getattr(node)).toMatchObject({ nlink: 0, size: 5 })
      scene.tree.write(node, 5, bytes('!'), false)
      scene.tree.setattr(node, { mode: 0o600 })
      expect(scene.read(node)).toBe(written ? 'Below!' : 'below!')
      expect(scene.tree.getattr(node)).toMatchObject({ nlink: 0, mode: S_IFREG | 0o600 })
      expect(() => scene.tree.link(node, ROOT_NODE_ID, 'again')).toThrow(failsWith('ENOENT'))
      // Its name is free for another file, which is another node.
      expect(scene.create('d/f', 'new')).not.toBe(node)
      expect(scene.read(node)).toBe(written ? 'Below!' : 'below!')
      scene.tree.forget(node, 9)
      expect(() => scene.tree.getattr(node)).toThrow(failsWith('ESTALE'))
      expect(scene.read('d/f')).toBe('new')
    })
  })

  test('an unnamed file gets a name by link', () => {
    withTree(['d/w', 'd/w'], (scene) => {
      const { nodeId, stat } = scene.tree.tmpfile(scene.node('d'), 0o640, ME)
      expect(stat).toMatchObject({ nlink: 0, mode: S_IFREG | 0o640, size: 0 })
      scene.tree.write(nodeId, 0, bytes('kept'), false)
      scene.unlink('d/w')
      scene.tree.link(nodeId, scene.node('d'), 'w')
      expect(scene.tree.getattr(nodeId).nlink).toBe(1)
      expect(scene.node('d/w')).toBe(nodeId)
      scene.remount()
      expect(scene.read('d/w')).toBe('kept')
      expect(scene.stat('d/w').ino).toBe(stat.ino)
    })
  })

  test('a removed directory lists no names and accepts none', () => {
    withTree(['d/e/'], (scene) => {
      const [lower, upper] = [scene.node('d/e'), scene.mkdir('new')]
      scene.rmdir('d/e')
      scene.rmdir('new')
      for (const node of [lower, upper]) {
        expect(scene.tree.getattr(node).nlink).toBe(0)
        expect(() => scene.tree.mkdir(node, 'x', 0o755, ME)).toThrow(failsWith('ENOENT'))
        expect(() => scene.tree.tmpfile(node, 0o600, ME)).toThrow(failsWith('ENOENT'))
        expect(scene.tree.lookup(node, 'x')).toBeUndefined()
      }
    })
  })
})

describe('deletions', () => {
  test('a deletion leaves a whiteout only if a name below would show', () => {
    withTree(['d/a\nd/b\ndir/x'], (scene) => {
      scene.create('d/c')
      scene.mkdir('pure')
      scene.create('pure/p')
      for (const path of ['d/a', 'd/c', 'pure/p']) scene.unlink(path)
      expect(readdirSync(scene.upper('d'))).toEqual(['a'])
      expect(lstatSync(scene.upper('d/a')).isCharacterDevice()).toBe(true)
      expect(readdirSync(scene.upper('pure'))).toEqual([])
      scene.unlink('dir/x')
      scene.rmdir('dir')
      expect(lstatSync(scene.upper('dir')).isCharacterDevice()).toBe(true)
      scene.mkdir('dir')
      expect(scene.names('dir')).toEqual([])
      scene.create('dir/y')
      scene.unlink('dir/y')
      // Opaque: nothing below would show.
      expect(readdirSync(scene.upper('dir'))).toEqual([])
      scene.remount()
      expect(scene.names('dir')).toEqual([])
      expect(scene.names('d')).toEqual(['b'])
    })
  })

  test('rmdir of a directory with visible names is ENOTEMPTY, of a file ENOTDIR, and unlink of a directory EISDIR', () => {
    withTree(['d/a\nf'], (scene) => {
      expect(() => scene.rmdir('d')).toThrow(failsWith('ENOTEMPTY'))
      expect(() => scene.rmdir('f')).toThrow(failsWith('ENOTDIR'))
      expect(() => scene.unlink('d')).toThrow(failsWith('EISDIR'))
      expect(() => scene.unlink('none')).toThrow(failsWith('ENOENT'))
      expect(readdirSync(scene.upper())).toEqual([])
    })
  })

  test('deletions use `.wh.` names if devices are impossible', () => {
    const long = 'n'.repeat(252)
    withTree(
      [`d/a\nd/b\n${long}`],
      (scene) => {
        scene.unlink('d/a')
        scene.rename('d/b', 'd/c')
        expect(readdirSync(scene.upper('d')).sort()).toEqual(['.wh.a', '.wh.b', 'c'])
        expect(scene.names('d')).toEqual(['c'])
        scene.create('d/a', 'again')
        expect(readdirSync(scene.upper('d')).sort()).toEqual(['.wh.b', 'a', 'c'])
        expect(scene.exists('d/.wh.b')).toBe(false)
        expect(() => scene.unlink(long)).toThrow(failsWith('ENAMETOOLONG'))
        scene.remount()
        expect(scene.names('d')).toEqual(['a', 'c'])
      },
      { whiteouts: 'wh', xattrs: false },
    )
  })

  test('deletions of long names use an attribute if devices are impossible', () => {
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(255)) as [
      string,
      string,
      string,
      string,
    ]
    withTree(
      [`${a}\n${b}/x\n${c} = c\n${d} = d\nd/${a}`],
      (scene) => {
        scene.unlink(a)
        scene.unlink(`${b}/x`)
        scene.rmdir(b)
        scene.rename(c, 'short')
        scene.rename('d', 'moved')
        for (const again of [false, true]) {
          if (again) scene.remount()
          expect(scene.names()).toEqual([d, 'moved', 'short'])
          expect(scene.names('moved')).toEqual([a])
        }
        // Whatever comes to where one was: a file, a directory that is new, one that is moved, a file over another name.
        scene.create(a, 'new')
        scene.mkdir(b)
        scene.create(`${b}/y`)
        scene.rename('moved', c)
        scene.rename('short', d)
        for (const again of [false, true]) {
          if (again) scene.remount()
          expect(scene.names()).toEqual([a, b, c, d])
          expect([scene.read(a), scene.read(d)]).toEqual(['new', 'c'])
          expect([scene.names(b), scene.names(c)]).toEqual([['y'], [a]])
        }
      },
      { whiteouts: 'wh' },
    )
  })

  for (const whiteouts of ['device', 'wh'] as const) {
    test(`names that look like marks are ordinary names with deletions of the form ${whiteouts}`, () => {
      withTree(
        ['d/a\nd/b\nd/c\nx'],
        (scene) => {
          for (const name of ['.wh.a', '..wh.a', '.wh..wh..opq', '.wh.']) scene.create(`d/${name}`, name)
          scene.rename('d/c', 'd/.wh.c')
          scene.rename('d/.wh.', 'd/.wh.b')
          const names = ['..wh.a', '.wh..wh..opq', '.wh.a', '.wh.b', '.wh.c', 'a', 'b']
          for (const again of [false, true]) {
            if (again) scene.remount()
            expect(scene.names('d').sort()).toEqual(names)
            expect(scene.read('d/.wh.a')).toBe('.wh.a')
            expect(scene.read('d/..wh.a')).toBe('..wh.a')
            expect(scene.exists('d/c')).toBe(false)
          }
          // As a layer below another upper: the same names, and nothing is deleted by them.
          const layer = new HostDirectoryLayer(scene.upper())
          const merged = new MergedTree([new HostDirectoryLayer(join(scene.folder, 'l0')), layer])
          const d = merged.lookup(ROOT_NODE_ID, 'd')!.nodeId
          expect(
            listAll(merged, d)
              .map(({ name }) => name)
              .slice(2)
              .sort(),
          ).toEqual(names)
          expect(merged.lookup(d, '.wh.a')?.stat.size).toBe(5)
          expect(() => scene.create(`.wh.${'x'.repeat(251)}`)).toThrow(failsWith('ENAMETOOLONG'))
          scene.create(`.wh.${'x'.repeat(250)}`)
          for (const name of ['.wh.a', '..wh.a', '.wh..wh..opq', '.wh.b', '.wh.c']) scene.unlink(`d/${name}`)
          expect(scene.names('d').sort()).toEqual(['a', 'b'])
        },
        { whiteouts },
      )
    })
  }
})

describe('rename', () => {
  test('rename of a directory with layers below writes a redirect, or is EXDEV', () => {
    withTree(['d/e/f = x\nother/'], (scene) => {
      const ino = scene.stat('d/e').ino
      scene.rename('d/e', 'd/g')
      scene.rename('d/g', 'other/h')
      scene.create('other/h/new')
      expect(scene.names('other/h')).toEqual(['f', 'new'])
      expect(scene.names('d')).toEqual([])
      scene.remount()
      expect(scene.read('other/h/f')).toBe('x')
      expect(scene.stat('other/h').ino).toBe(ino)
      scene.remount({ redirectDir: false })
      expect(() => scene.rename('other/h', 'd/e')).toThrow(failsWith('EXDEV'))
      expect(scene.names('other/h')).toEqual(['f', 'new'])
    })
  })

  test('rename of a directory whose path is too long for overlayfs is EXDEV, and changes nothing', () => {
    const [one, two] = ['a'.repeat(200), 'b'.repeat(200)]
    withTree([`${one}/${two}/f = x`], (scene) => {
      expect(() => scene.rename(`${one}/${two}`, 'short')).toThrow(failsWith('EXDEV'))
      scene.rename(`${one}/${two}`, `${one}/short`)
      expect(scene.read(`${one}/short/f`)).toBe('x')
    })
  })

  test('rename replaces names, and handles the same name and a target below the source', () => {
    withTree(['a = A\nb = B\nfull/x\nempty/w\nd/e/'], (scene) => {
      const target = scene.node('b')
      scene.rename('a', 'b')
      expect(scene.read('b')).toBe('A')
      expect(scene.tree.getattr(target).nlink).toBe(0)
      expect(scene.read(target)).toBe('B')
      scene.link('b', 'c')
      scene.rename('b', 'c')
      expect(scene.names()).toEqual(['b', 'c', 'd', 'empty', 'full'])
      expect(() => scene.rename('d', 'full')).toThrow(failsWith('ENOTEMPTY'))
      expect(() => scene.rename('b', 'full')).toThrow(failsWith('EISDIR'))
      expect(() => scene.rename('full', 'b')).toThrow(failsWith('ENOTDIR'))
      expect(() => scene.rename('d', 'd/e/x')).toThrow(failsWith('EINVAL'))
      expect(() => scene.rename('b', 'c', 'noreplace')).toThrow(failsWith('EEXIST'))
      expect(() => scene.rename('b', 'none', 'exchange')).toThrow(failsWith('ENOENT'))
      expect(() => scene.rename('none', 'b')).toThrow(failsWith('ENOENT'))
      expect(() => scene.tree.rename(ROOT_NODE_ID, 'b', ROOT_NODE_ID, 'z', 'replace', true)).toThrow(
        failsWith('EINVAL'),
      )
      // Its whiteouts are in the way on the host, but not for users.
      scene.unlink('empty/w')
      scene.rename('full', 'empty')
      expect(scene.names('empty')).toEqual(['x'])
      scene.rename('empty', 'c', 'exchange')
      expect(scene.names('c')).toEqual(['x'])
      expect(scene.read('empty')).toBe('A')
      scene.remount()
      expect(scene.names()).toEqual(['b', 'c', 'd', 'empty'])
      expect(scene.names('c')).toEqual(['x'])
    })
  })

  test('a directory that is renamed to a deleted name does not merge with the deleted directory', () => {
    withTree(['d/old\nplace/'], (scene) => {
      scene.mkdir('new')
      scene.create('new/n')
      scene.unlink('d/old')
      scene.rmdir('d')
      scene.rename('new', 'd')
      scene.remount()
      expect(scene.names('d')).toEqual(['n'])
    })
  })
})

describe('hard links of the layers', () => {
  test('each name of a hard link in a layer is a file of its own after a change, also at the next mount', () => {
    withTree(['a = one\nd/b == a\nd/c == a\nd/e == a\nsingle'], (scene) => {
      const [node, other] = [scene.node('a'), scene.node('d/b')]
      expect(other).not.toBe(node)
      expect(scene.stat('d/b')).toMatchObject({ nlink: 4, ino: scene.stat('a').ino })
      scene.tree.write(node, 0, bytes('ONE'), false)
      scene.tree.setattr(other, { mode: 0o600 })
      scene.unlink('d/c')
      const shows = () => {
        expect(scene.names('d')).toEqual(['b', 'e'])
        expect(['a', 'd/b', 'd/e'].map((path) => scene.read(path))).toEqual(['ONE', 'one', 'one'])
        expect(['a', 'd/b'].map((path) => scene.stat(path).nlink)).toEqual([1, 1])
        expect(scene.stat('d/b').mode & 0o777).toBe(0o600)
        expect(scene.stat('d/e').mode & 0o777).not.toBe(0o600)
        const numbers = ['a', 'd/b', 'd/e', 'single'].map((path) => scene.stat(path).ino)
        expect(new Set(numbers).size).toBe(4)
        return numbers
      }
      const numbers = shows()
      scene.remount()
      expect(shows()).toEqual(numbers)
      expect(readdirSync(scene.upper()).sort()).toEqual(['a', 'd'])
    })
  })

  test('one name of a hard link in a layer can be renamed over another', () => {
    withTree(['a = one\nb == a\nc == a'], (scene) => {
      scene.rename('a', 'b')
      scene.link('c', 'more')
      scene.tree.write(scene.node('more'), 0, bytes('ONE'), false)
      const shows = () => {
        expect(scene.names()).toEqual(['b', 'c', 'more'])
        expect(['b', 'c', 'more'].map((path) => scene.read(path))).toEqual(['one', 'ONE', 'ONE'])
        expect(scene.stat('c')).toMatchObject({ nlink: 2, ino: scene.stat('more').ino })
      }
      shows()
      scene.remount()
      shows()
    })
  })

  test('data written through a removed name does not show by another name', () => {
    withTree(['a = one\nd/b == a'], (scene) => {
      const node = scene.node('a')
      scene.unlink('a')
      scene.tree.write(node, 0, bytes('ONE'), false)
      expect(scene.tree.getattr(node).nlink).toBe(0)
      expect([scene.read(node), scene.read('d/b')]).toEqual(['ONE', 'one'])
      scene.remount()
      expect(scene.read('d/b')).toBe('one')
      expect(scene.names()).toEqual(['d'])
    })
  })

  test('names of a hard link that were forgotten are found again, in any order', () => {
    withTree(['a = one\nb == a\nc == a'], (scene) => {
      const [first, second] = [scene.node('a'), scene.node('b')]
      scene.tree.forget(first, 1)
      expect(scene.node('b')).toBe(second)
      expect(scene.node('a')).not.toBe(second)
      scene.tree.write(second, 0, bytes('TWO'), false)
      expect(scene.node('b')).toBe(second)
      expect(['a', 'b', 'c'].map((path) => scene.read(path))).toEqual(['one', 'TWO', 'one'])
    })
  })
})

describe('attributes', () => {
  test.each(['real', 'override'] as const)('attributes set by users are read back, owners %s', (owners) => {
    withTree(
      ['f = x\nd/'],
      (scene) => {
        for (const path of ['f', 'd']) {
          const node = scene.node(path)
          scene.tree.setxattr(node, 'user.a', bytes('1'), 'create')
          expect(() => scene.tree.setxattr(node, 'user.a', bytes('2'), 'create')).toThrow(failsWith('EEXIST'))
          expect(() => scene.tree.setxattr(node, 'user.b', bytes('2'), 'replace')).toThrow(
            failsWith('ENODATA'),
          )
          // As an overlay inside would write it.
          scene.tree.setxattr(node, 'user.overlay.opaque', bytes('y'), 'either')
          expect([...scene.tree.listxattr(node)].sort()).toEqual(['user.a', 'user.overlay.opaque'])
          scene.tree.removexattr(node, 'user.overlay.opaque')
          expect(() => scene.tree.removexattr(node, 'user.none')).toThrow(failsWith('ENODATA'))
        }
        scene.remount()
        expect(scene.tree.getxattr(scene.node('f'), 'user.a')).toEqual(new Uint8Array([0x31]))
        scene.tree.removexattr(scene.node('f'), 'user.a')
        expect(scene.tree.getxattr(scene.node('f'), 'user.a')).toBeUndefined()
        expect(scene.names()).toEqual(['d', 'f'])
      },
      { owners },
    )
  })

  test('an attribute that is to be replaced and does not exist copies nothing up', () => {
    withTree(['f = x'], (scene) => {
      const node = scene.node('f')
      expect(() => scene.tree.setxattr(node, 'user.b', bytes('2'), 'replace')).toThrow(failsWith('ENODATA'))
      expect(readdirSync(scene.upper())).toEqual([])
      scene.tree.setxattr(node, 'user.b', bytes('2'), 'create')
      expect(readdirSync(scene.upper())).toEqual(['f'])
    })
  })

  test.each(['real', 'override'] as const)(
    'removing an absent access list succeeds without a copy-up, owners %s',
    (owners) => {
      withTree(
        ['d/'],
        (scene) => {
          const lists = [DEFAULT_ACL, 'system.posix_acl_access']
          for (const list of lists) scene.tree.removexattr(scene.node('d'), list)
          expect(readdirSync(scene.upper())).toEqual([])
          scene.tree.setattr(scene.node('d'), { mode: 0o700 })
          for (const list of lists) scene.tree.removexattr(scene.node('d'), list)
        },
        { owners },
      )
    },
  )

  test('removing an absent attribute copies nothing up', () => {
    withTree(['f = x'], (scene) => {
      expect(() => scene.tree.removexattr(scene.node('f'), 'user.x')).toThrow(failsWith('ENODATA'))
      expect(readdirSync(scene.upper())).toEqual([])
    })
  })

  test.each(['real', 'override'] as const)(
    'a change of owner keeps the mode bits of a directory, owners %s',
    (owners) => {
      withTree(
        ['d/\na = x'],
        (scene) => {
          const [directory, file] = [scene.node('d'), scene.node('a')]
          for (const node of [directory, file]) {
            scene.tree.setattr(node, { mode: 0o6775 })
            scene.tree.setattr(node, { uid: ME.uid, gid: ME.gid, killPrivileges: true })
          }
          expect(scene.stat('d').mode & 0o7777).toBe(0o6775)
          expect(scene.stat('a').mode & 0o7777).toBe(0o775)
        },
        { owners },
      )
    },
  )

  test.skipIf(!asRoot.ok)(
    titled('our own records are stored in the namespace of the markers', asRoot),
    () => {
      for (const [markers, other] of [
        ['user', 'trusted'],
        ['trusted', 'user'],
      ] as const) {
        withTree(
          ['a = x\nl -> a'],
          (scene) => {
            const numbers = ['a', 'l'].map((name) => scene.stat(name).ino)
            scene.tree.setattr(scene.node('a'), { mode: 0o600 })
            scene.tree.setattr(scene.node('l'), { mtime: 'now' })
            const names = (path: string) => Object.keys(readXattrs(Buffer.from(scene.upper(path)))).sort()
            expect(names('a')).toEqual([`${markers}.overlay.atomfs.ino`])
            // Symbolic links have no attributes of users.
            expect(names('l')).toEqual(['trusted.overlay.atomfs.ino'])
            // Another mount may want the other kind.
            scene.remount({}, { markers: other })
            expect(['a', 'l'].map((name) => scene.stat(name).ino)).toEqual(numbers)
          },
          { markers },
        )
      }
    },
  )

  test('a setattr without any change removes privileges, as chown without owners does', () => {
    for (const owners of ['real', 'override'] as const) {
      withTree(
        ['f = x\nl -> f\np/'],
        (scene) => {
          const node = scene.node('f')
          scene.tree.setattr(node, { mode: 0o6755 })
          expect(scene.tree.setattr(node, {}).mode & 0o7777).toBe(0o755)
          expect(scene.tree.setattr(scene.node('p'), { mode: 0o2755 }).mode & 0o7777).toBe(0o2755)
          const fifo = scene.tree.mknod(ROOT_NODE_ID, 'fifo', S_IFIFO | 0o640, 0, ME)
          expect(fifo.stat.mode).toBe(S_IFIFO | 0o640)
          const time = { seconds: -1, nanoseconds: 5 }
          expect(scene.tree.setattr(scene.node('l'), { mtime: time })).toMatchObject({
            mtime: -1,
            mtimeNsec: 5,
          })
          scene.remount()
          expect(scene.stat('fifo').mode).toBe(S_IFIFO | 0o640)
          expect(Buffer.from(scene.tree.readlink(scene.node('l'))).toString()).toBe('f')
          expect(() => scene.tree.readlink(scene.node('f'))).toThrow(failsWith('EINVAL'))
        },
        { owners },
      )
    }
  })
})

describe('data', () => {
  test('data is copied between layers and upper, and its holes and end are found', () => {
    withTree(['f = 0123456789'], (scene) => {
      const from = scene.node('f')
      const to = scene.create('to')
      expect(scene.tree.copyFileRange(from, 2, to, 4, 100)).toBe(8)
      expect(scene.read(to)).toBe('\0\0\0\x0023456789')
      expect(scene.tree.copyFileRange(to, 4, to, 0, 4)).toBe(4)
      expect(scene.tree.copyFileRange(from, 10, to, 0, 4)).toBe(0)
      expect(() => scene.tree.copyFileRange(to, 0, to, 2, 4)).toThrow(failsWith('EINVAL'))
      expect(readFileSync(scene.upper('to'), 'latin1')).toBe('234523456789')
      scene.tree.setattr(to, { size: 1 << 20 })
      expect(scene.tree.seek(to, 0, 'hole')).toBeLessThan(1 << 20)
      expect(() => scene.tree.seek(to, 2 ** 21, 'data')).toThrow(failsWith('ENXIO'))
      expect(scene.tree.seek(from, 3, 'data')).toBe(3)
      scene.tree.fsync(to, true)
      scene.tree.fsync(ROOT_NODE_ID, false)
      scene.tree.fsync(from, false)
      scene.tree.syncfs()
    })
  })

  test('a client that keeps times reads back the times that it set, after any change', () => {
    withTree(['f = 0123456789'], (scene) => {
      const told = { seconds: -5, nanoseconds: 123_456_789 }
      const file = scene.create('new', 'x'.repeat(9000))
      const written = scene.stat('new').mtime
      expect(written).toBeGreaterThan(1_700_000_000)
      scene.tree.clientKeepsTimes()
      const changes: readonly ((node: number) => unknown)[] = [
        (node) => scene.tree.write(node, 3, bytes('abc'), true),
        (node) => scene.tree.setattr(node, { size: 5000 }),
        (node) => scene.tree.setattr(node, { size: 5000, killPrivileges: true }),
        (node) => scene.tree.fallocate(node, 0, 4000, 9000),
        (node) => scene.tree.copyFileRange(scene.node('f'), 0, node, 0, 5),
        (node) => scene.tree.copyFileRange(scene.node('new'), 0, node, 100, 20),
        (node) => {
          expect(() => scene.tree.write(node, Number.MAX_SAFE_INTEGER - 1, bytes('abc'), false)).toThrow(
            failsWith('EFBIG'),
          )
        },
      ]
      for (const change of changes) {
        scene.tree.setattr(file, { mtime: told })
        change(file)
        expect(scene.stat('new')).toMatchObject({ mtime: -5, mtimeNsec: 123_456_789 })
      }
      scene.tree.setattr(file, { atime: told })
      scene.tree.write(file, 0, bytes('abc'), false)
      expect(scene.stat('new')).toMatchObject({ atime: -5, atimeNsec: 123_456_789 })
      // A copy has the time of its original until the client tells another one.
      const { mtime, mtimeNsec } = scene.stat('f')
      scene.tree.write(scene.node('f'), 0, bytes('X'), false)
      expect(scene.read('f')).toBe('X123456789')
      expect(scene.stat('f')).toMatchObject({ mtime, mtimeNsec })
      expect(scene.tree.setattr(file, { size: 0, mtime: { seconds: 7, nanoseconds: 8 } })).toMatchObject({
        mtime: 7,
        mtimeNsec: 8,
      })
      expect(scene.tree.setattr(file, { mtime: 'now' }).mtime).toBeGreaterThanOrEqual(written)
      scene.remount()
      scene.tree.setattr(scene.node('new'), { mtime: told })
      scene.tree.write(scene.node('new'), 0, bytes('X'), false)
      expect(scene.stat('new').mtime).toBeGreaterThanOrEqual(written)
    })
  })

  test('a setattr of ctime alone removes setuid, as chown(2) does', () => {
    withTree([''], (scene) => {
      const file = scene.create('f', 'x', 0o4755)
      const ctime = { seconds: 9, nanoseconds: 9 }
      expect(scene.tree.setattr(file, { ctime, killPrivileges: true }).mode & 0o7777).toBe(0o755)
    })
  })
})
