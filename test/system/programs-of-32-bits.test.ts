import {
  appendFileSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { dropCaches, mksquashfs, needs, run, titled, unmount } from '../library/index.ts'
import { type RawEntry, readEntries } from '../library/programs/direct-io.ts'
import { seenBy32, writeProgram32 } from '../library/programs/program-32.ts'
import { inScene, type Scene, SILENT } from '../library/scenes/life.ts'

/** What programs of 32 bits need: inode numbers below 2^32 and positions in directories below 2^31. */

const need = needs('root', 'fuse', 'mksquashfs', 'programs-32')
const withLarge = needs('root', 'fuse', 'mksquashfs', 'kernel-overlayfs', 'programs-32')

const EOVERFLOW = 75
/** A directory of many files in each place; a program of 32 bits lists it, but does not look at each file. */
const MANY = 'many'

function fillMany(parent: string, prefix: string): void {
  mkdirSync(join(parent, MANY), { recursive: true })
  for (let i = 0; i < 200; i += 1) writeFileSync(join(parent, MANY, `${prefix}-${i}`), '')
}

function rawList(directory: string): readonly RawEntry[] {
  const fd = openSync(directory, 'r')
  try {
    const all: RawEntry[] = []
    for (let some = readEntries(fd, 4096); some.length > 0; some = readEntries(fd, 4096)) all.push(...some)
    return all
  } finally {
    closeSync(fd)
  }
}

/**
 * Compares what a program of 32 bits sees of a whole tree with what others see, and looks at all positions in
 * directories.
 * @returns the inode number of each path, of the root under the empty one
 */
async function compare(program: string, tree: string): Promise<ReadonlyMap<string, number>> {
  const numbers = new Map<string, number>()
  for (const path of ['', ...readdirSync(tree, { recursive: true, encoding: 'utf8' })]) {
    const at = join(tree, path)
    const stat = lstatSync(at, { bigint: true })
    expect(stat.ino, `number of ${path}`).toBeLessThan(2n ** 32n)
    numbers.set(path, Number(stat.ino))
    if (stat.isSymbolicLink() || path.startsWith(`${MANY}/`)) continue
    const seen = await seenBy32(program, at)
    expect(seen, path).toMatchObject({ statErrno: 0, ino: Number(stat.ino) })
    if (!stat.isDirectory()) continue
    expect(seen.listErrno, path).toBe(0)
    const listed = rawList(at)
    expect(seen.names).toEqual(new Map(listed.map(({ name, ino }) => [name, ino])))
    for (const { name, ino, cookie } of listed) {
      if (cookie <= 0n || cookie >= 2n ** 31n) expect.unreachable(`${path}/${name} at ${cookie}`)
      if (name !== '..') expect(ino, `d_ino of ${path}/${name}`).toBe(lstatSync(join(at, name)).ino)
    }
  }
  return numbers
}

/** The paths that have a number in common with others, one line for each number. */
function sharing(numbers: ReadonlyMap<string, number>): readonly string[] {
  const groups = new Map<number, string[]>()
  for (const [path, number] of numbers) groups.set(number, [...(groups.get(number) ?? []), path])
  const shared = [...groups.values()].filter(({ length }) => length > 1)
  return shared.map((paths) => paths.sort().join(' ')).sort()
}

/** Two lower directories and an image, which have a directory in common, and places for changes. */
async function makeLayers(folder: string, many = false): Promise<void> {
  const at = (path: string) => join(folder, path)
  for (const path of ['a/both', 'b/both', 'b/below', 'i/both', 'i/deep/er', 'u', 'w'])
    mkdirSync(at(path), { recursive: true })
  const files = ['a/both/a', 'a/both/same', 'b/both/b', 'b/both/same', 'b/below/f', 'i/both/i', 'i/deep/er/f']
  for (const path of files) writeFileSync(at(path), path)
  linkSync(at('b/below/f'), at('b/below/link'))
  for (const path of ['link', 'third']) linkSync(at('b/both/b'), at(`b/both/${path}`))
  symlinkSync('f', at('b/below/symlink'))
  if (many) for (const path of ['b', 'i']) fillMany(at(path), path)
  await mksquashfs(at('i'), at('image'))
}

/** Makes, copies, renames and removes. */
function change(tree: string): void {
  const at = (path: string) => join(tree, path)
  mkdirSync(at('made/deep'), { recursive: true })
  for (const path of ['new', 'made/deep/new']) writeFileSync(at(path), 'new')
  for (const path of ['both/same', 'both/i', 'deep/er/f']) appendFileSync(at(path), '+')
  renameSync(at('both/a'), at('both/moved'))
  rmSync(at('below/symlink'))
  renameSync(at('both/link'), at('both/other'))
}

async function succeed(scene: Scene, ...args: string[]): Promise<void> {
  expect(await scene.atomfs(...args)).toMatchObject(SILENT)
}

describe('a program of 32 bits', () => {
  test.skipIf(!need.ok)(
    titled('a 32-bit program can read an image, a merged mount and changes to it', need),
    async () => {
      await inScene(async (scene) => {
        const { folder, target } = scene
        const at = (path: string) => join(folder, path)
        await makeLayers(folder, true)
        writeProgram32(at('program'))
        await succeed(scene, 'mount', at('image'), target)
        await compare(at('program'), target)
        await unmount(target)
        const lowers = `lowerdir=${['a', 'b', 'image'].map(at).join(':')}`
        await succeed(scene, 'overlay', '-o', lowers, target)
        await compare(at('program'), target)
        await unmount(target)
        await succeed(scene, 'overlay', '-o', `${lowers},upperdir=${at('u')},workdir=${at('w')}`, target)
        change(target)
        fillMany(target, 'upper')
        const numbers = await compare(at('program'), target)
        expect([...numbers.keys()].filter((path) => path.startsWith(MANY)).length).toBe(601)
      })
    },
  )

  test.skipIf(!withLarge.ok)(
    titled('a 32-bit program can read a mount with ino32_t over inode numbers beyond 2^32', withLarge),
    async () => {
      await inScene(async (scene) => {
        const { folder, target } = scene
        const at = (path: string) => join(folder, path)
        for (const path of ['t', 'x', 'y', 'k']) mkdirSync(at(path))
        await run('mount', ['-t', 'tmpfs', 'tmpfs', at('t')])
        await makeLayers(at('t'))
        // With `xino` overlayfs has the number of the layer in the highest bits.
        const layers = `lowerdir=${at('t')},upperdir=${at('x')},workdir=${at('y')},xino=on`
        await run('mount', ['-t', 'overlay', '-o', layers, 'overlay', at('k')])
        expect(lstatSync(at('k/b/below/f')).ino).toBeGreaterThan(2 ** 53)
        writeProgram32(at('program'))

        const lowers = `lowerdir=${['k/a', 'k/b', 'k/image'].map(at).join(':')}`
        const changes = `upperdir=${at('k/u')},workdir=${at('k/w')}`
        // It takes the option: without it, some of these numbers are beyond 2^32.
        await succeed(scene, 'overlay', '-o', lowers, target)
        expect((await seenBy32(at('program'), join(target, 'below'))).statErrno).toBe(EOVERFLOW)
        await unmount(target)

        await succeed(scene, 'overlay', '-o', `${lowers},ino32_t`, target)
        const links = ['below/f below/link', 'both/b both/link both/third']
        expect(sharing(await compare(at('program'), target))).toEqual(links)
        await unmount(target)

        await succeed(scene, 'overlay', '-o', `${lowers},${changes},ino32_t`, target)
        const before = await compare(at('program'), target)
        expect(sharing(before)).toEqual(links)
        change(target)
        const after = await compare(at('program'), target)
        // A name that was changed is a file of its own; what else there is has the number that it had.
        expect(sharing(after)).toEqual(['below/f below/link', 'both/b both/third'])
        expect(after.get('both/moved')).toBe(before.get('both/a'))
        for (const [path, number] of before) if (after.has(path)) expect(after.get(path), path).toBe(number)
        // The kernel asks for all of them anew.
        await dropCaches()
        expect([...(await compare(at('program'), target))].sort()).toEqual([...after].sort())
        await unmount(target)

        await succeed(scene, 'overlay', '-o', `${lowers},${changes},ino32_t`, target)
        const again = await compare(at('program'), target)
        expect([...again.keys()].sort()).toEqual([...after.keys()].sort())
        expect(sharing(again)).toEqual(['below/f below/link', 'both/b both/third'])
      })
    },
  )
})
