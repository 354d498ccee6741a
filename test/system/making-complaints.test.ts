import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  ATOMFS_FUSE,
  atomfsFuse,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  seenByKernel,
  type TreeEntry,
  tarEnd,
  tarEntry,
  titled,
  walkTree,
  withAtomfs,
  writeTarImage,
} from '../library/index.ts'

/** What users of other programs that make images have complained about. */

const need = needs('root', 'fuse', 'kernel-squashfs', 'loop', 'umoci', 'setpriv', 'tar', 'python3')
const temp = makeTempDir()
const tree = join(temp, 'tree')
const archive = join(temp, 'tree.tar')
const FAST = ['--compression', 'gzip:1']
const GNU_TAR = ['--format=posix', '--xattrs', '--xattrs-include=*', '--numeric-owner', '--sort=name']
const FILE = { type: 'file', mode: 0o644, uid: 0, mtime: 1_000_000_000 } as const
const DIRECTORY = { ...FILE, type: 'directory', mode: 0o755 } as const
const LINK = { ...FILE, type: 'link' } as const
const AS_UNPACKED = { ...AS_SOURCE, ignore: ['blocks', 'nlink', 'linkGroup'] } as const
let count = 0

beforeAll(async () => {
  if (!need.ok) return
  mkdirSync(tree)
  buildSourceTree(tree, { size: 'small', noSockets: true, noSpecialLinks: true })
  await run('tar', ['-cf', archive, ...GNU_TAR, '-C', tree, '.'])
  chmodSync(temp, 0o755)
})
afterAll(() => removeTempDir(temp))

const newPlace = (): string => join(temp, `${count++}`)
const archiveOf = (...members: readonly Parameters<typeof tarEntry>[0][]): Buffer =>
  Buffer.concat([...members.map(tarEntry), tarEnd()])

/** A symbolic link, which `tarEntry` does not make. */
function symlinkEntry(path: string, target: string): Buffer {
  const bytes = tarEntry({ ...LINK, path, target, mode: 0o777 })
  bytes.write('2', 156)
  // The sum is one more.
  bytes.write(
    `${(Number.parseInt(bytes.toString('latin1', 148, 154), 8) + 1).toString(8).padStart(6, '0')}`,
    148,
  )
  return bytes
}

/** An archive made by tarfile of Python. @param script adds entries to `tar` */
async function pythonArchive(script: string): Promise<string> {
  const file = newPlace()
  const head =
    'import io, sys, tarfile\nwith tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT) as tar:\n'
  await run('python3', ['-c', head + script.replace(/^/gm, '    '), file])
  return file
}

/** Packs a stream. @returns the image, and what was said on standard error */
async function packed(
  input: Uint8Array,
  args: readonly string[] = [],
): Promise<{ readonly image: string; readonly stderr: string; readonly status: number }> {
  const image = newPlace()
  const { status, stderr } = await atomfsFuse(['pack', '-', image, '--no-verity', ...FAST, ...args], {
    input,
    allowFailure: true,
  })
  return { image, stderr, status }
}

async function imageOf(input: Uint8Array, args: readonly string[] = []): Promise<string> {
  const { image, stderr } = await packed(input, args)
  expect(stderr).toBe('')
  return image
}

/** An image of layers, as a verified mount of the converted one shows it, and as umoci unpacks it. */
async function bothOf(layers: readonly Buffer[]): Promise<Readonly<Record<'ours' | 'theirs', TreeEntry[]>>> {
  const [source, out, bundle] = [newPlace(), newPlace(), newPlace()]
  writeTarImage(source, { tag: 't', layers })
  const { stderr } = await atomfsFuse(['convert', `${source}:t`, `${out}:t`, ...FAST, '--quiet'])
  expect(stderr).toBe('')
  await run('umoci', ['unpack', '--image', `${source}:t`, bundle])
  const ours = await withAtomfs(temp, `${out}:t`, ({ target }) => walkTree(target))
  return { ours, theirs: walkTree(join(bundle, 'rootfs')) }
}

/** Root directories without an entry have the time of their making in one of them. */
const belowRoot = (entries: readonly TreeEntry[]): TreeEntry[] => entries.filter(({ path }) => path !== '.')

