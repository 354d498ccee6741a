import { existsSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mke2fs } from '../library/images/ext.ts'
import {
  AS_SOURCE,
  ATOMFS_FUSE,
  appendVerity,
  atomfsFuse,
  buildLayers,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  mksquashfs,
  needs,
  ociSource,
  removeTempDir,
  run,
  type TreeEntry,
  titled,
  walkTree,
  withAtomfs,
} from '../library/index.ts'

const need = needs('root', 'fuse', 'mksquashfs', 'unsquashfs', 'veritysetup')
const temp = makeTempDir()
const tree = join(temp, 'tree')
const FAST = ['--compression', 'gzip:1', '--quiet']
let image = ''
let rootHash = ''
let ext = ''
let count = 0

const newPlace = (): string => join(temp, `place-${count++}`)
const line = async (...args: string[]): Promise<string> => {
  const { status, stderr, stdout } = await atomfsFuse(args, { allowFailure: true })
  expect({ status, stdout, lines: stderr.split('\n').length }).toEqual({ status: 1, stdout: '', lines: 2 })
  return stderr
}

async function unpacked(file: string): Promise<TreeEntry[]> {
  const place = newPlace()
  await run('unsquashfs', ['-quiet', '-no-progress', '-dest', place, file])
  return walkTree(place)
}

async function packed(source: string, ...args: string[]): Promise<string> {
  const file = newPlace()
  const { stderr } = await atomfsFuse(['pack', source, file, ...FAST, ...args])
  expect(stderr).toBe('')
  return file
}

beforeAll(async () => {
  if (!need.ok) return
  mkdirSync(tree)
  buildSourceTree(tree, { size: 'small' })
  linkSync(join(tree, 'many/d1/f1'), join(tree, 'outside'))
  image = await mksquashfs(tree, join(temp, 'image'), { compressor: 'zstd' })
  rootHash = (await appendVerity(image)).rootHash
  mkdirSync(join(temp, 'small/sub'), { recursive: true })
  writeFileSync(join(temp, 'small/sub/.wh.name'), 'a name like a mark')
  linkSync(join(temp, 'small/sub/.wh.name'), join(temp, 'small/other'))
  await run('mknod', [join(temp, 'small/zero'), 'c', '0', '0'])
  ext = await mke2fs(join(temp, 'ext.img'), { options: '-t ext4', from: join(temp, 'small') })
})
afterAll(() => removeTempDir(temp))

