import { chownSync, linkSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  atomfsFuse,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  seenByKernel,
  type TreeEntry,
  titled,
} from '../library/index.ts'

const need = needs('root', 'kernel-squashfs', 'loop', 'mksquashfs')
const temp = makeTempDir()
const tree = join(temp, 'tree')
const archive = join(temp, 'tree.tar')
const SOURCES = [
  ['a directory', tree],
  ['an archive', archive],
]
let count = 0

beforeAll(async () => {
  if (!need.ok) return
  for (const directory of ['usr/lib/deep', 'usr/share/doc', 'boot'])
    mkdirSync(join(tree, directory), { recursive: true })
  for (const [path, owner] of Object.entries({
    'boot/kernel': 0,
    'usr/lib/a.pyc': 1000,
    'usr/lib/deep/b.py': 1001,
    'usr/share/doc/readme': 5000,
  })) {
    writeFileSync(join(tree, path), `content of ${path}\n`.repeat(20))
    chownSync(join(tree, path), owner, owner)
  }
  linkSync(join(tree, 'usr/lib/a.pyc'), join(tree, 'usr/lib/z.link'))
  await run('tar', ['-cf', archive, '--format=posix', '-C', tree, '.'])
})
afterAll(() => removeTempDir(temp))

async function packed(source: string, args: readonly string[]): Promise<string> {
  const image = join(temp, `${count++}.squashfs`)
  await atomfsFuse(['pack', source, image, '--no-verity', '--compression', 'gzip:1', ...args])
  return image
}

async function seen(source: string, args: readonly string[]): Promise<TreeEntry[]> {
  return await seenByKernel(temp, await packed(source, args))
}

async function refused(source: string, args: readonly string[]): Promise<string> {
  const image = join(temp, 'refused.squashfs')
  const { status, stderr } = await atomfsFuse(['pack', source, image, ...args], { allowFailure: true })
  expect(status).toBe(1)
  expect(() => statSync(image)).toThrow(/ENOENT/)
  expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  return stderr
}

const pathsOf = (entries: readonly TreeEntry[]): string[] => entries.map(({ path }) => path).sort()

describe.skipIf(!need.ok)(titled('pack of a part of a tree', need), () => {
  test.each(SOURCES)('%s without what --exclude names', async (_, source) => {
    const entries = await seen(source, ['--exclude', '*.py', '--exclude', '/usr/share'])
    expect(pathsOf(entries)).toEqual([
      '.',
      'boot',
      'boot/kernel',
      'usr',
      'usr/lib',
      'usr/lib/a.pyc',
      'usr/lib/deep',
      'usr/lib/z.link',
    ])
  })

  test('of a directory, keeps a file whose first name is left out, by its other name', async () => {
    const entries = await seen(tree, ['--exclude', '*.pyc'])
    expect(entries.find(({ path }) => path === 'usr/lib/z.link')).toMatchObject({ type: 'file', nlink: 1 })
  })

  test('of an archive, says that a hard link leads to what is left out', async () => {
    expect(await refused(archive, ['--exclude', '*.pyc'])).toMatch(
      /hard link "usr\/lib\/z.link": there is no "usr\/lib\/a.pyc"/,
    )
  })

  test.each(SOURCES)('%s with --subdir, whose directory becomes the root', async (_, source) => {
    const entries = await seen(source, ['--subdir', '/usr/lib/', '--exclude', 'deep/b*'])
    expect(pathsOf(entries)).toEqual(['.', 'a.pyc', 'deep', 'z.link'])
    expect(entries.find(({ path }) => path === 'z.link')).toMatchObject({ nlink: 2, uid: 1000 })
  })

  test.each(SOURCES)('%s is refused with a --subdir that is none', async (_, source) => {
    expect(await refused(source, ['--subdir', 'usr/none'])).toMatch(/none/)
    expect(await refused(source, ['--subdir', 'boot/kernel'])).toMatch(/kernel/)
    expect(await refused(source, ['--subdir', '../tree'])).toMatch(/leads upwards/)
  })
})

describe.skipIf(!need.ok)(titled('pack with other owners', need), () => {
  test.each(SOURCES)('%s by ranges, and 65534 outside of them', async (_, source) => {
    const entries = await seen(source, ['--uid-map', '0:100000:1:1000:7000:2', '--gid-map', '0:0:6000'])
    const owners = Object.fromEntries(entries.map(({ path, uid, gid }) => [path, `${uid}:${gid}`]))
    expect(owners).toMatchObject({
      '.': '100000:0',
      'boot/kernel': '100000:0',
      'usr/lib/a.pyc': '7000:1000',
      'usr/lib/deep/b.py': '7001:1001',
      'usr/share/doc/readme': '65534:5000',
    })
  })

  test('and permissions for the root directory alone', async () => {
    const entries = await seen(tree, ['--all-root', '--root-mode', '01777', '--root-owner', '7:8'])
    expect(entries.find(({ path }) => path === '.')).toMatchObject({ mode: '1777', uid: 7, gid: 8 })
    expect(entries.find(({ path }) => path === 'usr')).toMatchObject({ uid: 0, gid: 0 })
  })

  test.each([
    [['--uid-map', '0:1'], /STORED:SHOWN:COUNT/],
    [['--all-root', '--uid-map', '0:1:1'], /--all-root goes without/],
    [['--root-mode', '888'], /octal/],
    [['--root-owner', 'root'], /UID:GID/],
    [['--exclude', '/'], /names nothing/],
  ])('refuses %j', async (args, message) => {
    expect(await refused(tree, args)).toMatch(message)
  })
})

describe.skipIf(!need.ok)(titled('pack with --sort', need), () => {
  const list = join(temp, 'order')
  const ORDER = '# late and early\nboot -1\nusr/share/doc/readme 9\nusr/lib/deep 10\n'
  const PLAIN = ['--uncompressed', 'inodes,data,fragments,xattrs,ids', '--no-fragments']

  /** Where the data of each file begin. */
  function placesIn(image: string): string[] {
    const bytes = readFileSync(image)
    const paths = ['boot/kernel', 'usr/lib/a.pyc', 'usr/lib/deep/b.py', 'usr/share/doc/readme']
    const places = paths.map((path) => ({ path, at: bytes.indexOf(`content of ${path}`) }))
    expect(places.filter(({ at }) => at < 96)).toEqual([])
    return places.sort((a, b) => a.at - b.at).map(({ path }) => path)
  }

  test('puts the data of files in the order that mksquashfs has of the same list', async () => {
    writeFileSync(list, ORDER)
    const ours = await packed(tree, ['--sort', list, ...PLAIN])
    const expected = ['usr/lib/deep/b.py', 'usr/share/doc/readme', 'usr/lib/a.pyc', 'boot/kernel']
    expect(placesIn(ours)).toEqual(expected)
    const theirs = join(temp, 'theirs.squashfs')
    await mksquashfs(tree, theirs, {
      extra: ['-sort', list, '-noI', '-noD', '-noF', '-noX', '-no-fragments'],
    })
    expect(placesIn(theirs)).toEqual(expected)
    const without = await packed(tree, PLAIN)
    expect(await seenByKernel(temp, ours)).toEqual(await seenByKernel(temp, without))
  })

  test('refuses an archive, whose order is its own, and a list with a wrong line', async () => {
    writeFileSync(list, ORDER)
    expect(await refused(archive, ['--sort', list])).toMatch(/only a directory or an image can be sorted/)
    writeFileSync(list, 'a b c\n')
    expect(await refused(tree, ['--sort', list])).toMatch(/order, line 1/)
  })
})
