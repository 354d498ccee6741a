import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  appendVerity,
  atomfsFuse,
  buildSourceTree,
  makeTempDir,
  mksquashfs,
  needs,
  ociSource,
  removeTempDir,
  run,
  titled,
  walkTree,
  withTempDir,
} from '../library/index.ts'

const need = needs('root', 'mksquashfs', 'unsquashfs')

let temp = ''
let tree = ''
let image = ''

beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  tree = join(temp, 'tree')
  mkdirSync(tree)
  // unsquashfs prints names as they are: only those that stand on one line can be compared.
  buildSourceTree(tree, { size: 'small', noInvalidUtf8: true })
  for (const name of readdirSync(join(tree, 'names'))) {
    if (/[^ -~]/.test(name) || name === 'to-odd') rmSync(join(tree, 'names', name), { recursive: true })
  }
  mkdirSync(join(tree, 'links'))
  symlinkSync('/many/d1', join(tree, 'links/absolute'))
  symlinkSync('../links/absolute/f1', join(tree, 'links/relative'))
  symlinkSync('loop', join(tree, 'links/loop'))
  symlinkSync('../../../../../many', join(tree, 'links/out'))
  image = await mksquashfs(tree, join(temp, 'image'))
})
afterAll(() => removeTempDir(temp))

async function output(...args: string[]): Promise<string> {
  return (await atomfsFuse(args)).stdout
}

