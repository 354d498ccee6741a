import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FileOutput, SquashfsWriter } from '../../squashfs/write/index.ts'
import { S_IFDIR, S_IFREG } from '../../src/base/index.ts'
import {
  ATOMFS_FUSE,
  appendVerity,
  atomfsFuse,
  buildLayers,
  buildSourceTree,
  COMPRESSORS,
  compareTrees,
  makeTempDir,
  mergedByKernel,
  mksquashfs,
  needs,
  ociSource,
  removeTempDir,
  run,
  type TreeEntry,
  titled,
  walkTree,
  withAtomfs,
  withTempDir,
} from '../library/index.ts'
import { until } from '../library/programs/wait.ts'

const need = needs('root', 'mksquashfs', 'unsquashfs')
const needMounts = needs(
  'root',
  'mksquashfs',
  'fuse',
  'kernel-squashfs',
  'kernel-overlayfs',
  'loop',
  'setpriv',
)
const LONG = process.env['ATOMFS_STRESS'] === '1'
/** Another file system places data elsewhere, and counts links of directories its own way. */
const SAME = { ignore: ['blocks'], ignoreDirectoryNlink: true } as const

let temp = ''
let tree = ''
let image = ''
let source: TreeEntry[] = []
let count = 0

beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  tree = join(temp, 'tree')
  mkdirSync(tree)
  buildSourceTree(tree, { size: 'small' })
  source = walkTree(tree)
  image = await mksquashfs(tree, join(temp, 'image'), { compressor: 'zstd' })
  chmodSync(temp, 0o755)
})
afterAll(() => removeTempDir(temp))

/** `first` to `last`. */
function numbers(first: number, last: number, step: number): number[] {
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, index) => first + index * step)
}

function newPlace(): string {
  count += 1
  return join(temp, `out-${count}`)
}

async function extracted(from: string, args: readonly string[] = []): Promise<string> {
  const place = newPlace()
  const { stderr } = await atomfsFuse(['extract', ...args, from, place])
  expect(stderr).toBe('')
  return place
}

