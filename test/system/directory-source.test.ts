import {
  appendFileSync,
  chmodSync,
  closeSync,
  constants,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { S_IFCHR, S_IFIFO } from '../../src/base/index.ts'
import { inspectSource, verifySource } from '../../src/index.ts'
import {
  ATOMFS_FUSE,
  buildSourceTree,
  compareTrees,
  isMounted,
  needs,
  run,
  TreeBuilder,
  type TreeEntry,
  titled,
  unmount,
  walkInChild,
  walkTree,
  withKernelOverlay,
} from '../library/index.ts'
import { dataSegments, setXattr } from '../library/programs/native.ts'
import { entries, inScene, type Scene, SILENT } from '../library/scenes/life.ts'

/** A plain directory as SOURCE of `mount`. */

const need = needs('root', 'fuse')
const withKernel = needs('root', 'fuse', 'kernel-overlayfs')

interface DirectoryScene extends Scene {
  readonly source: string
}

/** A directory `source` with a file and a folder. */
function inDirectoryScene(play: (scene: DirectoryScene) => Promise<void>): Promise<void> {
  return inScene(async (scene) => {
    const source = join(scene.folder, 'source')
    mkdirSync(join(source, 'sub'), { recursive: true })
    writeFileSync(join(source, 'file'), 'content')
    writeFileSync(join(source, 'sub/deep'), 'deep')
    await play({ ...scene, source })
  })
}

/** Everything that a tree can have, but no whiteouts and no attributes of an overlay. */
function fillTree(root: string): void {
  buildSourceTree(root, { size: 'small', noDevices: true })
  const more = new TreeBuilder(root, 7)
  more.directory('more', 0o2775)
  more.node('more/null', S_IFCHR, 1, 3, 0o666)
  more.node('more/fifo', S_IFIFO, 0, 0, 0o640)
  more.file('more/setuid', 'program', 0o4711)
  more.owner('more/fifo', 1234, 4321)
  more.link('more/link of setuid', 'more/setuid')
  more.close()
  const sparse = openSync(join(root, 'more/sparse'), 'w')
  for (const position of [65_536, 5 << 20]) writeSync(sparse, 'data', position)
  closeSync(sparse)
  truncateSync(join(root, 'more/sparse'), 8 << 20)
}

/** Where the data of a file lie, as SEEK_DATA and SEEK_HOLE say. */
function segmentsOf(path: string): readonly (readonly [number, number])[] {
  const fd = openSync(path, constants.O_RDONLY)
  try {
    return [...dataSegments(fd, statSync(path).size)]
  } finally {
    closeSync(fd)
  }
}

/** Every sort of change once. */
function change(root: string): void {
  const at = (path: string) => join(root, path)
  appendFileSync(at('more/setuid'), ' changed')
  chmodSync(at('more/sparse'), 0o600)
  lchownSync(at('more/fifo'), 7, 8)
  renameSync(at('more/null'), at('more/renamed'))
  mkdirSync(at('new'))
  writeFileSync(at('new/file'), 'new')
  linkSync(at('new/file'), at('new/link'))
  symlinkSync('file', at('new/symlink'))
  setXattr(Buffer.from(at('more')), 'user.changed', Buffer.from('yes'))
  for (const name of readdirSync(root)) {
    if (name !== 'more' && name !== 'new') rmSync(at(name), { recursive: true })
  }
  mkdirSync(at('again'))
  unlinkSync(at('more/link of setuid'))
}

/** Without times of what was just changed. */
const SETTLED = { ignore: ['mtime', 'blocks'], ignoreDirectoryNlink: true } as const

describe.skipIf(!need.ok)(titled('a directory as a source', need), () => {
  test('a mount of a directory shows the directory itself: types, modes, owners, attributes, links, holes', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      const source = join(folder, 'source')
      mkdirSync(source)
      fillTree(source)
      const expected = walkTree(source, { blocks: true })
      expect(expected.length).toBeGreaterThan(200)
      expect(await atomfs('mount', source, target)).toMatchObject(SILENT)
      const shown = await walkInChild(target, { blocks: true })
      expect(compareTrees(shown, expected)).toEqual([])
      expect(segmentsOf(join(target, 'more/sparse'))).toEqual(segmentsOf(join(source, 'more/sparse')))
      expect(segmentsOf(join(target, 'more/sparse')).length).toBe(2)
      expect(() => writeFileSync(join(target, 'new'), '')).toThrow(/EROFS/)
      const [status] = JSON.parse((await atomfs('status', '--json')).stdout)
      expect(status).toMatchObject({ source, layers: [{ label: source, state: 'unverified' }] })
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      expect(compareTrees(walkTree(source, { blocks: true }), expected)).toEqual([])
      expect(entries(runDir)).toEqual([])
    })
  })

  test('marks in the directory count in all three forms, as for overlay with one lower directory', async () => {
    await inDirectoryScene(async ({ source, target, atomfs }) => {
      const tree = new TreeBuilder(source, 1)
      tree.file('.wh.file')
      tree.node('device', S_IFCHR, 0, 0)
      tree.file('marked')
      tree.close()
      setXattr(Buffer.from(join(source, 'marked')), 'user.overlay.whiteout', Buffer.from('y'))
      setXattr(Buffer.from(source), 'user.overlay.opaque', Buffer.from('x'))
      const shown: (readonly string[])[] = []
      for (const args of [
        ['mount', source, target],
        ['overlay', '-o', `lowerdir=${source}`, target],
      ]) {
        expect(await atomfs(...args)).toMatchObject(SILENT)
        shown.push(readdirSync(target).sort())
        await unmount(target)
      }
      expect(shown[0]).toEqual(shown[1])
      expect(shown[0]).toEqual(['file', 'sub'])
    })
  })

  test('a directory is mounted without a verb, by a relative path, over itself, and from a descriptor', async () => {
    await inDirectoryScene(async ({ folder, source, target, runDir }) => {
      const program = (args: readonly string[]) =>
        run('sh', ['-c', 'exec "$0" "$@" 3<source', ATOMFS_FUSE, ...args], {
          env: { ATOMFS_TEST_RUN_DIR: runDir },
          cwd: folder,
          timeout: 60_000,
        })
      const forms: readonly (readonly [readonly string[], string])[] = [
        [[source, target, '-o', 'ro,noauto'], target],
        [['source', 'mnt'], target],
        [['mount', './source/', 'mnt', '-o', 'subdir=sub'], target],
        [['mount', 'source', 'source'], source],
        [['mount', '/proc/self/fd/3', 'mnt'], target],
      ]
      for (const [args, place] of forms) {
        expect(await program(args)).toMatchObject(SILENT)
        const names = args.includes('subdir=sub') ? ['deep'] : ['file', 'sub']
        expect([isMounted(place), readdirSync(place).sort()]).toEqual([true, names])
        await unmount(place)
      }
    })
  })

  test('changes go to an upper directory, and never to the directory itself', async () => {
    await inDirectoryScene(async ({ folder, source, target, atomfs }) => {
      const before = walkTree(source)
      for (const args of [
        ['--writeable'],
        ['--upper', join(folder, 'u')],
        ['--persist', join(folder, 'p')],
      ]) {
        const options = args.includes('--upper') ? ['-o', 'redirect_dir=off'] : []
        expect(await atomfs('mount', ...args, ...options, source, target)).toMatchObject(SILENT)
        appendFileSync(join(target, 'file'), '+')
        rmSync(join(target, 'sub'), { recursive: true })
        expect(await atomfs('umount', target)).toMatchObject(SILENT)
        expect(compareTrees(walkTree(source), before)).toEqual([])
      }
      expect(readFileSync(join(folder, 'u/file'), 'utf8')).toBe('content+')
      expect(readFileSync(join(folder, 'p/persist/file'), 'utf8')).toBe('content+')
      expect(await atomfs('mount', '--upper', join(folder, 'u'), source, target)).toMatchObject(SILENT)
      expect(readdirSync(target)).toEqual(['file'])
    })
  })

  test.skipIf(!withKernel.ok)(
    titled('changes show as the kernel shows them over the same directory', withKernel),
    async () => {
      await inScene(async ({ folder, target, atomfs }) => {
        const source = join(folder, 'source')
        for (const name of ['source', 'ours', 'upper', 'work']) mkdirSync(join(folder, name))
        fillTree(source)
        const upper = { upper: join(folder, 'upper'), work: join(folder, 'work') }
        const expected = await withKernelOverlay(
          folder,
          [source],
          (place): TreeEntry[] => {
            change(place)
            return walkTree(place)
          },
          { upper },
        )
        const ours = join(folder, 'ours')
        expect(await atomfs('mount', '--upper', ours, source, target)).toMatchObject(SILENT)
        change(target)
        expect(compareTrees(await walkInChild(target), expected, SETTLED)).toEqual([])
        expect(await atomfs('umount', target)).toMatchObject(SILENT)
        expect(await atomfs('mount', '--upper', ours, '-o', 'ro', source, target)).toMatchObject(SILENT)
        expect(compareTrees(await walkInChild(target), expected, SETTLED)).toEqual([])
      })
    },
  )

  test('inspect says kind directory, for people and as JSON, and the library says the same', async () => {
    await inDirectoryScene(async ({ source, atomfs }) => {
      expect((await atomfs('inspect', source)).stdout).toBe(
        `source: ${source}\nkind: directory\nentries: 2\n`,
      )
      const report = { source, layers: [], directory: { kind: 'directory', label: source, entries: 2 } }
      expect(JSON.parse((await atomfs('inspect', '--json', source)).stdout)).toEqual(report)
      expect(inspectSource(source)).toEqual(report)
      await expect(verifySource({ source })).rejects.toThrow('which has nothing to verify against')
    })
  })

  test.each([
    [
      ['mount', '--root-hash', 'ab'.repeat(32), 'SOURCE', 'TARGET'],
      /--root-hash: \S+ is a directory, which has nothing/,
    ],
    [
      ['mount', '--verify', 'eager', 'SOURCE', 'TARGET'],
      /--verify=eager: \S+ is a directory, which has nothing/,
    ],
    [
      ['mount', '-o', 'offset=4096', 'SOURCE', 'TARGET'],
      /offset= is for an image file, and \S+ is a directory/,
    ],
    [['inspect', '--offset', '4096', 'SOURCE'], /offset= is for an image file, and \S+ is a directory/],
    [['verify', 'SOURCE'], /is not a mount of atomfs-fuse .*, and a directory has nothing to verify against/],
    [['mount', 'SOURCE:tag', 'TARGET'], /"\S+source" exists but is no OCI image layout/],
    [['mount', 'oci:SOURCE', 'TARGET'], /"\S+source" exists but is not an OCI image layout/],
    [['mount', 'BROKEN', 'TARGET'], /an OCI image layout without its file oci-layout/],
    [['mount', 'SOURCE/none', 'TARGET'], /no such file or directory, and it is not OCIDIR:TAG either/],
    [['mount', 'SOURCE', 'SOURCE/sub'], /target \S+sub lies in \S+source, which is part of the mount/],
    [
      ['mount', '--upper', 'SOURCE/sub', 'SOURCE', 'TARGET'],
      /upper directory \S+ and lower directory \S+: one contains/,
    ],
    [['mount', '-o', 'driver=fuse-native', 'SOURCE', 'TARGET'], /fuse-native/],
  ])('%j is refused in one line', async (args, message) => {
    await inDirectoryScene(async ({ folder, source, target, runDir, atomfs }) => {
      const broken = join(folder, 'broken')
      mkdirSync(join(broken, 'blobs'), { recursive: true })
      writeFileSync(join(broken, 'index.json'), '{}')
      const before = walkTree(source)
      const words = args.map((word) =>
        word.replace('SOURCE', source).replace('TARGET', target).replace('BROKEN', broken),
      )
      const result = await atomfs(...words)
      expect(result.stderr).toMatch(message)
      expect(result.stderr).toMatch(/^Error: [^\n]+\n$/)
      expect(result.status).not.toBe(0)
      expect(isMounted(target)).toBe(false)
      expect(entries(runDir)).toEqual([])
      // Beside an upper directory a work directory is made and removed again.
      expect(compareTrees(walkTree(source), before, { ignore: ['mtime'] })).toEqual([])
    })
  })

  test('a directory that holds the source can be mounted on, as for overlay', async () => {
    await inDirectoryScene(async ({ folder, source, atomfs }) => {
      const holder = join(folder, 'holder')
      mkdirSync(holder)
      renameSync(source, join(holder, 'source'))
      expect(await atomfs('mount', join(holder, 'source'), holder)).toMatchObject(SILENT)
      expect(readFileSync(join(holder, 'file'), 'utf8')).toBe('content')
      expect(readdirSync(holder).sort()).toEqual(['file', 'sub'])
    })
  })
})
