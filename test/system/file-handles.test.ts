import {
  appendFileSync,
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { dropCaches, mksquashfs, needs, ociSource, titled, unmount } from '../library/index.ts'
import {
  type FileHandle,
  handleOf,
  nodeIdOf,
  openHandle,
  withNodeId,
} from '../library/programs/file-handles.ts'
import { inScene, type Scene, SILENT } from '../library/scenes/life.ts'

/** Handles that a file server keeps (name_to_handle_at(2)) and opens at a later mount of the same tree. */

const need = needs('root', 'fuse', 'mksquashfs')
const { O_RDONLY } = constants
const ESTALE = -116

/** What a handle was taken of, and what it showed then. */
interface Taken {
  readonly path: string
  readonly handle: FileHandle
  readonly ino: number
  readonly shown: string
}

/** The lowest layer; that above deletes `dir/gone`. Two files have two names each. */
function buildLayers(folder: string): readonly [string, string] {
  const [low, top] = [join(folder, 'low'), join(folder, 'top')]
  mkdirSync(join(low, 'dir/deep/er'), { recursive: true })
  mkdirSync(join(low, 'only/sub'), { recursive: true })
  mkdirSync(join(top, 'dir/deep'), { recursive: true })
  for (const path of ['dir/file', 'dir/one', 'dir/gone', 'dir/deep/er/x', 'only/sub/y', 'at-root'])
    writeFileSync(join(low, path), `low ${path}`)
  linkSync(join(low, 'dir/one'), join(low, 'dir/two'))
  linkSync(join(low, 'only/sub/y'), join(low, 'dir/y'))
  writeFileSync(join(top, 'dir/.wh.gone'), '')
  writeFileSync(join(top, 'dir/deep/new'), 'top dir/deep/new')
  return [low, top]
}

const PATHS = [
  'dir',
  'dir/file',
  'dir/one',
  'dir/two',
  'dir/deep',
  'dir/deep/er',
  'dir/deep/er/x',
  'only/sub',
  'only/sub/y',
  'dir/y',
  'at-root',
]

function contentOf(fd: number): string {
  const names = () => readdirSync(`/proc/self/fd/${fd}`).sort().join(' ')
  return fstatSync(fd).isDirectory() ? names() : readFileSync(fd, 'utf8')
}

function take(target: string, paths: readonly string[]): readonly Taken[] {
  return paths.map((path) => {
    const at = join(target, path)
    const { ino } = statSync(at)
    const fd = openSync(at, O_RDONLY)
    try {
      return { path, handle: handleOf(at), ino, shown: contentOf(fd) }
    } finally {
      closeSync(fd)
    }
  })
}

/** Opens a handle. @returns what `look` sees; 'ESTALE' where it leads nowhere */
function open<T>(target: string, handle: FileHandle, look: (fd: number) => T): T | 'ESTALE' {
  const mountFd = openSync(target, O_RDONLY)
  const fd = openHandle(mountFd, handle, O_RDONLY)
  closeSync(mountFd)
  if (fd === ESTALE) return 'ESTALE'
  if (fd < 0) throw new Error(`open_by_handle_at: errno ${-fd}`)
  try {
    return look(fd)
  } finally {
    closeSync(fd)
  }
}

function shownBy(target: string, { handle }: Taken) {
  return open(target, handle, (fd) => ({ ino: fstatSync(fd).ino, shown: contentOf(fd) }))
}

function expectSame(target: string, taken: readonly Taken[]): void {
  for (const one of taken) {
    const { path, ino, shown } = one
    expect({ path, ...Object(shownBy(target, one)) }).toEqual({ path, ino, shown })
  }
}

/** Where the kernel says that a directory is: it found its parents. */
function placeOf(target: string, { handle }: Taken): string {
  return open(target, handle, (fd) => readlinkSync(`/proc/self/fd/${fd}`))
}

/** Node ids that somebody made up lead nowhere, or to the file whose handle that is. */
function expectNoOther(target: string, { handle }: Taken): void {
  const id = nodeIdOf(handle)
  const forged = [-9n, -2n, -1n, 1n, 2n, 3n, 40n, 1n << 33n, 1n << 40n].map((step) => id + step)
  for (const other of [...forged, 2n, 15n, 16n, 1n << 52n, 1n << 53n, (1n << 63n) - 1n, (1n << 64n) - 1n]) {
    if (other <= 0n) continue
    const made = withNodeId(handle, other)
    const own = open(target, made, (fd) => nodeIdOf(handleOf(fd)))
    expect(own === 'ESTALE' || own === other, `node ${other} opened ${own}`).toBe(true)
  }
}

async function remount(scene: Scene, args: readonly string[], between: () => void = () => {}): Promise<void> {
  await unmount(scene.target)
  between()
  expect(await scene.atomfs(...args, scene.target)).toMatchObject(SILENT)
}

/** Arguments that mount the layers. */
type Mounting = (folder: string, low: string, top: string) => Promise<readonly string[]>

const oneImage: Mounting = async (folder, low) => ['mount', await mksquashfs(low, join(folder, 'l.sqfs'))]

const oneThread: Mounting = async (...at) => {
  const [command = '', ...image] = await oneImage(...at)
  return [command, '-o', 'threads=0', ...image]
}

const twoImages: Mounting = async (folder, low, top) => {
  const images = [
    await mksquashfs(low, join(folder, 'l.sqfs')),
    await mksquashfs(top, join(folder, 't.sqfs')),
  ]
  return ['mount', '--allow-missing-verity', await ociSource(folder, 'two', images)]
}

const directories: Mounting = (_folder, low, top) =>
  Promise.resolve(['overlay', '-o', `lowerdir=${top}:${low}`])

/** The same in a writable mount, with the changes in one place from mount to mount. */
const overImage: Mounting = async (folder, low) => [
  'mount',
  '--upper',
  join(folder, 'upper'),
  await mksquashfs(low, join(folder, 'l.sqfs')),
]

const overImages: Mounting = async (folder, low, top) => {
  const [command = '', ...rest] = await twoImages(folder, low, top)
  return [command, '--persist', join(folder, 'changes'), ...rest]
}

const overDirectories: Mounting = (folder, low, top) => {
  for (const name of ['upper', 'work']) mkdirSync(join(folder, name))
  const places = `upperdir=${join(folder, 'upper')},workdir=${join(folder, 'work')}`
  return Promise.resolve(['overlay', '-o', `lowerdir=${top}:${low},redirect_dir=on,${places}`])
}

const WRITABLE: readonly [string, Mounting][] = [
  ['an image', overImage],
  ['an OCI image of two layers', overImages],
  ['directories', overDirectories],
]

describe.skipIf(!need.ok)(titled('handles of files at the next mount', need), () => {
  const kinds: readonly [string, Mounting][] = [
    ['an image', oneImage],
    ['an image served by one thread', oneThread],
    ['an OCI image of two layers', twoImages],
    ['directories', directories],
  ]
  test.each(kinds)(
    'handles of %s lead to the same files, and made-up ones to no other',
    async (_, mounting) => {
      await inScene(async (scene) => {
        const { folder, target } = scene
        const args = await mounting(folder, ...buildLayers(folder))
        expect(await scene.atomfs(...args, target)).toMatchObject(SILENT)
        const taken = take(target, PATHS)
        expectSame(target, taken)
        await remount(scene, args)
        expectSame(target, taken)
        await remount(scene, args)
        // The deepest first: nothing is known of its parents.
        for (const one of taken.toReversed()) {
          if (/dir$|deep$|er$|sub$/.test(one.path)) expect(placeOf(target, one)).toBe(join(target, one.path))
        }
        await remount(scene, args)
        for (const one of taken.slice(0, 2)) expectNoOther(target, one)
        expectSame(target, taken)
      })
    },
  )

  test('a handle of a file that a new layer deletes is stale', async () => {
    await inScene(async (scene) => {
      const { folder, target } = scene
      const [low, top] = buildLayers(folder)
      const args = (lowers: string) => ['overlay', '-o', `lowerdir=${lowers}`]
      expect(await scene.atomfs(...args(low), target)).toMatchObject(SILENT)
      const [gone, file] = take(target, ['dir/gone', 'dir/file'])
      await remount(scene, args(`${top}:${low}`))
      expect(shownBy(target, gone!)).toBe('ESTALE')
      expect(shownBy(target, file!)).toMatchObject({ shown: 'low dir/file' })
    })
  })

  test('handles of directories lead to files that were moved, and none to a file that was replaced', async () => {
    await inScene(async (scene) => {
      const { folder, target } = scene
      const [low, top] = buildLayers(folder)
      const args = await directories(folder, low, top)
      expect(await scene.atomfs(...args, target)).toMatchObject(SILENT)
      const [file, atRoot, x] = take(target, ['dir/file', 'at-root', 'dir/deep/er/x'])
      await remount(scene, args, () => {
        renameSync(join(low, 'dir/file'), join(low, 'only/moved'))
        // It may well get the number of the one that is gone.
        rmSync(join(low, 'at-root'))
        writeFileSync(join(low, 'at-root'), 'another')
        rmSync(join(low, 'dir/deep/er/x'))
      })
      expect(shownBy(target, file!)).toMatchObject({ shown: 'low dir/file' })
      expect([atRoot, x].map((one) => shownBy(target, one!))).toEqual(['ESTALE', 'ESTALE'])
    })
  })
})

/** Files that the upper directory alone has. */
const MADE = ['made', 'new-dir', 'new-dir/in', 'new-dir/link', 'dir/deep/er/made']

function makeFiles(target: string): void {
  mkdirSync(join(target, 'new-dir'))
  for (const path of ['made', 'new-dir/in', 'dir/deep/er/made'])
    writeFileSync(join(target, path), `own ${path}`)
  linkSync(join(target, 'new-dir/in'), join(target, 'new-dir/link'))
}

describe.skipIf(!need.ok)(titled('handles of files of a writable mount', need), () => {
  test.each(WRITABLE)(
    'handles over %s lead to the same files, and made-up ones to no other',
    async (_, mounting) => {
      await inScene(async (scene) => {
        const { folder, target } = scene
        const args = await mounting(folder, ...buildLayers(folder))
        expect(await scene.atomfs(...args, target)).toMatchObject(SILENT)
        makeFiles(target)
        const taken = take(target, [...PATHS, ...MADE])
        expectSame(target, taken)
        await dropCaches()
        expectSame(target, taken)
        await remount(scene, args)
        expectSame(target, taken.toReversed())
        await remount(scene, args)
        for (const one of taken.toReversed()) {
          if (/dir$|deep$|er$|sub$/.test(one.path)) expect(placeOf(target, one)).toBe(join(target, one.path))
        }
        await remount(scene, args)
        for (const one of taken.filter(({ path }) => /^(dir|dir.file|made)$/.test(path)))
          expectNoOther(target, one)
        expectSame(target, taken)
      })
    },
  )

  test.each(WRITABLE)(
    'handles over %s lead to changed files, and none to removed ones',
    async (_, mounting) => {
      await inScene(async (scene) => {
        const { folder, target } = scene
        const at = (path: string) => join(target, path)
        const args = await mounting(folder, ...buildLayers(folder))
        expect(await scene.atomfs(...args, target)).toMatchObject(SILENT)
        makeFiles(target)
        writeFileSync(at('gone'), 'gone')
        const taken = new Map(take(target, [...PATHS, ...MADE, 'gone']).map((one) => [one.path, one]))
        const shown = (path: string) => shownBy(target, taken.get(path)!)
        await remount(scene, args)

        appendFileSync(at('dir/file'), ' and more')
        appendFileSync(at('made'), ' and more')
        chmodSync(at('dir'), 0o700)
        chmodSync(at('dir/deep/er/x'), 0o600)
        // One of two names: it is a file of its own from now on.
        appendFileSync(at('dir/one'), ' and more')
        renameSync(at('only'), at('elsewhere'))
        renameSync(at('new-dir'), at('dir/moved'))
        rmSync(at('dir/moved/in'))
        for (const path of ['at-root', 'gone']) {
          rmSync(at(path))
          writeFileSync(at(path), 'another')
        }
        const expected = {
          'dir/file': { ino: taken.get('dir/file')?.ino, shown: 'low dir/file and more' },
          made: { ino: taken.get('made')?.ino, shown: 'own made and more' },
          dir: { ino: taken.get('dir')?.ino, shown: readdirSync(at('dir')).sort().join(' ') },
          'dir/deep/er/x': { ino: taken.get('dir/deep/er/x')?.ino, shown: 'low dir/deep/er/x' },
          'dir/two': { ino: taken.get('dir/two')?.ino, shown: 'low dir/one' },
          'only/sub': { ino: taken.get('only/sub')?.ino, shown: 'y' },
          'only/sub/y': { ino: taken.get('only/sub/y')?.ino, shown: 'low only/sub/y' },
          'new-dir': { ino: taken.get('new-dir')?.ino, shown: 'link' },
          'new-dir/in': { ino: taken.get('new-dir/in')?.ino, shown: 'own new-dir/in' },
          'new-dir/link': { ino: taken.get('new-dir/in')?.ino, shown: 'own new-dir/in' },
          'at-root': 'ESTALE',
          gone: 'ESTALE',
        }
        const seen = () => Object.fromEntries(Object.keys(expected).map((path) => [path, shown(path)]))
        expect(seen()).toEqual(expected)
        await dropCaches()
        expect(seen()).toEqual(expected)
        for (let round = 0; round < 2; round++) {
          await remount(scene, args)
          expect(seen()).toEqual(expected)
          expect(shown('dir/one')).toBe('ESTALE')
          expect(placeOf(target, taken.get('new-dir')!)).toBe(at('dir/moved'))
          expect(placeOf(target, taken.get('only/sub')!)).toBe(at('elsewhere/sub'))
        }
        // Copied and renamed: nothing says any more what it was.
        renameSync(at('dir/file'), at('dir/renamed'))
        const renamed = take(target, ['dir/renamed'])
        await remount(scene, args)
        expect(shown('dir/file')).toBe('ESTALE')
        expect([renamed[0]?.shown, shown('made')]).toEqual(['low dir/file and more', expected.made])
      })
    },
  )
})
