import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeOciSif } from '../library/images/sif.ts'
import {
  AS_SOURCE,
  archiveLayer,
  atomfsFuse,
  buildLayers,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  type StoredLayer,
  TAR_GZIP_MEDIA_TYPE,
  type TreeEntry,
  titled,
  walkTree,
  withAtomfs,
  writeTarImage,
} from '../library/index.ts'
import { filtered } from '../tar/blob-forms.ts'

const need = needs('root', 'fuse', 'tar', 'xz')
const temp = makeTempDir()
const tar = join(temp, 'tar')
const image = `${tar}:t`
const store = join(temp, 'store')
/** A layer that is converted has its own numbers of links. */
const AS_SHOWN = { ...AS_SOURCE, ignore: ['blocks', 'nlink'] } as const
let archives: readonly Buffer[] = []
let squashfs: readonly StoredLayer[] = []
let shown: readonly TreeEntry[] = []

async function refused(args: readonly string[]): Promise<string> {
  const { status, stderr } = await atomfsFuse(args, { allowFailure: true })
  expect({ status, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 1, lines: 1 })
  return stderr
}

/** The layers of the only image of a layout. */
function layersOf(ociDir: string): StoredLayer[] {
  const blob = (digest: string): Buffer => readFileSync(join(ociDir, 'blobs', digest.replace(':', '/')))
  const { manifests } = JSON.parse(readFileSync(join(ociDir, 'index.json'), 'utf8'))
  const { layers } = JSON.parse(blob(manifests[0].digest).toString())
  return layers.map(({ digest, mediaType, annotations }: StoredLayer & { readonly digest: string }) => ({
    bytes: blob(digest),
    mediaType,
    annotations,
  }))
}

/** How each layer is read, as `status` and `inspect` tell. */
function toldOf(json: string): (string | undefined)[] {
  const { layers } = JSON.parse(json)
  return layers.map(
    ({ kind, tar }: { kind: string; tar?: { how: string; bytes: number; checkpoints?: number } }) => {
      expect(kind).toBe(tar?.how === 'indexed' ? 'tar' : 'squashfs')
      if (tar === undefined) return undefined
      expect(tar.bytes).toBeGreaterThan(8192)
      if (tar.how === 'indexed') expect(tar.checkpoints).toBeGreaterThan(0)
      return tar.how
    },
  )
}

beforeAll(async () => {
  process.env['ATOMFS_STORE'] = store
  if (!need.ok) return
  const folder = join(temp, 'layers')
  mkdirSync(join(folder, 'layer0'), { recursive: true })
  buildSourceTree(join(folder, 'layer0'), { size: 'small' })
  const above = join(folder, 'above')
  mkdirSync(above)
  const others = buildLayers(above, { seed: 21, form: 'user', count: 2 })
  archives = await Promise.all([join(folder, 'layer0'), ...others].map(archiveLayer))
  writeTarImage(tar, { tag: 't', layers: archives })
  shown = await withAtomfs(temp, image, ({ target }) => walkTree(target))
  await atomfsFuse(['convert', '--compression', 'gzip:1', image, `${join(temp, 'squashfs')}:t`])
  squashfs = layersOf(join(temp, 'squashfs'))
})
afterAll(() => removeTempDir(temp))