async function equalToUmoci(layers: readonly Buffer[]): Promise<TreeEntry[]> {
  const { ours, theirs } = await bothOf(layers)
  expect(compareTrees(belowRoot(ours), belowRoot(theirs), AS_UNPACKED)).toEqual([])
  return belowRoot(ours)
}

const textOf = (entries: readonly TreeEntry[]): string[] =>
  entries.map(({ path, type, target }) => `${path} ${type}${target === undefined ? '' : ` ${target}`}`)

describe.skipIf(!need.ok)(titled('owners and attributes', need), () => {
  test('stay when a plain user packs an archive, and so do devices', async () => {
    const place = newPlace()
    mkdirSync(place)
    chmodSync(place, 0o777)
    const user = ['--reuid=4711', '--regid=4711', '--clear-groups', ATOMFS_FUSE]
    await run('setpriv', [...user, 'pack', archive, `${place}/image`, '--quiet', ...FAST])
    const seen = await seenByKernel(temp, `${place}/image`)
    expect(compareTrees(seen, walkTree(tree), AS_SOURCE)).toEqual([])
    expect(new Set(seen.map(({ uid }) => uid)).size).toBeGreaterThan(10)
  })

  test('stay on the way from an archive to an image, a mount and an archive again, whatever their bytes', async () => {
    const first = await imageOf(readFileSync(archive))
    const again = newPlace()
    await withAtomfs(temp, first, ({ target }) =>
      run('tar', ['-cf', again, ...GNU_TAR, '-C', target, '.'], { timeout: 60_000 }),
    )
    const second = await imageOf(readFileSync(again))
    const kernel = await seenByKernel(temp, second)
    expect(compareTrees(kernel, walkTree(tree), AS_SOURCE)).toEqual([])
    const values = Object.assign({}, ...kernel.map(({ xattrs = {} }) => xattrs))
    expect(values['security.c']).toBe('000102ff')
    expect(values['security.capability']).toMatch(/^0100000200200000/)
  })

  test('that squashfs has no place for are counted in one line', async () => {
    const file = await pythonArchive(`for i in range(1000):
    entry = tarfile.TarInfo('f%d' % i)
    entry.pax_headers = {'SCHILY.xattr.system.posix_acl_access': 'x', 'SCHILY.xattr.user.kept': 'y'}
    tar.addfile(entry)`)
    const { image, stderr, status } = await packed(readFileSync(file))
    expect((await packed(readFileSync(file), ['--strict', '--quiet'])).status).toBe(1)
    expect({ stderr, status }).toEqual({
      stderr: 'Warning: 1000 attributes, such as ACLs, are left out: squashfs has no place for them\n',
      status: 0,
    })
    const seen = (await seenByKernel(temp, image)).filter(({ type }) => type === 'file')
    expect(seen.map(({ xattrs }) => xattrs)).toEqual(Array(1000).fill({ 'user.kept': '79' }))
  })

  test('that are longer than the kernel takes are refused with their file', async () => {
    const file = await pythonArchive(`entry = tarfile.TarInfo('f')
entry.pax_headers = {'SCHILY.xattr.user.large': 'x' * 65537}
tar.addfile(entry)`)
    const { status, stderr } = await packed(readFileSync(file))
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'Error: "f": attribute "user.large" of 65537 bytes, at most 65536\n',
    })
  })

  test('of a file that cannot be are refused before it comes', async () => {
    const file = await pythonArchive(`entry = tarfile.TarInfo('f')
entry.pax_headers = {'GNU.sparse.size': str(2 ** 52), 'GNU.sparse.map': ''}
tar.addfile(entry)`)
    const { status, stderr } = await packed(readFileSync(file))
    expect(status).toBe(1)
    expect(stderr).toMatch(/^Error: "f": 4503599627370496 bytes, with more than 268435456 blocks[^\n]*\n$/)
  })

  test('of times before 1970 and after 2106 become the nearest, and one line counts them', async () => {
    const file =
      await pythonArchive(`for name, mtime in (('before', -5.5), ('half', -0.5), ('after', 2.0 ** 33)):
    entry = tarfile.TarInfo(name)
    entry.mtime = mtime
    tar.addfile(entry)`)
    const { image, stderr, status } = await packed(readFileSync(file))
    expect({ stderr, status }).toEqual({
      stderr: 'Warning: 3 modification times before 1970 or after 2106 became the nearest possible\n',
      status: 0,
    })
    const seen = await seenByKernel(temp, image)
    const times = Object.fromEntries(seen.map(({ path, mtime }) => [path, mtime]))
    expect(times).toMatchObject({ before: 0, half: 0, after: 2 ** 32 - 1 })
  })
})

