import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { UpperPolicy } from '../../../../overlay/stored/policy.ts'
import {
  isDeviceWhiteout,
  isMarkedDeleted,
  isOpaque,
  isUpperWhiteout,
  removeWhiteout,
  setOpaque,
  upperOpacity,
  whiteout,
} from '../../../../overlay/upper/disk/markers.ts'
import { S_IFCHR } from '../../../../src/base/index.ts'
import { mknodAt, O_PATH, openAt } from '../../../../src/sys/files/at.ts'
import { statAt } from '../../../../src/sys/files/statx.ts'
import { setxattrFd } from '../../../../src/sys/files/xattr.ts'
import { mountKernelOverlay, needs, run, titled, unmount, withTarget } from '../../../library/index.ts'
import { REAL, Scene } from '../support.ts'

const WH: UpperPolicy = { ...REAL, whiteouts: 'wh', xattrs: false }
const WH_OR_ATTRIBUTE: UpperPolicy = { ...WH, xattrs: true }
const overlayfs = needs('kernel-overlayfs')
const fuseOverlayfs = needs('root', 'fuse', 'fuse-overlayfs')

let scene: Scene
beforeEach(() => {
  scene = new Scene()
})
afterEach(() => scene.close())

/** A name in the upper, and what it has there. */
const PRESENT: Readonly<Record<string, (path: string) => void>> = {
  nothing: () => {},
  file: (path) => writeFileSync(path, 'content'),
  link: (path) => symlinkSync('/nowhere', path),
  'empty directory': (path) => mkdirSync(path),
  'directory of whiteouts': (path) => {
    mkdirSync(path)
    writeFileSync(`${path}/.wh.x`, '')
  },
}

