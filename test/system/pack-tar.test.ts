import {
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  atomfsFuse,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  seenByKernel,
  type TreeEntry,
  type TreeField,
  tarEnd,
  tarEntry,
  titled,
  walkTree,
} from '../library/index.ts'

const need = needs('root', 'kernel-squashfs', 'loop', 'xz', 'bzip2', 'zstd')
const temp = makeTempDir()
const tree = join(temp, 'tree')
let source: TreeEntry[] = []
let count = 0

beforeAll(() => {
  if (!need.ok) return
  mkdirSync(tree)
  buildSourceTree(tree, { size: 'small' })
  source = walkTree(tree)
})
afterAll(() => removeTempDir(temp))

async function seenOf(archive: string, args: readonly string[] = []): Promise<TreeEntry[]> {
  const image = join(temp, `${count++}.squashfs`)
  await atomfsFuse(['pack', archive, image, '--no-verity', '--compression', 'gzip:1', ...args])
  return await seenByKernel(temp, image)
}

/** tar(1) archives no sockets, and stores each name of a device or fifo by itself. */
function archived(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries
    .filter(({ type }) => type !== 'socket')
    .map(({ linkGroup, ...entry }) =>
      ['char', 'block', 'fifo'].includes(entry.type)
        ? { ...entry, nlink: 1 }
        : { ...entry, ...(linkGroup !== undefined && { linkGroup }) },
    )
}

/** Writers differ in which links of what is no regular file they keep. */
function singleNames(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries.map(({ linkGroup, ...entry }) =>
    entry.type === 'file' || entry.type === 'directory'
      ? { ...entry, ...(linkGroup !== undefined && { linkGroup }) }
      : { ...entry, nlink: 1 },
  )
}

/** Archives of the tree by GNU tar: each form that stores all of it, and each form of sparse files. */
const FORMS = [
  ['--format=posix', '--xattrs', '--xattrs-include=*'],
  ['--format=posix', '--xattrs', '--xattrs-include=*', '--sparse', '--sparse-version=0.0'],
  ['--format=posix', '--xattrs', '--xattrs-include=*', '--sparse', '--sparse-version=0.1'],
  ['--format=posix', '--xattrs', '--xattrs-include=*', '--sparse', '--sparse-version=1.0'],
]

/** How programs make an archive `$1` of the directory `$0` in the dialect `$2`. */
const WRITERS: Readonly<Record<string, string>> = {
  tar: 'exec tar --format="$2" --numeric-owner -C "$0" -cf "$1" .',
  bsdtar: 'exec bsdtar --format "$2" --no-acls --no-fflags --no-xattrs --numeric-owner -C "$0" -cf "$1" .',
  python3: `cd "$0" && exec python3 -c '
import sys, tarfile
with tarfile.open(sys.argv[1], "w", format=getattr(tarfile, sys.argv[2])) as tar:
    tar.add(".")' "$1" "$2"`,
  busybox: 'exec busybox tar -C "$0" -cf "$1" .',
}
const DIALECTS = Object.entries({
  tar: ['v7', 'oldgnu', 'gnu', 'ustar', 'posix'],
  bsdtar: ['v7tar', 'ustar', 'gnutar', 'pax', 'bsdtar'],
  python3: ['USTAR_FORMAT', 'GNU_FORMAT', 'PAX_FORMAT'],
  busybox: ['its own'],
}).flatMap(([writer, dialects]) => dialects.map((dialect) => [writer, dialect] as const))

/** A tree that every dialect can hold: no long names and numbers, no attributes. */
function buildPlainTree(place: string): void {
  mkdirSync(place)
  const without = { noSockets: true, noSpecialLinks: true, noXattrs: true, noInvalidUtf8: true }
  buildSourceTree(place, { size: 'small', longestTarget: 90, ...without })
  const { mtime } = statSync(join(place, 'names'))
  for (const letter of 'nd') rmSync(join(place, 'names', letter.repeat(255)), { recursive: true })
  utimesSync(join(place, 'names'), mtime, mtime)
  const deep = join(place, 'deep', ...Array.from({ length: 9 }, (_, i) => `level${i}`))
  const last = statSync(deep).mtime
  rmSync(join(deep, 'level9'), { recursive: true })
  utimesSync(deep, last, last)
  chownSync(join(place, 'owners/u1'), 12_345, 101)
}

