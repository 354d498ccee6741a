import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  atomfsFuse,
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  type TreeEntry,
  tarEnd,
  tarEntry,
  titled,
  walkTree,
  withAtomfs,
  writeTarImage,
} from '../library/index.ts'
import { filtered } from '../tar/blob-forms.ts'

const need = needs('root', 'fuse', 'umoci', 'xz', 'bzip2', 'zstd')
const temp = makeTempDir()
const layers = join(temp, 'store/layers/sha256')
const FILE = { type: 'file', mode: 0o644, uid: 3, mtime: 1_000_000_000 } as const
const DIRECTORY = { type: 'directory', mode: 0o750, uid: 5, mtime: 1_100_000_000 } as const
const LINK = { ...FILE, type: 'link' } as const
/** What a layer above adds does not change how many links a file of a layer below says it has. */
const AS_UNPACKED = { ...AS_SOURCE, ignore: ['blocks', 'nlink', 'linkGroup'] } as const

const archive = (...members: readonly Parameters<typeof tarEntry>[0][]): Buffer =>
  Buffer.concat([...members.map(tarEntry), tarEnd()])

/** As distributions have it since `lib` is a link. */
const BASE = archive(
  { path: './', ...DIRECTORY, mode: 0o755 },
  { path: 'usr/', ...DIRECTORY },
  { path: 'usr/lib/', ...DIRECTORY, mode: 0o711 },
  { path: 'usr/lib/first', ...FILE, content: 'first' },
  { path: 'lib', ...FILE, type: 'symlink', target: 'usr/lib' },
  { path: 'usr/deep', ...FILE, type: 'symlink', target: '/lib/../../etc' },
  { path: 'etc/', ...DIRECTORY },
  { path: 'etc/passwd', ...FILE, content: 'root:x:0:0\n', mode: 0o600 },
  { path: 'etc/shadow', ...FILE, content: 'secret', mode: 0o600 },
  { path: 'etc/also', ...LINK, target: 'etc/shadow' },
  { path: 'gone/', ...DIRECTORY },
  { path: 'gone/old', ...FILE, content: 'old' },
)

/** A layer of a program that writes files only. */
const FILES = archive(
  { path: 'lib/second', ...FILE, content: 'second' },
  { path: 'lib/new/third', ...FILE, content: 'third' },
  { path: 'usr/deep/added', ...FILE, content: 'added' },
  { path: 'etc/passwd-', ...LINK, target: 'etc/passwd' },
  { path: 'etc/one-more', ...LINK, target: 'lib/first' },
  { path: 'etc/of-a-link', ...LINK, target: 'lib' },
  { path: 'here', ...LINK, target: 'lib/second' },
  { path: 'a/b/c', ...FILE, content: 'c' },
)

/** Links to links, and what the links lead to deleted. */
const ABOVE = archive(
  { path: 'etc/passwd--', ...LINK, target: 'etc/passwd-' },
  { path: 'etc/.wh.passwd', ...FILE },
  { path: 'lib/third', ...LINK, target: 'usr/lib/new/third' },
  { path: 'etc/copy', ...LINK, target: 'etc/also' },
  { path: 'gone/.wh..wh..opq', ...FILE },
  { path: 'gone/new', ...FILE, content: 'new' },
)

/** umoci gives some directories that a layer has no entry for the time at which it makes something in them. */
function timeless(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries.map((entry) => (entry.type === 'directory' ? { ...entry, mtime: 0 } : entry))
}

const unpacked = (image: string): TreeEntry[] => timeless(walkTree(join(temp, `${image}-bundle`, 'rootfs')))

/** Names that stand for one inode. */
const LINKS = [
  ['etc/passwd-', 'etc/passwd--'],
  ['etc/one-more', 'usr/lib/first'],
  ['etc/of-a-link', 'lib'],
  ['here', 'usr/lib/second'],
  ['usr/lib/third', 'usr/lib/new/third'],
  ['etc/copy', 'etc/also', 'etc/shadow'],
]

function expectLinks(root: string): void {
  const numbers = LINKS.map((names) => names.map((name) => lstatSync(join(root, name)).ino))
  expect(numbers.map((group) => new Set(group).size)).toEqual(LINKS.map(() => 1))
  expect(new Set(numbers.flat()).size).toBe(LINKS.length)
}

/** Layers of all forms that are to be the same tree. */
const IMAGES = {
  gzip: (bytes: Buffer) => gzipSync(bytes),
  xz: (bytes: Buffer, layer: number) => (layer === 1 ? filtered('xz', ['-0', '-c'], bytes) : gzipSync(bytes)),
  bzip2: (bytes: Buffer) => filtered('bzip2', ['-c'], bytes),
} as const

