import {
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
import { mksquashfs, needs, ociSource, titled, unmount } from '../library/index.ts'
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