describe.skipIf(!need.ok)(titled('pack of images', need), () => {
  test('the tree of a squashfs image, verified, at an offset, sorted and in part', async () => {
    const source = walkTree(tree)
    const file = await packed(image, '--root-hash', rootHash)
    expect(compareTrees(await unpacked(file), source, AS_SOURCE)).toEqual([])
    const shifted = newPlace()
    writeFileSync(shifted, Buffer.concat([Buffer.alloc(5000), readFileSync(image)]))
    expect(
      compareTrees(await unpacked(await packed(shifted, '--offset', '5000')), source, AS_SOURCE),
    ).toEqual([])
    const list = newPlace()
    writeFileSync(list, 'many/d2 5\nmany/d1/f2 -1\n')
    const sorted = await packed(image, '--sort', list)
    expect(compareTrees(await unpacked(sorted), source, AS_SOURCE)).toEqual([])
    expect(readFileSync(sorted).equals(readFileSync(file))).toBe(false)
    // The same part of the directory that the image was made of.
    const part = ['--subdir', 'many', '--exclude', 'd3']
    expect(readFileSync(await packed(image, ...part)).equals(readFileSync(await packed(tree, ...part)))).toBe(
      true,
    )
    expect(
      await line(
        'pack',
        image,
        newPlace(),
        ...FAST,
        '--root-hash',
        rootHash.replace(/./, (c) => (c === '0' ? '1' : '0')),
      ),
    ).toMatch(/^Error: .*root hash/)
  })

  test('the merged layers of an image in a layout, as a mount shows them', async () => {
    const place = newPlace()
    mkdirSync(place)
    const layers = buildLayers(place, { seed: 5, form: 'user' })
    const images = await Promise.all(
      layers.map((layer, i) => mksquashfs(layer, join(place, `${i}.squashfs`), { compressor: 'gzip' })),
    )
    const oci = await ociSource(place, 'oci', images)
    expect(await line('pack', oci, newPlace(), ...FAST)).toMatch(/--allow-missing-verity/)
    const file = await packed(oci, '--allow-missing-verity')
    const shown = await withAtomfs(place, oci, ({ target }) => walkTree(target), ['--allow-missing-verity'])
    const ignore = ['blocks', 'nlink', 'linkGroup'] as const
    expect(compareTrees(await unpacked(file), shown, { ...AS_SOURCE, ignore })).toEqual([])
  })

  test('an ext4 file system, and an image of one layer of it', async () => {
    const source = walkTree(join(temp, 'small'))
    const names = (entries: readonly TreeEntry[]): TreeEntry[] =>
      entries.filter(({ path }) => path !== 'lost+found' && path !== '.')
    expect(compareTrees(names(await unpacked(await packed(ext))), names(source), AS_SOURCE)).toEqual([])
    const layout = newPlace()
    const { stderr } = await atomfsFuse(['convert', ext, `${layout}:x`, ...FAST.slice(0, 2)])
    expect(stderr).toMatch(/^Warning: 1 character devices 0:0 are left out[^\n]*\n$/)
    const shown = await withAtomfs(temp, `${layout}:x`, ({ target }) => walkTree(target))
    const kept = names(source).filter(({ path }) => path !== 'zero')
    expect(compareTrees(names(shown), kept, AS_SOURCE)).toEqual([])
  })

  test('options of images are refused for what is none, and an archive may come through a pipe', async () => {
    expect(await line('pack', '-', newPlace(), '--root-hash', rootHash)).toMatch(
      /^Error: --root-hash is for images/,
    )
    expect(await line('pack', tree, newPlace(), '--offset', '0')).toMatch(/offset= is for an image file/)
    const archive = newPlace()
    await run('tar', ['-C', tree, '-cf', archive, 'many'])
    expect(await line('pack', archive, newPlace(), '--offset', '0')).toMatch(
      /: not a squashfs image .*, but a tar archive: [^\n]*\n/,
    )
    const [whole, piped] = [newPlace(), newPlace()]
    await atomfsFuse(['pack', archive, whole, ...FAST])
    const script = 'exec "$1" pack <(cat "$2") "$3" --compression gzip:1 --quiet'
    await run('bash', ['-c', script, 'bash', ATOMFS_FUSE, archive, piped])
    expect(readFileSync(piped).equals(readFileSync(whole))).toBe(true)
  })

  test('a damaged file ends it with one line that has its path, and leaves no file', async () => {
    const broken = await mksquashfs(tree, newPlace(), { compressor: 'gzip', extra: ['-noD', '-noF'] })
    const hash = (await appendVerity(broken)).rootHash
    const bytes = readFileSync(broken)
    const at = bytes.indexOf(readFileSync(join(tree, 'many/d1/f1')).subarray(0, 64))
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
    writeFileSync(broken, bytes)
    const file = newPlace()
    expect(await line('pack', broken, file, ...FAST, '--root-hash', hash)).toMatch(/^Error: "[^"]+": /)
    expect(existsSync(file)).toBe(false)
  })

  test('diff takes a root hash, an offset and options for each of its images', async () => {
    const shifted = newPlace()
    writeFileSync(shifted, Buffer.concat([Buffer.alloc(512), readFileSync(image)]))
    const other = ['--other-offset', '512', '--other-root-hash', rootHash, '--other-options', 'subdir=many']
    const { stdout } = await atomfsFuse([
      'diff',
      '--root-hash',
      rootHash,
      '-o',
      'subdir=many',
      image,
      shifted,
      ...other,
    ])
    expect(stdout).toBe('')
    const { status, stderr } = await atomfsFuse(['diff', image, shifted], { allowFailure: true })
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringContaining(shifted) })
  })
})
