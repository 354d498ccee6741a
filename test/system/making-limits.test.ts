import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { FileOutput, SquashfsWriter } from '../../squashfs/write/index.ts'
import { S_IFREG } from '../../src/base/index.ts'
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
  seenByUs,
  tarEntry,
  titled,
  walkTree,
  withAtomfs,
  withTarget,
} from '../library/index.ts'
import { writeAt } from '../library/programs/write-at.ts'

const need = needs('root', 'kernel-squashfs', 'loop', 'fuse', 'unsquashfs', 'python3')
const temp = makeTempDir()
afterAll(() => removeTempDir(temp))

describe.skipIf(!need.ok)(titled('an image at the limits of squashfs', need), () => {
  test('has 65 535 different owners, as many as its superblock can count, and not one more', async () => {
    const image = join(temp, 'owners.squashfs')
    const fd = openSync(image, 'w+')
    const owned = (uid: number) => ({ mode: S_IFREG | 0o644, uid, gid: 0, mtime: 0 })
    try {
      const writer = new SquashfsWriter(new FileOutput(fd, image), {
        name: 'gzip',
        level: 1,
        blockSize: 4096,
      })
      for (let uid = 1; uid <= 65_534; uid++) await writer.add(`${uid % 256}/${uid}`, owned(uid))
      await expect(writer.add('more', owned(65_535))).rejects.toThrow(
        /more than 65535 different user and group/,
      )
      await writer.finish()
    } finally {
      closeSync(fd)
    }
    expect((await run('unsquashfs', ['-s', image])).stdout).toMatch(/Number of (ids|uids\/gids) 65535/)
    const { stdout } = await run('unsquashfs', ['-lln', image])
    const owners = [...stdout.matchAll(/^-rw-r--r-- (\d+)\/0 .*\/(\d+)$/gm)].map(([, uid, name]) => [
      uid,
      name,
    ])
    expect(owners).toHaveLength(65_534)
    expect(owners.filter(([uid, name]) => uid !== name)).toEqual([])
  })

  test('has attributes of 64 KiB each, four of them in one file, and a name of 255 bytes', async () => {
    const archive = join(temp, 'attributes.tar')
    const script = `
import tarfile
with tarfile.open(${JSON.stringify(archive)}, 'w', format=tarfile.PAX_FORMAT) as tar:
    entry = tarfile.TarInfo('n' * 255)
    entry.pax_headers = {'SCHILY.xattr.user.%d' % i: chr(97 + i) * 65536 for i in range(4)}
    tar.addfile(entry)
`
    await run('python3', ['-c', script])
    const image = join(temp, 'attributes.squashfs')
    await atomfsFuse(['pack', archive, image, '--no-verity'])
    const kernel = await seenByKernel(temp, image)
    const [file] = kernel.filter(({ type }) => type === 'file')
    expect(file?.path).toBe('n'.repeat(255))
    expect(Object.keys(file?.xattrs ?? {})).toHaveLength(4)
    expect(compareTrees(await seenByUs(temp, image), kernel)).toEqual([])
  })

  test('can lie behind 4 GiB of something else', async () => {
    const tree = join(temp, 'behind')
    mkdirSync(tree)
    buildSourceTree(tree, { size: 'small' })
    const image = join(temp, 'behind.squashfs')
    const { stdout } = await atomfsFuse(['pack', tree, image, '--json', '--compression', 'gzip:1'])
    const { rootHash } = JSON.parse(stdout) as { rootHash: string }
    const offset = 5 * 2 ** 30 + 4096
    const whole = join(temp, 'behind.image')
    // The hash tree is looked for behind the image, wherever that begins.
    writeAt(whole, offset, readFileSync(image))
    const source = walkTree(tree)
    const kernel = await withTarget(temp, async (target) => {
      await run('mount', ['-t', 'squashfs', '-o', `ro,loop,offset=${offset}`, whole, target])
      return walkTree(target)
    })
    expect(compareTrees(kernel, source, AS_SOURCE)).toEqual([])
    const at = ['--offset', `${offset}`]
    const mounted = await withAtomfs(temp, whole, ({ target }) => walkTree(target), [
      ...at,
      '--root-hash',
      rootHash,
    ])
    expect(compareTrees(mounted, source, AS_SOURCE)).toEqual([])
    const out = join(temp, 'behind.out')
    await atomfsFuse(['extract', ...at, '--root-hash', rootHash, whole, out])
    expect(compareTrees(walkTree(out), source, AS_SOURCE)).toEqual([])
  })

  test('has equal files of any size once, also such that are holes in part', async () => {
    const folder = join(temp, 'equal')
    mkdirSync(folder)
    const content = Buffer.concat([randomBytes(3 << 20), Buffer.alloc(5 << 20), randomBytes(100_001)])
    for (const name of ['a', 'b', 'c']) writeFileSync(join(folder, name), content)
    writeAt(join(folder, 'c'), content.length - 1, Buffer.of(content.at(-1)! ^ 1))
    writeAt(join(folder, 'd'), content.length - 1, Buffer.of(0))
    const image = join(temp, 'equal.squashfs')
    await atomfsFuse(['pack', folder, image, '--no-verity', '--compression', 'lz4'])
    const data = content.length - (5 << 20)
    expect(statSync(image).size).toBeGreaterThan(2 * data)
    expect(statSync(image).size).toBeLessThan(2.2 * data)
    expect(compareTrees(await seenByKernel(temp, image), walkTree(folder), AS_SOURCE)).toEqual([])
  })

  test.each(['zstd', 'gzip'])(
    'says in one line that the disk is full with %s, and leaves nothing',
    async (name) => {
      const small = join(temp, `small-${name}`)
      mkdirSync(small)
      writeFileSync(join(temp, 'noise'), randomBytes(6 << 20))
      await run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', small])
      try {
        const tree = join(temp, `tree-${name}`)
        mkdirSync(tree)
        await run('cp', [join(temp, 'noise'), tree])
        const image = join(small, 'image')
        const args = ['pack', tree, image, '--compression', name]
        const { status, stderr } = await atomfsFuse(args, { allowFailure: true })
        expect(status).toBe(1)
        expect(stderr).toMatch(/^Error: .*image.*ENOSPC[^\n]*\n$/)
        expect(readdirSync(small)).toEqual([])
      } finally {
        await run('umount', [small])
      }
    },
  )
})