describe('a whiteout', () => {
  for (const [what, make] of Object.entries(PRESENT)) {
    test(`a whiteout device replaces ${what}`, () => {
      make(scene.path('upper/name'))
      whiteout(scene.upperFd, 'name', scene.work, REAL)
      expect(readdirSync(scene.path('upper'))).toEqual(['name'])
      expect(isDeviceWhiteout(statAt(scene.upperFd, 'name')!)).toBe(true)
      expect(readdirSync(scene.path('work/work'))).toEqual([])
    })

    test(`a .wh. file replaces ${what}`, () => {
      make(scene.path('upper/name'))
      whiteout(scene.upperFd, 'name', scene.work, WH)
      expect(readdirSync(scene.path('upper'))).toEqual(['.wh.name'])
      expect(statSync(scene.path('upper/.wh.name'))).toMatchObject({ size: 0 })
      expect(isMarkedDeleted(scene.upperFd, 'name')).toBe(true)
      expect(readdirSync(scene.path('work/work'))).toEqual([])
    })
  }

  test('a second whiteout of a name keeps the first, in both forms', () => {
    for (const policy of [REAL, WH]) {
      for (let i = 0; i < 3; i++) whiteout(scene.upperFd, policy.whiteouts, scene.work, policy)
    }
    expect(readdirSync(scene.path('upper')).sort()).toEqual(['.wh.wh', 'device'])
  })

  test('a .wh. file for a name that is too long fails, and the name is not deleted', () => {
    const name = 'x'.repeat(252)
    writeFileSync(scene.path(`upper/${name}`), 'content')
    expect(() => whiteout(scene.upperFd, name, scene.work, WH)).toThrow(
      expect.objectContaining({ code: 'ENAMETOOLONG' }),
    )
    expect(readFileSync(scene.path(`upper/${name}`), 'latin1')).toBe('content')
    expect(isMarkedDeleted(scene.upperFd, name)).toBe(false)
    whiteout(scene.upperFd, name, scene.work, REAL)
    whiteout(scene.upperFd, 'y'.repeat(255), scene.work, REAL)
    whiteout(scene.upperFd, 'z'.repeat(251), scene.work, WH)
    expect(isMarkedDeleted(scene.upperFd, 'z'.repeat(251))).toBe(true)
  })

  test('a whiteout of a long name is an empty file with an attribute, if attributes are possible', () => {
    const name = 'x'.repeat(252)
    for (const make of Object.values(PRESENT)) {
      make(scene.path(`upper/${name}`))
      expect(whiteout(scene.upperFd, name, scene.work, WH_OR_ATTRIBUTE)).toBe('attribute')
      expect(upperOpacity(scene.upperFd, true)).toBe('x')
      const stat = statAt(scene.upperFd, name)!
      expect(isUpperWhiteout(scene.upperFd, name, stat, () => upperOpacity(scene.upperFd, true))).toBe(true)
      expect(readdirSync(scene.path('work/work'))).toEqual([])
      rmSync(scene.path(`upper/${name}`))
    }
    expect(whiteout(scene.upperFd, 'short', scene.work, WH_OR_ATTRIBUTE)).toBe('wh')
  })

  test('removing a whiteout removes both forms of it and no other name', () => {
    whiteout(scene.upperFd, 'name', scene.work, REAL)
    whiteout(scene.upperFd, 'mark', scene.work, WH)
    writeFileSync(scene.path('upper/mark'), 'new')
    for (const name of ['name', 'mark', 'absent']) removeWhiteout(scene.upperFd, name)
    expect(readdirSync(scene.path('upper'))).toEqual(['mark'])
    expect(readFileSync(scene.path('upper/mark'), 'latin1')).toBe('new')
  })

  test('a whiteout is distinguished from other devices and from the bookkeeping of AUFS', () => {
    expect(isDeviceWhiteout({ ...statAt(scene.upperFd, 'x')!, mode: S_IFCHR, rdev: 0x0103 })).toBe(false)
    writeFileSync(scene.path('upper/.wh..wh.plnk'), '')
    expect(isMarkedDeleted(scene.upperFd, '.wh.plnk')).toBe(false)
  })

  test('a device 0:0 named .wh.NAME is a whiteout, as in fuse-overlayfs', () => {
    mknodAt(scene.upperFd, '.wh.name', S_IFCHR, 0)
    expect(isMarkedDeleted(scene.upperFd, 'name')).toBe(true)
    removeWhiteout(scene.upperFd, 'name')
    expect(readdirSync(scene.path('upper'))).toEqual([])
  })

  test('an empty file with the whiteout attribute is a whiteout only in a directory marked for it', () => {
    writeFileSync(scene.path('upper/empty'), '')
    writeFileSync(scene.path('upper/plain'), '')
    writeFileSync(scene.path('upper/full'), 'x')
    for (const name of ['empty', 'full']) {
      const fd = scene.kept(openAt(scene.upperFd, name, O_PATH))
      setxattrFd(fd, 'user.overlay.whiteout', new Uint8Array(0), 'create')
    }
    const isOne = (name: string, opacity: 'x' | 'y' | 'none') =>
      isUpperWhiteout(scene.upperFd, name, statAt(scene.upperFd, name)!, () => opacity)
    expect(['empty', 'plain', 'full'].map((name) => isOne(name, 'x'))).toEqual([true, false, false])
    expect(isOne('empty', 'none')).toBe(false)
    whiteout(scene.upperFd, 'device', scene.work, REAL)
    expect(isOne('device', 'none')).toBe(true)
  })
})

