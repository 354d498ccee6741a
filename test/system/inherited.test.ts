import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { mksquashfs, needs, run, titled, unmount } from '../library/index.ts'
import { makeNode, readXattrs } from '../library/programs/native.ts'
import { inScene, type Scene, SILENT } from '../library/scenes/life.ts'

/** What the folders of a writable mount pass on to what is made in them must not reach what the mount shows. */

const S_IFIFO = 0o010000
const need = needs('root', 'fuse', 'mksquashfs', 'setfacl')
const withFlags = needs('root', 'fuse', 'mksquashfs', 'chattr', 'lsattr')
const withProjects = needs('root', 'fuse', 'loop', 'mksquashfs', 'mkfs.xfs', 'chattr', 'lsattr')

async function image(folder: string): Promise<string> {
  const tree = join(folder, 'tree')
  mkdirSync(join(tree, 'dir'), { recursive: true })
  for (const name of ['secret', 'dir/file', 'gone', 'gone-directory', 'gone-fifo']) {
    writeFileSync(join(tree, name), 'secret\n', { mode: 0o640 })
  }
  makeNode(Buffer.from(join(tree, 'fifo')), S_IFIFO | 0o640, 0, 0)
  return mksquashfs(tree, join(folder, 'i.sqfs'))
}

/** Copies and makes one of each kind, so that all that changes pass through is used. */
function change(target: string): void {
  appendFileSync(join(target, 'secret'), 'more\n')
  chmodSync(join(target, 'fifo'), 0o600)
  for (const name of ['gone', 'gone-directory', 'gone-fifo']) rmSync(join(target, name))
  writeFileSync(join(target, 'gone'), 'new\n', { mode: 0o640 })
  mkdirSync(join(target, 'gone-directory'), 0o750)
  makeNode(Buffer.from(join(target, 'gone-fifo')), S_IFIFO | 0o640, 0, 0)
  writeFileSync(join(target, 'dir/new'), 'new\n', { mode: 0o640 })
  mkdirSync(join(target, 'gone-directory/in'), 0o750)
}

function tree(folder: string, path = ''): string[] {
  const all = readdirSync(join(folder, path), { withFileTypes: true }).flatMap((entry) => {
    const child = join(path, entry.name)
    return entry.isDirectory() ? [child, ...tree(folder, child)] : [child]
  })
  return path === '' ? ['', ...all] : all
}

async function changed(
  scene: Scene,
  use: (upper: string) => Promise<void> | void,
  ...args: string[]
): Promise<void> {
  const { folder, target, atomfs } = scene
  const source = await image(folder)
  expect(await atomfs('mount', '--allow-missing-verity', ...args, source, target)).toMatchObject(SILENT)
  change(target)
  const modes = ['secret', 'gone', 'dir/new', 'gone-directory', 'gone-directory/in'].map(
    (path) => statSync(join(target, path)).mode & 0o7777,
  )
  expect(modes).toEqual([0o640, 0o640, 0o640, 0o750, 0o750])
  await unmount(target)
  await use(folder)
}

describe.skipIf(!need.ok)(titled('copied and new files', need), () => {
  test('a copied or new file does not inherit the access list of the folder of the upper', async () => {
    await inScene(async (scene) => {
      const state = join(scene.folder, 'state')
      mkdirSync(state)
      await run('setfacl', ['-d', '-m', 'u:1234:rwx', state])
      const upper = join(state, 'p/persist')
      const check = () => {
        for (const path of tree(upper)) {
          const lists = Object.keys(readXattrs(Buffer.from(join(upper, path)))).filter((name) =>
            name.includes('acl'),
          )
          expect([path, lists]).toEqual([path, []])
        }
      }
      await changed(scene, check, '--persist', join(state, 'p'))
    })
  })

  test('a copied or new file does not inherit the access list of an existing work directory', async () => {
    await inScene(async (scene) => {
      const state = join(scene.folder, 'p')
      for (const path of ['persist', 'work/work']) mkdirSync(join(state, path), { recursive: true })
      await run('setfacl', ['-d', '-m', 'u:1234:rwx', join(state, 'work/work')])
      chmodSync(join(state, 'work/work'), 0o2777)
      const check = () => {
        for (const path of tree(join(state, 'persist'))) {
          const found = join(state, 'persist', path)
          const lists = Object.keys(readXattrs(Buffer.from(found))).filter((name) => name.includes('acl'))
          expect([path, lists]).toEqual([path, []])
          expect(statSync(found).mode & 0o2000).toBe(0)
        }
      }
      await changed(scene, check, '--persist', state)
    })
  })

  test('a new file inherits the access list of the upper directory, and a copied file does not', async () => {
    await inScene(async (scene) => {
      const upper = join(scene.folder, 'u')
      mkdirSync(upper)
      await run('setfacl', ['-d', '-m', 'u:1234:r', upper])
      const { target, atomfs, folder } = scene
      const source = await image(folder)
      expect(await atomfs('mount', '--upper', upper, source, target)).toMatchObject(SILENT)
      writeFileSync(join(target, 'new'), '')
      appendFileSync(join(target, 'secret'), 'more\n')
      await unmount(target)
      const named = (name: string) => Object.keys(readXattrs(Buffer.from(join(upper, name))))
      expect(named('new')).toContain('system.posix_acl_access')
      expect(named('secret')).not.toContain('system.posix_acl_access')
    })
  })
})

async function flagsOf(path: string): Promise<string> {
  return (await run('lsattr', ['-dp', path])).stdout
}

describe.skipIf(!withFlags.ok)(titled('flags of the work directory', withFlags), () => {
  test('the work directory has the file flags of the upper directory', async () => {
    await inScene(async (scene) => {
      const state = join(scene.folder, 'p')
      for (const path of ['persist', 'work/work']) mkdirSync(join(state, path), { recursive: true })
      await run('chattr', ['+d', join(state, 'work/work')])
      await run('chattr', ['+A', join(state, 'persist')])
      const check = async () => {
        for (const name of ['secret', 'gone']) {
          const [, flags] = (await flagsOf(join(state, 'persist', name))).trim().split(/\s+/)
          expect([flags?.includes('d'), flags?.includes('A')]).toEqual([false, true])
        }
      }
      await changed(scene, check, '--persist', state)
    })
  })
})

describe.skipIf(!withProjects.ok)(titled('the project of the upper directory', withProjects), () => {
  test('a copied or new file has the project of the upper directory, with the work directory beside it', async () => {
    await inScene(async (scene) => {
      const [disk, file] = [join(scene.folder, 'disk'), join(scene.folder, 'file')]
      mkdirSync(disk)
      writeFileSync(file, '')
      truncateSync(file, 320 << 20)
      await run('mkfs.xfs', ['-q', file])
      await run('mount', ['-o', 'loop', file, disk])
      mkdirSync(join(disk, 'u'))
      await run('chattr', ['-p', '7', '+P', join(disk, 'u')])
      const check = async () => {
        for (const name of ['secret', 'gone', 'gone-directory']) {
          expect((await flagsOf(join(disk, 'u', name))).trim()).toMatch(/^7 /)
        }
      }
      await changed(scene, check, '--upper', join(disk, 'u'))
    })
  })
})