describe.skipIf(!need.ok)(titled('layers of different kinds in one image', need), () => {
  /** Which kind each layer is, bottom first. */
  const MIXED = [
    ['squashfs', 'gzip', 'squashfs'],
    ['gzip', 'squashfs', 'xz'],
  ] as const

  test.each(MIXED)('mount, verify and convert: %s, %s, %s', async (...kinds) => {
    const mixed = join(temp, kinds.join('-'))
    const layers = kinds.map((kind, i) => (kind === 'squashfs' ? squashfs[i]! : archives[i]!))
    const compress = (archive: Buffer, layer: number): Buffer =>
      kinds[layer] === 'xz' ? filtered('xz', ['-0', '-c'], archive) : gzipSync(archive, { level: 1 })
    writeTarImage(mixed, { tag: 't', layers, compress })
    const hows = kinds.map((kind) => ({ squashfs: undefined, gzip: 'indexed', xz: 'converted' })[kind])
    const own = await withAtomfs(temp, `${mixed}:t`, async ({ target, runDir }) => {
      const { stdout } = await atomfsFuse(['status', '--json', target], { runDir })
      expect(toldOf(stdout)).toEqual(hows)
      return walkTree(target)
    })
    expect(compareTrees(own, shown, AS_SHOWN)).toEqual([])
    const { stdout } = await atomfsFuse(['inspect', '--json', `${mixed}:t`])
    expect(toldOf(stdout)).toEqual(hows)
    expect((await atomfsFuse(['verify', `${mixed}:t`])).stdout.match(/: OK$/gm)).toHaveLength(3)
    const converted = `${mixed}-converted:t`
    await atomfsFuse(['convert', '--compression', 'gzip:1', `${mixed}:t`, converted])
    const after = await withAtomfs(temp, converted, ({ target }) => walkTree(target))
    expect(compareTrees(after, shown, AS_SHOWN)).toEqual([])
  })

  test('in an OCI-SIF: tar layers are indexed in the store', async () => {
    const sif = join(temp, 'tar.sif')
    const layers = archives.map((archive) => ({
      data: gzipSync(archive, { level: 1 }),
      mediaType: TAR_GZIP_MEDIA_TYPE,
    }))
    writeFileSync(sif, makeOciSif(layers))
    const own = await withAtomfs(temp, sif, ({ target }) => walkTree(target))
    expect(compareTrees(own, shown, AS_SHOWN)).toEqual([])
  })
})

describe.skipIf(!need.ok)(titled('where the store cannot be written to', need), () => {
  const readOnly = join(temp, 'read-only')
  const indexes = join(temp, 'indexes')

  beforeAll(async () => {
    mkdirSync(readOnly)
    mkdirSync(indexes)
    await run('mount', ['-t', 'tmpfs', '-o', 'ro,size=1m,mode=700', 'store', readOnly])
    process.env['ATOMFS_STORE'] = readOnly
  })
  afterEach(() => chmodSync(indexes, 0o755))
  afterAll(async () => {
    process.env['ATOMFS_STORE'] = store
    await run('umount', [readOnly])
  })

  test.each([[[]], [['--writeable']]])('a mount has indexes in memory: %s', async (args) => {
    const own = await withAtomfs(temp, image, ({ target }) => walkTree(target), args)
    expect(compareTrees(own, shown, AS_SHOWN)).toEqual([])
    expect(readdirSync(readOnly)).toEqual([])
  })

  test('other commands have them, too', async () => {
    expect((await atomfsFuse(['verify', image])).stdout.match(/: OK$/gm)).toHaveLength(3)
    expect((await atomfsFuse(['ls', '-R', image])).stdout.split('\n').length).toBeGreaterThan(50)
  })

  test('they lie where --index-dir says, and are made once', async () => {
    const option = ['--index-dir', indexes]
    await atomfsFuse(['ls', ...option, image])
    const made = readdirSync(indexes).sort()
    expect(made.map((name) => /^[0-9a-f]{64}\.idx$/.test(name))).toEqual([true, true, true])
    const times = made.map((name) => statSync(join(indexes, name)).mtimeMs)
    const own = await withAtomfs(temp, image, ({ target }) => walkTree(target), option)
    expect(compareTrees(own, shown, AS_SHOWN)).toEqual([])
    expect(made.map((name) => statSync(join(indexes, name)).mtimeMs)).toEqual(times)
    expect(await refused(['ls', '--index-dir', join(temp, 'nowhere'), image])).toMatch(/no such directory/)
    chmodSync(indexes, 0o777)
    expect(await refused(['ls', ...option, image])).toMatch(/indexes: others can write to it/)
  })

  test('a layer that would be converted is refused in a line that names the way out', async () => {
    const converted = join(temp, 'needs-conversion')
    const compress = (archive: Buffer): Buffer => filtered('xz', ['-0', '-c'], archive)
    writeTarImage(converted, { tag: 't', layers: archives.slice(0, 1), compress })
    expect(await refused(['mount', `${converted}:t`, temp])).toMatch(/layer sha256:\w+: .*EROFS.*--store DIR/)
  })
})