describe.skipIf(!need.ok)(titled('ls and cat', need), () => {
  test('ls -lR says what unsquashfs says', async () => {
    const { stdout } = await run('unsquashfs', ['-UTC', '-lln', '-dest', '', image])
    const parts = /^(\S{10}) (\d+\/\d+) +(\d+, *\d+|\d+|-) (\d{4}-\d\d-\d\d \d\d:\d\d) (\/.+)$/
    const normal = (line: string): string[] => {
      const [, mode = '', owner, size = '', time, path = '/'] = parts.exec(line) ?? []
      // unsquashfs splits large device numbers as Linux did before 2.6.
      if (path === '/' || /^\/types\/(block-minor|char-max)$/.test(path)) return []
      const shownSize = mode.startsWith('d') ? '-' : size.replace(/, */, ',')
      return [[mode, owner, shownSize, time, path].join(' ')]
    }
    const lines = (text: string): string[] => text.split('\n').flatMap(normal).sort()
    const ours = lines(await output('ls', '-l', '-R', image))
    expect(ours.length).toBeGreaterThan(300)
    expect(ours).toEqual(lines(stdout))
  })

  test('ls lists one directory in order, one file, and as JSON', async () => {
    const names = readdirSync(join(tree, 'many')).sort()
    expect(await output('ls', image, 'many')).toBe(names.map((name) => `${name}\n`).join(''))
    expect(await output('ls', image, '/links/absolute/')).toBe(await output('ls', image, '/many/d1'))
    expect(await output('ls', '-l', image, '/links/loop')).toMatch(/^lrwxrwxrwx .* loop -> loop\n$/)
    const [file] = JSON.parse(await output('ls', '--json', image, 'many/d1/f1'))
    const [expected] = walkTree(join(tree, 'many/d1')).filter(({ path }) => path === 'f1')
    expect(file).toMatchObject({
      path: '/many/d1/f1',
      type: 'file',
      size: expected!.size,
      mtime: expected!.mtime,
    })
    expect(JSON.parse(await output('ls', '--json', '-R', image, '/links')).length).toBe(4)
  })

  test('cat prints files, and follows links inside of the image', async () => {
    const content = readFileSync(join(tree, 'many/d1/f1'))
    const print = async (...paths: string[]) => (await atomfsFuse(['cat', image, ...paths])).bytes
    expect((await print('many/d1/f1')).equals(content)).toBe(true)
    expect(
      (await print('links/relative', '/links/out/d1/f1')).equals(Buffer.concat([content, content])),
    ).toBe(true)
  })

  test.each([
    ['many', 'is a directory'],
    ['links/loop', 'too many links'],
    ['no', 'no no in the image'],
    ['many/d1/f1/x', 'no directory'],
  ])('cat of %s is one line that says why not', async (path, why) => {
    const { status, stderr, stdout } = await atomfsFuse(['cat', image, path], { allowFailure: true })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain(why)
    expect(stderr.split('\n')).toHaveLength(2)
  })

  test('cat and ls end quietly when their reader does', async () => {
    await withTempDir(async (place) => {
      mkdirSync(join(place, 'in'))
      writeFileSync(join(place, 'in/large'), Buffer.alloc(60_000_000, 'abcdefgh'))
      const packed = await mksquashfs(join(place, 'in'), join(place, 'image'))
      const line = `'${ATOMFS_FUSE}' cat '${packed}' large | head -c 10; echo " \${PIPESTATUS[0]}"`
      expect(await run('bash', ['-c', line])).toMatchObject({ stdout: 'abcdefghab 0\n', stderr: '' })
      const many = `'${ATOMFS_FUSE}' ls -R '${image}' | head -n 1; echo "\${PIPESTATUS[0]}"`
      expect(await run('bash', ['-c', many])).toMatchObject({
        stdout: expect.stringMatching(/^\/.*\n0\n$/),
        stderr: '',
      })
    })
  })

  test('cat reads no further than its reader takes, and verifies what it prints', async () => {
    await withTempDir(async (place) => {
      mkdirSync(join(place, 'in'))
      const content = Buffer.alloc(8_000_000)
      for (let at = 0; at < content.length; at += 4) content.writeUInt32LE((at * 2_654_435_761) % 2 ** 32, at)
      writeFileSync(join(place, 'in/large'), content)
      const packed = await mksquashfs(join(place, 'in'), join(place, 'image'), { extra: ['-noD', '-noF'] })
      const { rootHash } = await appendVerity(packed)
      const bytes = readFileSync(packed)
      const at = bytes.indexOf(content.subarray(7_000_000, 7_000_100))
      bytes.writeUInt8(bytes.readUInt8(at) ^ 4, at)
      writeFileSync(packed, bytes)
      const {
        status,
        stderr,
        bytes: printed,
      } = await atomfsFuse(['cat', '--root-hash', rootHash, packed, 'large'], { allowFailure: true })
      expect(status).toBe(1)
      expect(stderr).toMatch(/^Error: .*\n$/)
      expect(printed.length).toBeLessThan(7_000_000)
      expect(printed.equals(content.subarray(0, printed.length))).toBe(true)
      const child = spawn(ATOMFS_FUSE, ['cat', packed, 'large'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      child.stdout.destroy()
      const [code] = await once(child, 'exit')
      expect(code).toBe(0)
    })
  })
})

describe.skipIf(!need.ok)(titled('diff', need), () => {
  test('prints each change that was made, and nothing else', async () => {
    await withTempDir(async (place) => {
      const changed = join(place, 'changed')
      await run('cp', ['-a', tree, changed])
      const at = (path: string): string => join(changed, path)
      const keepTime = (path: string, change: () => void): void => {
        const { mtime } = walkTree(join(changed, path, '..'), { noContent: true }).find(
          (entry) => entry.path === '.',
        )!
        change()
        utimesSync(join(changed, path, '..'), mtime, mtime)
      }
      const first = readFileSync(at('many/d1/f1'))
      const time = 1_111_111_111
      for (const path of ['many/d1/f1', 'many/d1/f2', 'many/d1/f3', 'many/d1/f4']) {
        utimesSync(at(path), time, time)
        utimesSync(join(tree, path), time, time)
      }
      const before = await mksquashfs(tree, join(place, 'before'))
      first.writeUInt8(first.readUInt8(first.length - 1) ^ 1, first.length - 1)
      writeFileSync(at('many/d1/f1'), first)
      utimesSync(at('many/d1/f1'), time, time)
      chmodSync(at('many/d1/f2'), 0o600)
      await run('chown', ['7:8', at('many/d1/f3')])
      await run('setfattr', ['-n', 'user.new', '-v', 'x', at('many/d1/f4')])
      keepTime('many/d2/f1', () => unlinkSync(at('many/d2/f1')))
      keepTime('many/d2/new', () => {
        mkdirSync(at('many/d2/new'))
        writeFileSync(at('many/d2/new/file'), 'x')
      })
      keepTime('links/loop', () => {
        unlinkSync(at('links/loop'))
        symlinkSync('other', at('links/loop'))
      })
      const { mtime } = walkTree(tree, { noContent: true }).find(({ path }) => path === 'links/loop')!
      lutimesSync(at('links/loop'), mtime, mtime)
      keepTime('deep', () => {
        rmSync(at('deep/level0'), { recursive: true })
        writeFileSync(at('deep/level0'), '')
      })
      utimesSync(at('wide/entry-1'), time, time)
      const deep = walkTree(join(tree, 'deep/level0'))
        .map(({ path }) => path)
        .filter((path) => path !== '.')
      const expected = [
        'M /deep (mtime)',
        'M /deep/level0 (type)',
        ...deep.map((path) => `D /deep/level0/${path}`),
        'M /links/loop (target)',
        'M /many/d1/f1 (content)',
        'M /many/d1/f2 (mode)',
        'M /many/d1/f3 (owner)',
        'M /many/d1/f4 (xattrs)',
        'D /many/d2/f1',
        'A /many/d2/new',
        'A /many/d2/new/file',
        'M /wide/entry-1 (mtime)',
      ]
      const after = await mksquashfs(changed, join(place, 'after'), { compressor: 'zstd', blockSize: 65_536 })
      const result = await atomfsFuse(['diff', before, after], { allowFailure: true })
      expect(result.stderr).toBe('')
      expect(result.stdout.trimEnd().split('\n')).toEqual(expected)
      expect(result.status).toBe(1)
      const back = await atomfsFuse(['diff', '--json', after, before], { allowFailure: true })
      const items: { change: string; path: string }[] = JSON.parse(back.stdout)
      expect(items.filter(({ change }) => change === 'A').length).toBe(deep.length + 1)
      const quiet = ['--quiet', '--ignore', 'type,mode,owner,size,content,mtime,xattrs,target']
      expect(await atomfsFuse(['diff', ...quiet, before, after], { allowFailure: true })).toMatchObject({
        status: 1,
        stdout: '',
      })
    })
  })

  test('finds no difference between an image, another one of the same tree, and the tree', async () => {
    const other = await mksquashfs(tree, join(temp, 'other'), { compressor: 'xz', blockSize: 4096 })
    for (const [one, two] of [
      [image, other],
      [other, tree],
      [image, image],
    ] as const) {
      expect(await atomfsFuse(['diff', '--ignore', 'mtime', one, two])).toMatchObject({
        status: 0,
        stdout: '',
        stderr: '',
      })
    }
  })

  test('does not read what two images share, and exits with 2 where something cannot be read', async () => {
    await withTempDir(async (place) => {
      const packed = await mksquashfs(tree, join(place, 'image'), { extra: ['-noD', '-noF'] })
      const bytes = readFileSync(packed)
      const content = readFileSync(join(tree, 'many/d1/f1'))
      const damaged = join(place, 'damaged')
      const { rootHash } = await appendVerity(packed)
      const sound = readFileSync(packed)
      const at = bytes.indexOf(content.subarray(0, 64))
      sound.writeUInt8(sound.readUInt8(at) ^ 1, at)
      writeFileSync(damaged, sound)
      const oci = await ociSource(place, 'oci', [packed])
      expect(await atomfsFuse(['diff', '--allow-missing-verity', oci, oci])).toMatchObject({ status: 0 })
      expect(rootHash).toMatch(/^[0-9a-f]{64}$/)
      // Without a root hash damage of stored bytes is a difference.
      const result = await atomfsFuse(['diff', packed, damaged], { allowFailure: true })
      expect(result.status).toBe(1)
      expect(result.stdout).toMatch(/^M \/many\/d1\/f1 \(content\)$/m)
      writeFileSync(damaged, sound.subarray(0, 5000))
      const cut = await atomfsFuse(['diff', packed, damaged], { allowFailure: true })
      expect(cut.status).toBe(2)
      expect(cut.stderr).toMatch(/^Error: .*\n$/)
      expect((await atomfsFuse(['diff', packed, join(place, 'none')], { allowFailure: true })).status).toBe(2)
    })
  })

  test('compares directories whose names come in no order', async () => {
    await withTempDir(async (place) => {
      const [one, two] = ['one', 'two'].map((name) => join(place, name))
      mkdirSync(one!)
      mkdirSync(two!)
      for (let i = 0; i < 6000; i += 1) {
        writeFileSync(join(one!, `f${i}`), '')
        writeFileSync(join(two!, `f${5999 - i}`), '')
      }
      linkSync(join(one!, 'f1'), join(one!, 'g'))
      unlinkSync(join(two!, 'f77'))
      const { stdout } = await atomfsFuse(['diff', '--ignore', 'mtime', one!, two!], { allowFailure: true })
      expect(stdout).toBe('D /f77\nD /g\n')
    })
  })
})