describe.skipIf(!need.ok)(titled('the layers of an image', need), () => {
  test('that hide a link with an opaque directory leave its target alone', async () => {
    const below = [
      tarEntry({ ...DIRECTORY, path: 'real' }),
      tarEntry({ ...FILE, path: 'real/f', content: 'below' }),
      symlinkEntry('opaque', 'real'),
      symlinkEntry('replaced', 'real'),
      symlinkEntry('deleted', 'real'),
    ]
    const seen = await equalToUmoci([
      Buffer.concat([...below, tarEnd()]),
      archiveOf(
        { ...DIRECTORY, path: 'opaque' },
        { ...FILE, path: 'opaque/.wh..wh..opq' },
        { ...FILE, path: 'opaque/new', content: 'above' },
        { ...DIRECTORY, path: 'replaced' },
        { ...FILE, path: 'replaced/f', content: 'above' },
        { ...FILE, path: '.wh.deleted' },
      ),
    ])
    expect(textOf(seen)).toEqual([
      'opaque directory',
      'opaque/new file',
      'real directory',
      'real/f file',
      'replaced directory',
      'replaced/f file',
    ])
    expect(seen.find(({ path }) => path === 'real/f')).toMatchObject({ size: 5 })
  })

  test('with an opaque root show nothing of the layers below, and take no attributes from there', async () => {
    const { ours, theirs } = await bothOf([
      archiveOf({ ...DIRECTORY, path: 'd', uid: 7 }, { ...FILE, path: 'd/f' }, { ...FILE, path: 'g' }),
      archiveOf({ ...FILE, path: '.wh..wh..opq' }, { ...FILE, path: 'd/new', content: 'above' }),
    ])
    const seen = belowRoot(ours)
    // Directories without an entry have the time of their making there.
    const ignore = [...AS_UNPACKED.ignore, 'mtime'] as const
    expect(compareTrees(seen, belowRoot(theirs), { ...AS_UNPACKED, ignore })).toEqual([])
    expect(textOf(seen)).toEqual(['d directory', 'd/new file'])
    expect(seen[0]).toMatchObject({ uid: 0 })
  })

  test('that link to a file of a layer below have a copy, and the file keeps its own count of links', async () => {
    const { ours } = await bothOf([
      archiveOf({ ...FILE, path: 'f', content: 'below' }),
      archiveOf({ ...LINK, path: 'g', target: 'f' }, { ...LINK, path: 'h', target: 'g' }),
    ])
    const [f, g, h] = belowRoot(ours)
    expect(f).toMatchObject({ path: 'f', nlink: 1 })
    expect(g).toMatchObject({ path: 'g', nlink: 2, sha256: f!.sha256 })
    expect(h).toMatchObject({ path: 'h', nlink: 2, linkGroup: 'g' })
  })

  test('count in their order: what one deletes the next may make again', async () => {
    const seen = await equalToUmoci([
      archiveOf({ ...DIRECTORY, path: 'd' }, { ...FILE, path: 'd/f', content: '1' }, { ...FILE, path: 'g' }),
      archiveOf({ ...LINK, path: '.wh.d', target: 'g' }, { ...FILE, path: '.wh.g' }),
      archiveOf({ ...DIRECTORY, path: 'd' }, { ...FILE, path: 'd/f', content: '333' }),
    ])
    expect(textOf(seen)).toEqual(['d directory', 'd/f file'])
    expect(seen[1]).toMatchObject({ size: 3 })
  })

  test('mean the target of a link where they have no directory of that name', async () => {
    const seen = await equalToUmoci([
      Buffer.concat([
        tarEntry({ ...DIRECTORY, path: 'usr' }),
        tarEntry({ ...DIRECTORY, path: 'usr/lib', uid: 7 }),
        tarEntry({ ...FILE, path: 'usr/lib/old' }),
        tarEntry({ ...FILE, path: 'usr/lib/kept' }),
        symlinkEntry('lib', 'usr/lib'),
        symlinkEntry('up', '../../usr/../lib'),
        symlinkEntry('root', '/usr'),
        tarEnd(),
      ]),
      Buffer.concat([
        tarEntry({ ...FILE, path: 'lib/new', content: '1' }),
        tarEntry({ ...FILE, path: 'lib/.wh.old' }),
        tarEntry({ ...FILE, path: 'up/other' }),
        tarEntry({ ...FILE, path: 'root/lib/third' }),
        tarEntry({ ...LINK, path: 'root/hard', target: 'lib/new' }),
        symlinkEntry('own', 'usr/lib'),
        tarEntry({ ...FILE, path: 'own/fourth' }),
        tarEnd(),
      ]),
    ])
    expect(textOf(seen)).toEqual([
      'lib symlink usr/lib',
      'own symlink usr/lib',
      'root symlink /usr',
      'up symlink ../../usr/../lib',
      'usr directory',
      'usr/hard file',
      'usr/lib directory',
      'usr/lib/fourth file',
      'usr/lib/kept file',
      'usr/lib/new file',
      'usr/lib/other file',
      'usr/lib/third file',
    ])
    expect(seen.find(({ path }) => path === 'usr/lib')).toMatchObject({ uid: 7 })
  })

  test('are refused where a link leads to itself on the way of a path', async () => {
    const [source, out] = [newPlace(), newPlace()]
    const layers = [
      Buffer.concat([symlinkEntry('loop', 'loop'), tarEntry({ ...FILE, path: 'loop/f' }), tarEnd()]),
    ]
    writeTarImage(source, { tag: 't', layers })
    const { status, stderr } = await atomfsFuse(['convert', `${source}:t`, `${out}:t`], {
      allowFailure: true,
    })
    expect({ status, there: existsSync(out) }).toEqual({ status: 1, there: false })
    expect(stderr).toMatch(/^Error: layer 1 of 1[^\n]*"loop\/f": more than 40 symbolic links[^\n]*\n$/)
  })

  test('may have links to their own directory, and names of any bytes', async () => {
    const seen = await equalToUmoci([
      Buffer.concat([
        tarEntry({ ...DIRECTORY, path: 'usr' }),
        tarEntry({ ...DIRECTORY, path: 'usr/bin/' }),
        symlinkEntry('usr/bin/X11', '.'),
        tarEntry({ ...FILE, path: 'usr/bin/\xff\xfe' }),
        tarEnd(),
      ]),
    ])
    expect(textOf(seen)).toEqual([
      'usr directory',
      'usr/bin directory',
      'usr/bin/X11 symlink .',
      'usr/bin/\xff\xfe file',
    ])
  })

  test.each([
    ['.wh.', /"\.wh\.": a whiteout of no name/],
    ['../x', /leads upwards/],
    ['', /root something else than a directory/],
  ])('are refused with their number if they have the name %j', async (path, message) => {
    const [source, out] = [newPlace(), newPlace()]
    const layers = [archiveOf({ ...FILE, path: 'f' }), archiveOf({ ...FILE, path })]
    writeTarImage(source, { tag: 't', layers })
    const { status, stderr } = await atomfsFuse(['convert', `${source}:t`, `${out}:t`], {
      allowFailure: true,
    })
    expect({ status, there: existsSync(out) }).toEqual({ status: 1, there: false })
    expect(stderr).toMatch(/^Error: layer 2 of 2[^\n]*\n$/)
    expect(stderr).toMatch(message)
  })
})

