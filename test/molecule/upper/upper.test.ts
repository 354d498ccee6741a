import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openWithUpper } from '../../../src/molecule/open.ts'
import { HeldError } from '../../../src/molecule/upper/lock.ts'
import { removeChanges } from '../../../src/molecule/upper/temporary-changes.ts'
import { openUpper, upperPaths, viewUpper } from '../../../src/molecule/upper/upper.ts'
import { Folder } from '../../../src/sys/files/folder.ts'
import { withTempDir } from '../../library/programs/temp.ts'

const open = (path: string) => Folder.open(path, { guarded: false })

/** What this process has open below a folder. */
function inUse(folder: string): readonly string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`)
      } catch {
        // The one that listed the folder.
        return ''
      }
    })
    .filter((path) => path.startsWith(folder))
}

const OPTIONS = {
  fsync: 'auto',
  volatileSign: true,
  redirectDir: true,
  writeback: true,
  copyUpAtOpen: false,
} as const

describe('upperPaths', () => {
  test('upperPaths gives the upper and work directories of every layout', async () => {
    await withTempDir((folder) => {
      mkdirSync(join(folder, 'real'))
      symlinkSync('real', join(folder, 'link'))
      const makes = true
      const at = (path: string) => join(folder, path)
      expect(upperPaths({ kind: 'persist', folder }, '')).toEqual({
        ...{ upper: at('persist'), work: at('work'), makes, temporary: false },
      })
      for (const upper of [at('link'), `${at('real')}/`]) {
        expect(upperPaths({ kind: 'upper', upper }, '')).toEqual({
          ...{ upper: at('real'), work: at('real.atomfs-work'), makes, temporary: false, named: upper },
        })
      }
      expect(upperPaths({ kind: 'upper', upper: at('link/../new') }, '')).toMatchObject({
        work: at('new.atomfs-work'),
      })
      expect(upperPaths({ kind: 'pair', upper: '/u', work: '/w' }, '')).toEqual({
        ...{ upper: '/u', work: '/w', makes: false, temporary: false },
      })
      expect(upperPaths({ kind: 'temporary' }, folder)).toMatchObject({
        upper: at('persist'),
        temporary: true,
      })
    })
  })
})

describe('openUpper', () => {
  test('openUpper makes and locks the directories, and its undo removes only what it made', async () => {
    await withTempDir((folder) => {
      const place = join(folder, 'a/b')
      const paths = upperPaths({ kind: 'persist', folder: place }, '')
      const first = openUpper(paths, OPTIONS, [])
      expect(first.spec).toMatchObject({ label: paths.upper, fresh: true, redirectDir: true })
      expect(statSync(paths.work).mode & 0o777).toBe(0o700)
      expect(() => openUpper(paths, OPTIONS, [])).toThrow(HeldError)
      expect(() => openUpper(paths, OPTIONS, [])).toThrow(`in use by process ${process.pid}`)
      first.undo()
      expect(readdirSync(folder)).toEqual([])
      mkdirSync(paths.upper, { recursive: true })
      const second = openUpper(paths, OPTIONS, [])
      expect(second.spec.fresh).toBe(false)
      second.undo()
      expect(readdirSync(place)).toEqual(['persist'])
    })
  })

  test('letGo frees every descriptor on the file system of the upper', async () => {
    await withTempDir((folder) => {
      const standIn = openSync('/dev/null', 'r')
      try {
        const place = { kind: 'persist', folder: join(folder, 'new') } as const
        for (const of of [
          upperPaths(place, ''),
          { ...upperPaths(place, ''), named: join(folder, 'new/persist') },
        ]) {
          const upper = openUpper(of, OPTIONS, [])
          const images = { images: [], layers: [], plain: false, imagePaths: [], blockSize: 4096 }
          const molecule = openWithUpper(images, upper.spec)
          molecule.closeLayers()
          molecule.closeUpper()
          const used = [upper.spec.upperFd, upper.spec.work?.fd ?? -1]
          expect(inUse(folder).length).toBeGreaterThanOrEqual(used.length)
          upper.unlock()
          upper.letGo(standIn)
          expect(inUse(folder)).toEqual([])
          expect(used.map((fd) => readlinkSync(`/proc/self/fd/${fd}`))).toEqual(['/dev/null', '/dev/null'])
        }
      } finally {
        closeSync(standIn)
      }
    })
  })

  test('openUpper leaves no descriptor open and no directory behind if it fails', async () => {
    await withTempDir((folder) => {
      const descriptors = () => readdirSync('/proc/self/fd').length
      const before = descriptors()
      writeFileSync(join(folder, 'file'), '')
      mkdirSync(join(folder, 'u/w'), { recursive: true })
      const at = (path: string) => join(folder, path)
      const failing = [
        [{ kind: 'upper', upper: at('file') }, /upper directory .*EEXIST|ENOTDIR/],
        [
          { kind: 'pair', upper: at('u'), work: at('none') },
          /work directory .*none cannot be opened: ENOENT/,
        ],
        [{ kind: 'pair', upper: at('u'), work: at('u/w') }, /one contains the other/],
        [{ kind: 'pair', upper: at('u/w'), work: at('u') }, /one contains the other/],
      ] as const
      for (const [place, message] of failing) {
        expect(() => openUpper(upperPaths(place, ''), OPTIONS, [])).toThrow(message)
      }
      expect(readdirSync(folder).sort()).toEqual(['file', 'u'])
      expect(readdirSync(at('u/w'))).toEqual([])
      expect(descriptors()).toBe(before)
    })
  })

  test('undo removes the volatile sign of a failed mount, and the sign of an earlier volatile mount blocks the next', async () => {
    await withTempDir((folder) => {
      const paths = upperPaths({ kind: 'upper', upper: join(folder, 'u') }, '')
      openUpper(paths, OPTIONS, []).unlock()
      const sign = join(paths.work, 'work/incompat/volatile')
      const failed = openUpper(paths, { ...OPTIONS, fsync: 'volatile' }, [])
      expect(existsSync(sign)).toBe(true)
      failed.undo()
      expect(existsSync(sign)).toBe(false)
      openUpper(paths, { ...OPTIONS, fsync: 'volatile', volatileSign: false }, []).unlock()
      expect(existsSync(sign)).toBe(false)
      openUpper(paths, { ...OPTIONS, fsync: 'volatile' }, []).unlock()
      expect(() => openUpper(paths, OPTIONS, [])).toThrow(/incompat\/volatile exists.*remove that directory/)
    })
  })
})

describe('viewUpper', () => {
  test('viewUpper changes nothing, and shares the directory with other viewers but not with a mount', async () => {
    await withTempDir((folder) => {
      const paths = upperPaths({ kind: 'upper', upper: join(folder, 'u') }, '')
      expect(() => viewUpper(paths, [])).toThrow(/upper directory .*u cannot be opened: ENOENT/)
      mkdirSync(paths.upper)
      const views = [viewUpper(paths, []), viewUpper(paths, [])]
      expect(readdirSync(folder).sort()).toEqual(['u'])
      expect(() => openUpper(paths, OPTIONS, [])).toThrow(HeldError)
      for (const view of views) view.undo()
      const mount = openUpper(paths, OPTIONS, [])
      expect(() => viewUpper(paths, [])).toThrow(HeldError)
      mount.unlock()
    })
  })
})

describe('removeChanges', () => {
  test('removeChanges removes all changes, and refuses while a mount uses the directory', async () => {
    await withTempDir((folder) => {
      const changes = join(folder, 'changes')
      mkdirSync(changes)
      const paths = upperPaths({ kind: 'temporary' }, changes)
      const upper = openUpper(paths, OPTIONS, [])
      mkdirSync(join(paths.upper, 'x/y/z'), { recursive: true })
      writeFileSync(Buffer.concat([Buffer.from(`${paths.upper}/x/`), Buffer.of(0xff)]), '')
      mkdirSync(join(paths.work, 'work/#0/left'), { recursive: true })
      expect(removeChanges(open(folder), basename(changes))).toBe(false)
      expect(existsSync(join(paths.upper, 'x/y/z'))).toBe(true)
      upper.unlock()
      expect(removeChanges(open(folder), basename(changes))).toBe(true)
      expect(readdirSync(folder)).toEqual([])
    })
  })

  test('removeChanges removes a layout that is only half made', async () => {
    await withTempDir((folder) => {
      for (const made of ['none', 'persist', 'work']) {
        const changes = join(folder, made)
        mkdirSync(join(changes, made), { recursive: true })
        expect(removeChanges(open(folder), basename(changes))).toBe(true)
      }
      expect(readdirSync(folder)).toEqual([])
    })
  })
})