describe.skipIf(!need.ok)(titled('pack of a tar archive', need), () => {
  test.each(FORMS)('by GNU tar with %s %s %s %s %s equals the tree', async (...form) => {
    const archive = join(temp, 'tree.tar')
    await run('tar', ['-cf', archive, ...form, '-C', tree, '.'])
    expect(compareTrees(await seenOf(archive), archived(source), AS_SOURCE)).toEqual([])
  })

  test.each([['--format=gnu'], ['--format=oldgnu', '--sparse'], ['--format=gnu', '--sparse']])(
    'by GNU tar with %s %s equals the archive in the form of POSIX, attributes and fractions of seconds aside',
    async (...form) => {
      const archives = [['--format=posix'], form].map((options, i) => ({
        options,
        path: join(temp, `${i}.tar`),
      }))
      for (const { options, path } of archives) await run('tar', ['-cf', path, ...options, '-C', tree, '.'])
      const [posix, other] = [await seenOf(archives[0]!.path), await seenOf(archives[1]!.path)]
      expect(other.length).toBeGreaterThan(20)
      expect(compareTrees(other, posix)).toEqual([])
    },
  )

  const bsdtar = needs('bsdtar')
  test.skipIf(!bsdtar.ok).each(['pax', 'gnutar'])(
    titled('by bsdtar with the format %s equals the tree, attributes aside where the form has none', bsdtar),
    async (format) => {
      const archive = join(temp, `bsd-${format}.tar`)
      await run('bsdtar', ['-cf', archive, '--format', format, '--no-acls', '--no-fflags', '-C', tree, '.'])
      const ignore: TreeField[] = format === 'pax' ? ['blocks'] : ['blocks', 'xattrs']
      // Numbers of devices have 21 bits in this form, and bsdtar leaves out what has more.
      const expected = archived(source).filter(({ path }) => format === 'pax' || path !== 'types/char-max')
      const found = compareTrees(singleNames(await seenOf(archive)), singleNames(expected), {
        ...AS_SOURCE,
        ignore,
      })
      expect(found).toEqual([])
    },
  )

  const python = needs('python3')
  test.skipIf(!python.ok).each(['PAX', 'GNU'])(
    titled('by tarfile of Python with the format %s equals the tree without its attributes', python),
    async (format) => {
      const archive = join(temp, `python-${format}.tar`)
      const script = `
import os, sys, tarfile
with tarfile.open(sys.argv[1], 'w', format=tarfile.${format}_FORMAT) as tar:
    tar.add('.', filter=lambda entry: entry)
`
      await run('sh', ['-c', `cd '${tree}' && exec python3 -c "$1" "$2"`, 'sh', script, archive])
      const ignore: TreeField[] = ['blocks', 'xattrs']
      const found = compareTrees(singleNames(await seenOf(archive)), singleNames(archived(source)), {
        ...AS_SOURCE,
        ignore,
      })
      expect(found).toEqual([])
    },
  )

  const writers = needs('bsdtar', 'python3', 'busybox')
  test.skipIf(!writers.ok).each(DIALECTS)(
    titled('by %s in the dialect %s equals the tree, as far as the dialect has its types', writers),
    async (writer, dialect) => {
      const place = join(temp, 'plain')
      if (!existsSync(place)) buildPlainTree(place)
      const archive = join(temp, `${writer}-${dialect}.tar`)
      await run('sh', ['-c', WRITERS[writer]!, place, archive, dialect], { allowFailure: true })
      const isV7 = dialect.startsWith('v7')
      // What the writer says it has left out, numbers of devices with many bits among them.
      const isHeld = ({ type, path }: TreeEntry): boolean =>
        isV7
          ? ['file', 'directory', 'symlink'].includes(type)
          : writer !== 'bsdtar' || path !== 'types/char-max'
      const expected = archived(walkTree(place)).filter(isHeld)
      const seen = (await seenOf(archive)).filter(isHeld)
      const found = compareTrees(singleNames(seen), singleNames(expected), AS_SOURCE)
      expect(found).toEqual([])
    },
  )

  test('on standard input, compressed with gzip in several members, gives the image of the plain file', async () => {
    const archive = join(temp, 'plain.tar')
    await run('tar', ['-cf', archive, '--format=posix', '-C', tree, '.'])
    const bytes = readFileSync(archive)
    const half = Math.floor(bytes.length / 2)
    const packed = Buffer.concat([gzipSync(bytes.subarray(0, half)), gzipSync(bytes.subarray(half))])
    const images = [join(temp, 'plain.image'), join(temp, 'members.image')]
    await atomfsFuse(['pack', archive, images[0]!, '--compression', 'gzip:1'])
    await atomfsFuse(['pack', '-', images[1]!, '--compression', 'gzip:1'], { input: packed })
    expect(readFileSync(images[0]!).equals(readFileSync(images[1]!))).toBe(true)
  })

  test.each(['xz', 'bzip2', 'zstd'])(
    'compressed with %s gives the image of the plain file',
    async (program) => {
      const archive = join(temp, 'plain.tar')
      await run('tar', ['-cf', archive, '--format=posix', '-C', tree, '.'])
      const compressed = `${archive}.${program}`
      await run('sh', ['-c', `${program} -c '${archive}' > '${compressed}'`])
      const [plain, other] = [join(temp, `${program}.plain`), join(temp, `${program}.image`)]
      await atomfsFuse(['pack', archive, plain, '--compression', 'lz4'])
      await atomfsFuse(['pack', compressed, other, '--compression', 'lz4'])
      expect(readFileSync(plain).equals(readFileSync(other))).toBe(true)
      const half = join(temp, `${program}.half`)
      writeFileSync(half, readFileSync(compressed).subarray(0, 20_000))
      const { status, stderr } = await atomfsFuse(['pack', half, `${half}.image`], { allowFailure: true })
      expect({ status, stderr }).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/too early|unexpected|EIO/i),
      })
      expect(existsSync(`${half}.image`)).toBe(false)
    },
  )

  test('makes whiteouts of overlayfs of .wh. names if asked, and leaves them alone otherwise', async () => {
    const archive = join(temp, 'layer.tar')
    const file = { type: 'file', mode: 0o644, uid: 0, mtime: 1 } as const
    writeFileSync(
      archive,
      Buffer.concat([
        tarEntry({ ...file, path: 'a/.wh..wh..opq' }),
        tarEntry({ ...file, path: 'a', type: 'directory', mode: 0o750, uid: 7 }),
        tarEntry({ ...file, path: 'a/kept' }),
        tarEntry({ ...file, path: '.wh.gone', type: 'directory' }),
        tarEntry({ ...file, path: '.wh..wh.plnk' }),
        tarEnd(),
      ]),
    )
    const asMarks = await seenOf(archive, ['--whiteouts', 'overlay'])
    const of = (path: string): TreeEntry | undefined => asMarks.find((entry) => entry.path === path)
    expect(asMarks.map(({ path }) => path).sort()).toEqual(['.', 'a', 'a/kept', 'gone'])
    expect(of('gone')).toMatchObject({ type: 'char' })
    expect(of('a')).toMatchObject({ uid: 7, mode: '750' })
    const plain = await seenOf(archive)
    expect(plain.map(({ path }) => path)).toContain('a/.wh..wh..opq')
  })

  test.each([
    ['cut off', (tar: Buffer) => tar.subarray(0, 700), /ends at byte \d+, \d+ bytes too early/],
    [
      'with a wrong checksum',
      (tar: Buffer) => Buffer.concat([Buffer.from('x'), tar.subarray(1)]),
      /checksum/,
    ],
    [
      'with a path out of it',
      () => tarEntry({ path: 'a/../../b', type: 'file', mode: 0, uid: 0, mtime: 0 }),
      /leads upwards/,
    ],
  ])('of an archive %s makes nothing, and says where', async (_, change, message) => {
    const archive = join(temp, 'bad.tar')
    const member = tarEntry({
      path: 'f',
      type: 'file',
      mode: 0o644,
      uid: 0,
      mtime: 0,
      content: 'x'.repeat(900),
    })
    writeFileSync(archive, change(member))
    const image = join(temp, 'bad.image')
    const { status, stderr } = await atomfsFuse(['pack', archive, image], { allowFailure: true })
    expect({ status, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 1, lines: 1 })
    expect(stderr).toMatch(message)
    expect(() => readFileSync(image)).toThrow(/ENOENT/)
  })
})