describe.skipIf(!need.ok)(titled('an archive that was written badly', need), () => {
  const good = archiveOf({ ...FILE, path: 'f', content: 'x'.repeat(900) }, { ...FILE, path: 'g' })
  const withoutEnd = good.subarray(0, good.length - 1024)
  const NO_END = 'Warning: the archive has no mark at the end: make sure that nothing was cut off\n'
  const behind = (bytes: number): string =>
    `Warning: ${bytes} bytes behind the end of the archive are left out\n`

  test.each([
    ['of no mark at the end', withoutEnd, NO_END],
    ['of half a mark', good.subarray(0, good.length - 512), ''],
    ['of nothing', Buffer.alloc(0), NO_END],
    ['of zeros behind the end', Buffer.concat([good, Buffer.alloc(9000)]), ''],
    ['of junk behind the end', Buffer.concat([good, Buffer.alloc(100), Buffer.from('junk')]), behind(4)],
    ['of another archive behind it', Buffer.concat([good, good]), behind(good.length)],
    ['of zeros behind compressed bytes', Buffer.concat([gzipSync(good), Buffer.alloc(99)]), ''],
  ])('is taken with one line at most: %s', async (_, bytes, stderr) => {
    const result = await packed(bytes)
    expect(result).toMatchObject({ status: 0, stderr })
    const names = (await seenByKernel(temp, result.image)).map(({ path }) => path)
    expect(names).toEqual(bytes.length === 0 ? ['.'] : ['.', 'f', 'g'])
  })

  test.each<[what: string, bytes: Buffer, message: RegExp]>([
    ['cut in a header', good.subarray(0, 300), /ends at byte 300, 212 bytes too early/],
    ['cut in a file', good.subarray(0, 800), /ends at byte 800, 612 bytes too early/],
    ['cut in the padding of a file', good.subarray(0, 1500), /ends at byte 1500/],
    ['cut as gzip', gzipSync(good).subarray(0, 60), /standard input: damaged gzip data/],
    [
      'junk behind gzip',
      Buffer.concat([gzipSync(good), Buffer.from('junk')]),
      /damaged gzip data: incorrect header/,
    ],
    ['a flipped bit of gzip', flipped(gzipSync(good), 40), /standard input: damaged gzip data/],
    ['a flipped bit of a header', flipped(good, 3), /header at byte 0: its checksum is wrong/],
    ['text', Buffer.from('no archive at all '.repeat(99)), /header at byte 0/],
    ['short text', Buffer.from('no archive'), /ends at byte 10/],
    ['cut between a long name and its entry', longName(), /ends at byte 1024, between an extended header/],
  ])('is refused in one line, and leaves nothing: %s', async (_, bytes, message) => {
    const { image, status, stderr } = await packed(bytes)
    expect({ status, there: existsSync(image) }).toEqual({ status: 1, there: false })
    expect(stderr).toMatch(/^Error: [^\n]*\n$/)
    expect(stderr).toMatch(message)
  })

  function flipped(bytes: Buffer, at: number): Buffer {
    const copy = Buffer.from(bytes)
    copy[at] = (copy[at] ?? 0) ^ 1
    return copy
  }

  /** A header of type `L` and its content. */
  function longName(): Buffer {
    const bytes = tarEntry({ ...LINK, path: '././@LongLink', content: 'n'.repeat(300) })
    bytes.write('L', 156)
    const sum = Number.parseInt(bytes.toString('latin1', 148, 154), 8) + 'L'.charCodeAt(0) - '1'.charCodeAt(0)
    bytes.write(sum.toString(8).padStart(6, '0'), 148)
    return bytes
  }
})

