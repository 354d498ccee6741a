import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WorkDirectory } from '../../../../overlay/upper/disk/work-directory.ts'
import { S_IFCHR } from '../../../../src/base/index.ts'
import { mkdirAt, mknodAt, O_PATH, openAt, renameAt } from '../../../../src/sys/files/at.ts'
import { Scene } from '../support.ts'

let scene: Scene
beforeEach(() => {
  scene = new Scene()
})
afterEach(() => scene.close())

function inside(): string[] {
  return readdirSync(scene.path('work/work'))
}

describe('a work directory', () => {
  test('a work directory is accessible to its owner only, also if overlayfs left it without any permission', () => {
    expect(statSync(scene.path('work/work')).mode & 0o7777).toBe(0o700)
    chmodSync(scene.path('work/work'), 0)
    new WorkDirectory(scene.open('work'), 'w').close()
    expect(statSync(scene.path('work/work')).mode & 0o7777).toBe(0o700)
  })

  test('the error for a work directory that cannot be made names its path', () => {
    mkdirSync(scene.path('other'))
    writeFileSync(scene.path('other/work'), '')
    expect(() => new WorkDirectory(scene.open('other'), '/the/path')).toThrow(
      expect.objectContaining({ code: 'ENOTDIR', message: expect.stringContaining('/the/path') }),
    )
  })

  test('a work directory gives out each temporary name once', () => {
    const names = Array.from({ length: 1000 }, () => scene.work.temporaryName())
    expect(new Set(names).size).toBe(1000)
  })
})

describe('the cleaning of a work directory', () => {
  test('cleaning removes left-overs of all types, and does not follow links', () => {
    writeFileSync(scene.path('precious'), 'p')
    mkdirSync(scene.path('dear'))
    writeFileSync(scene.path('dear/file'), 'd')
    for (const parent of ['work/work', 'work/work/tree', 'work/work/tree/\xe9\n']) {
      if (!existsSync(scene.path(parent))) mkdirSync(scene.path(parent))
      symlinkSync(scene.path('precious'), scene.path(`${parent}/to-file`))
      symlinkSync(scene.path('dear'), scene.path(`${parent}/to-directory`))
      writeFileSync(scene.path(`${parent}/file`), 'x')
      const fd = scene.open(parent)
      mknodAt(fd, 'whiteout', S_IFCHR, 0)
    }
    chmodSync(scene.path('work/work/tree/\xe9\n'), 0)
    chmodSync(scene.path('work/work/tree'), 0o500)
    scene.work.clean()
    expect(inside()).toEqual([])
    expect(readdirSync(scene.folder).sort()).toEqual(['dear', 'precious', 'upper', 'work'])
    expect(readdirSync(scene.path('dear'))).toEqual(['file'])
  })

  test('cleaning works deeper than the limits of paths and descriptors', () => {
    // Made from the bottom up: a path of 5000 levels cannot be named.
    const work = scene.open('work/work')
    for (let level = 0; level < 5000; level++) {
      mkdirAt(work, 'outer', 0o700)
      if (level > 0) {
        const outer = openAt(work, 'outer', O_PATH)
        scene.kept(outer)
        renameAt(work, 'tree', outer, 'd', 0)
        scene.closeLast()
      }
      renameAt(work, 'outer', work, 'tree', 0)
    }
    scene.work.clean()
    expect(inside()).toEqual([])
  })

  test('cleaning does not collide with its own temporary names', () => {
    for (let i = 0; i < 20; i++) {
      mkdirSync(scene.path(`work/work/#${i.toString(16)}/#0/#1`), { recursive: true })
    }
    for (const name of ['#', '#zz', '#fffffffffffffffff', '#-1']) {
      mkdirSync(scene.path(`work/work/${name}/#2`), { recursive: true })
    }
    scene.work.clean()
    expect(inside()).toEqual([])
    expect(scene.work.temporaryName()).toBe('#0')
  })

  test('cleaning is refused after a volatile mount until the user removes the mark', () => {
    writeFileSync(scene.path('work/work/#0'), '')
    scene.work.markVolatile()
    scene.work.markVolatile()
    expect(existsSync(scene.path('work/work/incompat/volatile'))).toBe(true)
    expect(() => scene.work.clean()).toThrow(
      expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining('work/incompat/volatile') }),
    )
    expect(inside().sort()).toEqual(['#0', 'incompat'])
    rmdirSync(scene.path('work/work/incompat/volatile'))
    scene.work.clean()
    expect(inside()).toEqual([])
  })

  test('cleaning is refused for an unknown feature', () => {
    mkdirSync(scene.path('work/work/incompat/future'), { recursive: true })
    expect(() => scene.work.clean()).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })
})

describe('discarding', () => {
  test('discarding removes a name and all below it, and accepts a name that is gone', () => {
    mkdirSync(scene.path('work/work/a/b/c'), { recursive: true })
    writeFileSync(scene.path('work/work/other'), '')
    scene.work.discard('a')
    scene.work.discard('absent')
    expect(inside()).toEqual(['other'])
  })
})