describe.skipIf(!need.ok)(titled('extract', need), () => {
  test.each(COMPRESSORS)(
    'makes the tree that unsquashfs makes, and that was packed, with %s',
    async (name) => {
      const packed = await mksquashfs(tree, newPlace(), { compressor: name, blockSize: 32_768 })
      const theirs = newPlace()
      await run('unsquashfs', ['-quiet', '-no-progress', '-dest', theirs, packed])
      const ours = walkTree(await extracted(packed))
      expect(compareTrees(ours, source, SAME)).toEqual([])
      expect(compareTrees(ours, walkTree(theirs), SAME)).toEqual([])
    },
  )

  test('keeps the holes that the image has', async () => {
    const place = await extracted(image)
    const theirs = newPlace()
    await run('unsquashfs', ['-quiet', '-no-progress', '-dest', theirs, image])
    const sparse = source.filter(({ type, size = 0 }) => type === 'file' && size > 2 ** 20)
    expect(sparse.length).toBeGreaterThan(0)
    for (const { path } of sparse) {
      const [own, other] = [place, theirs].map((folder) => statSync(join(folder, path)).blocks)
      expect(own).toBeLessThanOrEqual(other! + 16)
    }
  })

  test('makes a large file from parts, by several threads', async () => {
    const folder = newPlace()
    mkdirSync(folder)
    const content = Buffer.alloc(21_000_001)
    for (let at = 0; at < content.length; at += 4)
      content.writeUInt32LE((at * 2_654_435_761) % 2 ** 32, Math.min(at, content.length - 4))
    content.fill(0, 9_000_000, 17_000_000)
    writeFileSync(join(folder, 'large'), content)
    const packed = await mksquashfs(folder, newPlace(), { compressor: 'lz4' })
    const place = await extracted(packed, ['--threads', '3'])
    expect(readFileSync(join(place, 'large')).equals(content)).toBe(true)
  })

  test('extracts only the paths that are asked for, with their directories, and names what is not there', async () => {
    const place = newPlace()
    const { status, stderr } = await atomfsFuse(
      ['extract', image, place, 'many/d[12]/f1', 'deep', '/no/such'],
      {
        allowFailure: true,
      },
    )
    expect({ status, stderr }).toEqual({ status: 1, stderr: 'Error: /no/such: is not in the image\n' })
    const wanted = source.filter(({ path }) =>
      /^(\.|many|many\/d[12]|many\/d[12]\/f1|deep(\/.*)?)$/s.test(path),
    )
    expect(wanted.length).toBeGreaterThan(20)
    expect(
      compareTrees(walkTree(place), wanted, { ...SAME, ignore: ['blocks', 'nlink', 'linkGroup'] }),
    ).toEqual([])
  })

  test('extracts a directory of the image with -o subdir=, and shows other owners', async () => {
    const place = await extracted(image, ['-o', 'subdir=many,uid=7'])
    const wanted = source
      .filter(({ path }) => path === 'many' || path.startsWith('many/'))
      .map((entry) => ({ ...entry, path: entry.path === 'many' ? '.' : entry.path.slice(5), uid: 7 }))
    expect(compareTrees(walkTree(place), wanted, SAME)).toEqual([])
  })

  test('wants --force for a directory that is not empty, and then replaces files and links', async () => {
    const place = newPlace()
    mkdirSync(place)
    writeFileSync(join(place, 'kept'), 'mine')
    const refused = await atomfsFuse(['extract', image, place], { allowFailure: true })
    expect(refused.status).toBe(1)
    expect(refused.stderr).toMatch(/^Error: .* is not empty: --force .*\n$/)
    expect(readdirSync(place)).toEqual(['kept'])
    const outside = newPlace()
    mkdirSync(outside)
    symlinkSync(outside, join(place, 'many'))
    symlinkSync(join(outside, 'file'), join(place, 'wide'))
    await atomfsFuse(['extract', '--force', image, place])
    await atomfsFuse(['extract', '--force', image, place])
    expect(readdirSync(outside)).toEqual([])
    const seen = walkTree(place).filter(({ path }) => path !== 'kept')
    expect(compareTrees(seen, source, SAME)).toEqual([])
    expect(readFileSync(join(place, 'kept'), 'utf8')).toBe('mine')
  })

  test('reports what it made, and with --quiet nothing', async () => {
    const place = newPlace()
    const { stdout } = await atomfsFuse(['extract', '--json', image, place])
    const report = JSON.parse(stdout)
    const of = (type: string) => source.filter((entry) => entry.type === type)
    const names = report.files + report.hardLinks + report.symlinks + report.specials + report.directories
    expect(names).toBe(source.length)
    expect(report).toMatchObject({ directories: of('directory').length, owners: 'real', failures: 0 })
    expect((await atomfsFuse(['extract', '--quiet', image, newPlace()])).stdout).toBe('')
  })

  test('verifies what it reads, names damaged files, and extracts the others', async () => {
    const packed = await mksquashfs(tree, newPlace(), { compressor: 'gzip', extra: ['-noF', '-noD'] })
    const { rootHash } = await appendVerity(packed)
    const bytes = readFileSync(packed)
    const content = readFileSync(join(tree, 'many/d1/f1'))
    const at = bytes.indexOf(content.subarray(0, 64))
    expect(at).toBeGreaterThan(0)
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
    writeFileSync(packed, bytes)
    const place = newPlace()
    const { status, stderr } = await atomfsFuse(['extract', '--root-hash', rootHash, packed, place], {
      allowFailure: true,
    })
    expect(status).toBe(1)
    const lines = stderr.trimEnd().split('\n')
    expect(lines.filter((line) => line.startsWith('Error: many/d1/f1: '))).toHaveLength(1)
    const found = walkTree(place)
    const paths = new Set(found.map(({ path }) => path))
    expect(paths.has('many/d1/f1')).toBe(false)
    expect(source.length - paths.size).toBe(lines.length)
    const rest = source.filter(({ path }) => paths.has(path))
    expect(rest.length).toBeGreaterThan(source.length / 2)
    expect(compareTrees(found, rest, { ...SAME, ignore: ['blocks', 'nlink', 'linkGroup'] })).toEqual([])
  })

  test('as a plain user gives all to the caller, without setuid, and counts devices and attributes', async () => {
    const place = newPlace()
    mkdirSync(place)
    chmodSync(place, 0o777)
    const user = ['--reuid=4711', '--regid=4711', '--clear-groups', ATOMFS_FUSE]
    const { status, stderr } = await run(
      'setpriv',
      [...user, 'extract', '--strict', image, join(place, 'own')],
      { allowFailure: true },
    )
    expect(status).toBe(1)
    expect(stderr).toMatch(
      /^Warning: \d+ devices are left out: .*\nWarning: \d+ extended attributes are left out: .*\n$/,
    )
    const found = walkTree(join(place, 'own'))
    expect(new Set(found.map(({ uid, gid }) => `${uid}:${gid}`))).toEqual(new Set(['4711:4711']))
    expect(found.filter(({ mode }) => Number.parseInt(mode, 8) & 0o6000)).toEqual([])
    const expected = source.filter(({ type }) => type !== 'char' && type !== 'block')
    const options = { ...SAME, ignore: ['blocks', 'uid', 'gid', 'mode', 'xattrs'] } as const
    expect(compareTrees(found, expected, options)).toEqual([])
    const refused = await run('setpriv', [...user, 'extract', '--owners=real', image, join(place, 'real')], {
      allowFailure: true,
    })
    expect(refused.status).toBe(1)
    expect(refused.stderr).toMatch(/choose --owners=override or --owners=none/)
  })

  test('puts a whole file or nothing under a name, when it is killed', async () => {
    const expected = new Map(source.map((entry) => [entry.path, entry.sha256]))
    let partial = 0
    for (const wait of LONG ? numbers(0, 700, 5) : [0, 50, 200]) {
      const place = newPlace()
      const child = spawn(ATOMFS_FUSE, ['extract', image, place], { stdio: 'ignore' })
      const end = once(child, 'exit')
      // From the first name on, however fast the machine is.
      await until(() => existsSync(place) && readdirSync(place).length > 0, 'the first name')
      setTimeout(() => child.kill('SIGKILL'), wait)
      await end
      if (!existsSync(place)) continue
      const found = walkTree(place)
      if (found.length < source.length) partial += 1
      for (const { path, sha256 } of found) expect([path, sha256]).toEqual([path, expected.get(path)])
    }
    expect(partial).toBeGreaterThan(0)
  })

  test('ends with one line when a signal asks for it', async () => {
    const place = newPlace()
    const packed = await mksquashfs(tree, newPlace(), { compressor: 'xz' })
    const child = spawn(ATOMFS_FUSE, ['extract', '--threads', '1', packed, place], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let text = ''
    child.stderr.on('data', (piece) => {
      text += piece
    })
    let sent = false
    const wait = setInterval(() => {
      if (sent || !existsSync(place)) return
      sent = child.kill('SIGTERM')
    }, 1)
    const [code] = await once(child, 'close')
    clearInterval(wait)
    if (code === 0) expect(text).toBe('')
    else
      expect({ code, text }).toEqual({
        code: 143,
        text: `Error: interrupted: ${place} is not complete; the files in it are whole\n`,
      })
  })

  test('a tree of thousands of levels needs no descriptor for each of them', async () => {
    const packed = newPlace()
    const fd = openSync(packed, 'w')
    const writer = new SquashfsWriter(new FileOutput(fd, packed), { name: 'gzip', level: 1, blockSize: 4096 })
    const owner = { uid: 0, gid: 0, mtime: 1_000_000_000 }
    const depth = LONG ? 15_000 : 2500
    const content = Buffer.from('deep')
    for (let level = 1; level <= depth; level += 1) {
      const path = 'd/'.repeat(level).slice(0, -1)
      await writer.add(path, { ...owner, mode: S_IFDIR | 0o555 })
      if (level % 500 === 0) {
        await writer.add(`${path}/file`, { ...owner, mode: S_IFREG | 0o644, size: 4, content: [content] })
        writer.link(`${path}/link`, `${'d/'.repeat(500)}file`)
      }
    }
    await writer.finish()
    closeSync(fd)
    const place = newPlace()
    const script = 'ulimit -n 256; exec "$1" extract --quiet "$2" "$3"'
    try {
      expect(await run('bash', ['-c', script, 'bash', ATOMFS_FUSE, packed, place])).toMatchObject({
        stderr: '',
      })
      const { stdout } = await run('find', [place, '-printf', '%d %y %m %T@\n'])
      const found = stdout.trimEnd().split('\n')
      expect(found).toHaveLength(1 + depth + (depth / 500) * 2)
      expect(found).toContain(`${depth} d 555 1000000000.0000000000`)
      expect(
        found.filter((line) => line.includes(' d ') && !line.endsWith(' d 555 1000000000.0000000000')),
      ).toHaveLength(1)
    } finally {
      await run('rm', ['-rf', place])
    }
  })

  test('says which file does not fit on a full disk, and leaves no half file', async () => {
    const place = newPlace()
    mkdirSync(place)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', place])
    try {
      const { status, stderr } = await atomfsFuse(['extract', image, join(place, 'full')], {
        allowFailure: true,
      })
      expect(status).toBe(1)
      expect(stderr).toMatch(/^Error: .+ cannot be written: ENOSPC.*\n$/)
      const expected = new Map(source.map((entry) => [entry.path, entry.sha256]))
      for (const { path, sha256 } of walkTree(join(place, 'full'))) {
        expect([path, sha256]).toEqual([path, expected.get(path)])
      }
    } finally {
      await run('umount', [place])
    }
  })

  test('writes nothing out of the directory while a stranger puts links in place of what it makes', async () => {
    const shared = newPlace()
    mkdirSync(shared)
    chmodSync(shared, 0o777)
    const outside = newPlace()
    mkdirSync(outside)
    writeFileSync(join(outside, 'file'), 'untouched')
    const before = walkTree(outside)
    const names = [...new Set(source.map(({ path }) => path.split('/')[0] ?? ''))].filter(
      (name) => name !== '.',
    )
    const script = `
      cd "$1"; shift
      while :; do for name; do rm -rf "./$name" 2>/dev/null; ln -s "$OUTSIDE" "./$name" 2>/dev/null; ln -sfn "$OUTSIDE/file" "./$name" 2>/dev/null; done; done`
    const child = spawn(
      'setpriv',
      [
        '--reuid=4711',
        '--regid=4711',
        '--clear-groups',
        'sh',
        '-c',
        script,
        'stranger',
        shared,
        ...names.slice(0, 12),
      ],
      { stdio: 'ignore', env: { ...process.env, OUTSIDE: outside } },
    )
    try {
      for (let round = 0; round < (LONG ? 40 : 2); round += 1) {
        const { stderr } = await atomfsFuse(['extract', '--force', image, shared], { allowFailure: true })
        expect(stderr).not.toMatch(/internal|bug/)
      }
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    expect(walkTree(outside)).toEqual(before)
  })
})

describe.skipIf(!needMounts.ok)(titled('extract of layers', needMounts), () => {
  test('makes what overlayfs of the kernel shows of them', async () => {
    for (const seed of LONG ? numbers(1, 20, 1) : [3]) {
      await withTempDir(async (place) => {
        const layers = buildLayers(place, { seed, form: 'trusted' })
        const images = await Promise.all(
          layers.map((layer, index) =>
            mksquashfs(layer, join(place, `${index}.squashfs`), { compressor: 'gzip' }),
          ),
        )
        const expected = await mergedByKernel(place, images)
        const oci = await ociSource(place, 'oci', images)
        const out = join(place, 'out')
        const refused = await atomfsFuse(['extract', oci, out], { allowFailure: true })
        expect(refused.stderr).toMatch(/--allow-missing-verity/)
        await atomfsFuse(['extract', '--allow-missing-verity', oci, out])
        const options = { ...SAME, ignore: ['blocks', 'nlink', 'linkGroup'] } as const
        expect(compareTrees(walkTree(out), expected, options)).toEqual([])
      })
    }
  })

  test('writes owners down so that an overlay of a plain user shows them, devices too', async () => {
    await withTempDir(async (place) => {
      chmodSync(place, 0o777)
      const out = join(place, 'out')
      const user = ['--reuid=4711', '--regid=4711', '--clear-groups', ATOMFS_FUSE]
      await run('setpriv', [...user, 'extract', '--owners=override', image, out])
      expect(lstatSync(join(out, 'many')).uid).toBe(4711)
      await withAtomfs(place, out, ({ target }) => {
        const seen = walkTree(target)
        expect(
          compareTrees(seen, source, { ...SAME, ignoreXattr: (name) => name.startsWith('trusted.') }),
        ).toEqual([])
      })
    })
  })

  test('extracts a directory of this machine as it is', async () => {
    const place = await extracted(tree)
    expect(compareTrees(walkTree(place), source, SAME)).toEqual([])
  })
})