describe.skipIf(!need.ok)(titled('the bytes of an image', need), () => {
  const modTime = (image: string): number => readFileSync(image).readUInt32LE(8)

  test('have the newest time of the tree, or SOURCE_DATE_EPOCH, and never that of the clock', async () => {
    const bytes = archiveOf({ ...FILE, path: 'f', mtime: 1_234_567 }, { ...DIRECTORY, path: '', mtime: 7 })
    expect(modTime(await imageOf(bytes))).toBe(1_234_567)
    const image = newPlace()
    const env = { SOURCE_DATE_EPOCH: '1000000' }
    await atomfsFuse(['pack', '-', image, ...FAST], { input: bytes, env })
    expect(modTime(image)).toBe(1_000_000)
    expect((await seenByKernel(temp, image)).map(({ mtime }) => mtime)).toEqual([7, 1_000_000])
  })

  test('do not depend on the order of attributes', async () => {
    const files = await Promise.all(
      ['range(9)', 'reversed(range(9))'].map((order) =>
        pythonArchive(`for name in 'ab':
    entry = tarfile.TarInfo(name)
    entry.pax_headers = {'SCHILY.xattr.user.%d' % i: 'value' * (i + 1) for i in ${order}}
    tar.addfile(entry)`),
      ),
    )
    const images = await Promise.all(files.map((file) => imageOf(readFileSync(file))))
    const [one, other] = images.map((image) => readFileSync(image))
    expect(one!.equals(other!)).toBe(true)
  })
})