describe('an opaque directory', () => {
  test('an opaque directory is marked by an attribute, or by a file if attributes are impossible', () => {
    for (const policy of [REAL, WH]) {
      const name = policy.whiteouts
      mkdirSync(scene.path(`upper/${name}`))
      const fd = scene.kept(openAt(scene.upperFd, name, O_PATH))
      expect(upperOpacity(fd, true)).toBe('none')
      setOpaque(fd, policy)
      setOpaque(fd, policy)
      expect(isOpaque(fd)).toBe(true)
    }
    expect(readdirSync(scene.path('upper/device'))).toEqual([])
    expect(readdirSync(scene.path('upper/wh'))).toEqual(['.wh..wh..opq'])
  })

  test('an opaque directory is recognized by the attributes of other programs with a value of exactly one byte', () => {
    const cases = [
      ['user.overlay.opaque', 'y', 'y'],
      ['user.fuseoverlayfs.opaque', 'y', 'y'],
      ['user.overlay.opaque', 'x', 'x'],
      ['user.overlay.opaque', 'yy', 'none'],
      ['user.overlay.opaque', '', 'none'],
    ] as const
    for (const [index, [attribute, value, opacity]] of cases.entries()) {
      mkdirSync(scene.path(`upper/${index}`))
      const fd = scene.kept(openAt(scene.upperFd, `${index}`, O_PATH))
      setxattrFd(fd, attribute, Buffer.from(value), 'create')
      expect(upperOpacity(fd, true)).toBe(opacity)
    }
  })

  test('a deleted opaque mark does not make a directory opaque', () => {
    mknodAt(scene.upperFd, '.wh..wh..opq', S_IFCHR, 0)
    expect(isOpaque(scene.upperFd)).toBe(false)
  })
})

describe('other overlay programs on our upper', () => {
  function makeLower(): void {
    for (const name of ['gone', 'kept', 'hidden', 'dir-gone']) {
      mkdirSync(scene.path(`lower/${name}`), { recursive: true })
      writeFileSync(scene.path(`lower/${name}/below`), '')
    }
    writeFileSync(scene.path('lower/file'), '')
  }

  function mark(policy: UpperPolicy): void {
    mkdirSync(scene.path('upper/hidden'))
    setOpaque(scene.kept(openAt(scene.upperFd, 'hidden', O_PATH)), policy)
    mkdirSync(scene.path('upper/dir-gone'))
    for (const name of ['gone', 'file', 'dir-gone']) whiteout(scene.upperFd, name, scene.work, policy)
  }

  test.skipIf(!overlayfs.ok)(
    titled('overlayfs shows our whiteouts and opaque directories as we do', overlayfs),
    async () => {
      makeLower()
      mark(REAL)
      await withTarget(scene.folder, async (target) => {
        await mountKernelOverlay([scene.path('lower')], target, {
          userxattr: true,
          upper: { upper: scene.path('upper'), work: scene.path('work') },
        })
        expect(readdirSync(target).sort()).toEqual(['hidden', 'kept'])
        expect(readdirSync(`${target}/hidden`)).toEqual([])
        expect(readdirSync(`${target}/kept`)).toEqual(['below'])
      })
    },
  )

  test.skipIf(!overlayfs.ok)(
    titled('overlayfs with an index accepts our work directory', overlayfs),
    async () => {
      makeLower()
      await withTarget(scene.folder, async (target) => {
        const work = `workdir=${scene.path('work')},index=on`
        const options = `lowerdir=${scene.path('lower')},upperdir=${scene.path('upper')},${work}`
        await run('mount', ['-t', 'overlay', '-o', options, 'overlay', target])
        expect(readdirSync(target)).toContain('file')
      })
      // What overlayfs left is ours to open again.
      expect(lstatSync(scene.path('work/work')).mode & 0o777).toBe(0)
    },
  )

  test.skipIf(!fuseOverlayfs.ok)(
    titled('fuse-overlayfs shows both forms of our whiteouts as we do', fuseOverlayfs),
    async () => {
      makeLower()
      for (const policy of [REAL, WH]) {
        mark(policy)
        await withTarget(scene.folder, async (target) => {
          const layers = `lowerdir=${scene.path('lower')},upperdir=${scene.path('upper')}`
          await run('fuse-overlayfs', ['-o', `${layers},workdir=${scene.path('work')}`, target])
          try {
            const { stdout } = await run('find', [target, '-mindepth', '1', '-printf', '%P\n'])
            expect(stdout.trim().split('\n').sort()).toEqual(['hidden', 'kept', 'kept/below'])
          } finally {
            await unmount(target)
          }
        })
        for (const name of readdirSync(scene.path('upper')))
          await run('rm', ['-r', scene.path(`upper/${name}`)])
      }
    },
  )
})