describe.skipIf(!need.ok)(titled('what no image is made of', need), () => {
  const file = { type: 'file', mode: 0o644, uid: 0, mtime: 0 } as const
  test.each([
    ['../up', /"\.\.\/up" leads upwards/],
    ['a/../../b', /"a\/\.\.\/\.\.\/b" leads upwards/],
    ['d/.wh.', /"d\/\.wh\.": a whiteout of no name/],
    ['.wh...', /"\.wh\.\.\.": a whiteout of no name/],
    ['.wh.a/b', /"\.wh\.a\/b": something lies below a whiteout/],
    ['', /root something else than a directory/],
    ['./', /^$/],
  ])('an archive with the name %j', async (path, message) => {
    const archive = join(temp, 'attack.tar')
    writeFileSync(archive, Buffer.concat([tarEntry({ ...file, path }), Buffer.alloc(1024)]))
    const image = join(temp, 'attack.squashfs')
    const args = ['pack', archive, image, '--force', '--quiet', '--whiteouts', 'overlay']
    const { status, stderr } = await atomfsFuse(args, { allowFailure: true })
    expect(stderr).toMatch(message)
    // A name with a slash at its end is a directory, here the root.
    expect(status).toBe(path === './' ? 0 : 1)
    if (path !== './') expect(existsSync(image)).toBe(false)
  })
})

/** How many random trees, or which: `ATOMFS_SEEDS` (`500`, `50-99`). */
function seeds(): number[] {
  const [, first = '1', last] = /^(?:(\d+)-)?(\d+)$/.exec(process.env['ATOMFS_SEEDS'] ?? '3') ?? []
  if (last === undefined) throw new Error('ATOMFS_SEEDS: a number or a range is needed')
  return Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => Number(first) + i)
}

describe.skipIf(!need.ok)(titled('images of random trees', need), () => {
  const COMPRESSION = ['gzip:1', 'zstd:1', 'lz4', 'xz:0', 'gzip:9', 'zstd:19', 'lz4:4']
  const SIZES = ['4K', '8K', '128K', '1M']
  const OPTIONS = [
    [],
    ['--no-fragments'],
    ['--tail-ends'],
    ['--no-duplicates', '--no-export'],
    ['--uncompressed', 'inodes,xattrs'],
    ['--uncompressed', 'data,fragments,ids'],
  ]
  test.each(seeds())(
    'are the same in the kernel and in our reader, seed %d',
    async (seed) => {
      const tree = join(temp, `random-${seed}`)
      mkdirSync(tree)
      const blockSize = SIZES[seed % SIZES.length]!
      buildSourceTree(tree, { size: 'small', seed, blockSize: 4096 << (seed % 6) })
      const image = join(temp, `random-${seed}.squashfs`)
      const compression = COMPRESSION[seed % COMPRESSION.length]!
      const args = [
        '--compression',
        compression,
        '--block-size',
        blockSize,
        ...OPTIONS[seed % OPTIONS.length]!,
      ]
      await atomfsFuse(['pack', tree, image, '--no-verity', ...args])
      const kernel = await seenByKernel(temp, image)
      expect(compareTrees(kernel, walkTree(tree), AS_SOURCE)).toEqual([])
      expect(compareTrees(await seenByUs(temp, image), kernel)).toEqual([])
      await run('rm', ['-rf', tree, image])
    },
    120_000,
  )
})