async function refused(args: readonly string[]): Promise<string> {
  const { status, stderr } = await atomfsFuse(args, { allowFailure: true })
  expect({ status, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 1, lines: 1 })
  return stderr
}

beforeAll(async () => {
  process.env['ATOMFS_STORE'] = join(temp, 'store')
  if (!need.ok) return
  for (const [name, compress] of Object.entries(IMAGES)) {
    writeTarImage(join(temp, name), { tag: 't', layers: [BASE, FILES, ABOVE], compress })
  }
  await run('umoci', ['unpack', '--image', `${join(temp, 'gzip')}:t`, join(temp, 'gzip-bundle')])
})
afterAll(() => removeTempDir(temp))

describe.skipIf(!need.ok)(titled('a tar layer that takes for granted what lies below it', need), () => {
  test('is shown as umoci unpacks it, hard links as one inode', async () => {
    const shown = await withAtomfs(temp, `${join(temp, 'gzip')}:t`, ({ target }) => {
      expectLinks(target)
      const { uid, mode, mtimeMs } = lstatSync(join(target, 'etc'))
      expect({ uid, mode, mtimeMs }).toEqual({ uid: 5, mode: 0o040750, mtimeMs: DIRECTORY.mtime * 1000 })
      return timeless(walkTree(target))
    })
    expect(compareTrees(shown, unpacked('gzip'), AS_UNPACKED)).toEqual([])
    expectLinks(join(temp, 'gzip-bundle/rootfs'))
    // The second layer was read again, because `lib` is a link below it.
    const made = readdirSync(layers).map((name) => (name.includes('-') ? 'over others' : 'alone'))
    expect(made.sort()).toEqual(['alone', 'alone', 'alone', 'over others', 'over others'])
  })

  test('is the same in a writable mount, whose changes keep the attributes of directories below', async () => {
    await withAtomfs(
      temp,
      `${join(temp, 'gzip')}:t`,
      ({ target }) => {
        expect(compareTrees(timeless(walkTree(target)), unpacked('gzip'), AS_UNPACKED)).toEqual([])
        const { mode, uid, mtimeMs } = statSync(join(target, 'etc'))
        chmodSync(join(target, 'etc/passwd-'), 0o640)
        expect(statSync(join(target, 'etc'))).toMatchObject({ mode, uid, mtimeMs })
        writeFileSync(join(target, 'etc/passwd--'), 'changed')
        expect(readFileSync(join(target, 'etc/passwd-'), 'utf8')).toBe('root:x:0:0\n')
        mkdirSync(join(target, 'lib/made'))
        expect(readdirSync(join(target, 'usr/lib'))).toContain('made')
      },
      ['--writeable'],
    )
  })

  test.each(['xz', 'bzip2'] as const)('is the same where %s is converted', async (name) => {
    const shown = await withAtomfs(temp, `${join(temp, name)}:t`, ({ target }) => timeless(walkTree(target)))
    expect(compareTrees(shown, unpacked('gzip'), AS_UNPACKED)).toEqual([])
    const { stdout } = await atomfsFuse(['verify', `${join(temp, name)}:t`])
    expect(stdout.match(/: OK$/gm)).toHaveLength(3)
    expect(readdirSync(layers).some((file) => file.endsWith('.squashfs'))).toBe(true)
  })

  test('is refused where nobody has the file of a hard link, or links lead in a circle', async () => {
    const dangling = join(temp, 'dangling')
    const alone = archive({ path: 'x', ...LINK, target: 'etc/nothing' })
    writeTarImage(dangling, { tag: 't', layers: [BASE, alone] })
    expect(await refused(['ls', `${dangling}:t`])).toMatch(/layer sha256:\w+: hard link "x".*"etc\/nothing"/)
    const bottom = join(temp, 'bottom')
    writeTarImage(bottom, { tag: 't', layers: [alone] })
    expect(await refused(['ls', `${bottom}:t`])).toMatch(/hard link "x"/)
    const circle = join(temp, 'circle')
    const links = archive(
      { path: 'p', ...FILE, type: 'symlink', target: 'q' },
      { path: 'q', ...FILE, type: 'symlink', target: 'p' },
    )
    writeTarImage(circle, { tag: 't', layers: [links, archive({ path: 'p/f', ...FILE })] })
    expect(await refused(['ls', `${circle}:t`])).toMatch(/more than 40 symbolic links/)
  })
})
