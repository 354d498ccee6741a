import {
  chmodSync,
  chownSync,
  createReadStream,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import {
  AS_SOURCE,
  archiveLayer,
  buildLayers,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  mountsBelow,
  needs,
  removeTempDir,
  run,
  type TreeEntry,
  tarEnd,
  tarEntry,
  titled,
  walkTree,
  withKernelOverlay,
  withTempDir,
  writeTarImage,
} from '../library/index.ts'

/** The built library: its daemon is a program of its own. */
const BUILT = resolve(import.meta.dirname, '../../dist/index.js')
const library = (await import(BUILT)) as typeof import('../../src/index.ts')
const { CachingLayerResolver, defaultNewOverlayMount, LayerWorkdir, OverlayMount, openImageLayers } = library
const { buildMoleculeFromOci, extractSource, inspectSource, prepareSource, TarballApplicator } = library
const { verifySource, withNewOverlayMountFn } = library
type Layers = Awaited<ReturnType<typeof openImageLayers>>
type Mount = import('../../src/index.ts').Mount
type NewOverlayMountFn = import('../../src/index.ts').NewOverlayMountFn
type LayerResolver = import('../../src/index.ts').LayerResolver
type WorkDirOptions = import('../../src/index.ts').WorkDirOptions
type NewLayerWorkdirOption = import('../../src/index.ts').NewLayerWorkdirOption

const need = needs('root', 'fuse', 'tar', 'umoci', 'kernel-overlayfs')
const FILE = { type: 'file', mode: 0o644, uid: 0, mtime: 1_000_000_000 } as const
const DIRECTORY = { type: 'directory', mode: 0o755, uid: 0, mtime: 1_000_000_000 } as const

/** Deleted names still count as links of a file in a merge, and directories are counted by each file system its own way. */
const AS_SHOWN = { ...AS_SOURCE, ignore: ['blocks', 'nlink'] } as const

let folder: string
let source: string
let shown: TreeEntry[]

beforeAll(async () => {
  if (!need.ok) return
  folder = makeTempDir()
  vi.stubEnv('ATOMFS_TEST_RUN_DIR', join(folder, 'run'))
  vi.stubEnv('ATOMFS_STORE', join(folder, 'store'))
  const trees = join(folder, 'trees')
  mkdirSync(join(trees, 'base'), { recursive: true })
  buildSourceTree(join(trees, 'base'), { size: 'small' })
  mkdirSync(join(trees, 'above'))
  const above = buildLayers(join(trees, 'above'), { seed: 11, form: 'user', count: 2 })
  const layers = await Promise.all([join(trees, 'base'), ...above].map(archiveLayer))
  writeTarImage(join(folder, 'image'), { tag: 't', layers })
  source = `${join(folder, 'image')}:t`
}, 60_000)
afterAll(() => {
  vi.unstubAllEnvs()
  if (folder !== undefined) removeTempDir(folder)
})

async function withLayers<T>(use: (layers: Layers['layers']) => Promise<T>): Promise<T> {
  const image = await openImageLayers(source)
  try {
    return await use(image.layers)
  } finally {
    image.close()
  }
}

async function* bytes(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts
}

const archive = (...members: Parameters<typeof tarEntry>[0][]): AsyncGenerator<Uint8Array> =>
  bytes(...members.map(tarEntry), tarEnd())

describe.skipIf(!need.ok)(titled('layers by the library', need), () => {
  test('an image of tar layers is indexed once, and then inspected, mounted, verified and extracted', async () => {
    const target = join(folder, 'target')
    mkdirSync(target)
    const molecule = buildMoleculeFromOci({ ociDir: join(folder, 'image'), tag: 't', target })
    expect(() => molecule.layers).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    const told: number[] = []
    expect(await prepareSource(source, { onLayer: (position) => told.push(position) })).toBe(3)
    expect(told).toEqual([1, 2, 3])
    expect(await prepareSource(source)).toBe(0)
    expect(molecule.layers.map(({ kind }) => kind)).toEqual(['tar', 'tar', 'tar'])
    expect(inspectSource(source).layers).toHaveLength(3)
    await molecule.mount()
    try {
      shown = walkTree(target)
    } finally {
      await molecule.umount()
    }
    vi.stubEnv('ATOMFS_STORE', join(folder, 'another-store'))
    try {
      expect((await verifySource({ source })).layers.every(({ state }) => state === 'verified')).toBe(true)
      await extractSource({ source, directory: join(folder, 'extracted') })
    } finally {
      vi.stubEnv('ATOMFS_STORE', join(folder, 'store'))
    }
    expect(readdirSync(join(folder, 'another-store/layers/sha256'))).toHaveLength(3)
    const ignore = [...AS_SHOWN.ignore, 'xattrs'] as const
    expect(compareTrees(walkTree(join(folder, 'extracted')), shown, { ...AS_SHOWN, ignore })).toEqual([])
  })

  test('all layers applied to one directory make the tree that a mount shows, and umoci', async () => {
    const root = join(folder, 'applied')
    mkdirSync(root)
    const applicator = new TarballApplicator()
    await withLayers(async (layers) => {
      for (const layer of layers) await applicator.apply(layer.open(), root)
    })
    expect(compareTrees(walkTree(root), shown, AS_SHOWN)).toEqual([])
    await run('umoci', ['unpack', '--image', source, join(folder, 'umoci')])
    const ignore = [...AS_SHOWN.ignore, 'xattrs'] as const
    const theirs = walkTree(join(folder, 'umoci/rootfs'))
    expect(compareTrees(walkTree(root), theirs, { ...AS_SHOWN, ignore })).toEqual([])
  })

  test('layers are resolved to directories that overlayfs merges, each once', async () => {
    const root = join(folder, 'resolved')
    const resolver: LayerResolver = new CachingLayerResolver(root)
    await withLayers(async (layers) => {
      const [first, second, third] = layers
      // Parents that are missing are written as well; two at once write one.
      const both = await Promise.all([
        resolver.resolve(third!, first!, second!),
        new CachingLayerResolver(root).resolve(third!, first!, second!),
      ])
      expect(both[0]).toBe(both[1])
      const paths = [await resolver.resolve(first!), await resolver.resolve(second!, first!), both[0]]
      expect(paths[0]).toBe(join(root, first!.diffId.replace(':', '/')))
      expect(readdirSync(join(root, 'sha256')).sort()).toEqual(
        paths.map((path) => path.slice(path.lastIndexOf('/') + 1)).sort(),
      )
      const times = paths.map((path) => lstatSync(path).ctimeMs)
      expect(await resolver.resolve(third!, first!, second!)).toBe(paths[2])
      expect(paths.map((path) => lstatSync(path).ctimeMs)).toEqual(times)
      const merged = await withKernelOverlay(folder, paths.toReversed(), (target) =>
        walkTree(target, { skipGhosts: true }),
      )
      const ignoreXattr = (name: string): boolean => name.startsWith('user.overlay.')
      expect(compareTrees(merged, shown, { ...AS_SHOWN, ignoreXattr })).toEqual([])
      // Over nothing the layer is another one.
      expect(await resolver.resolve(second!)).not.toBe(paths[1])
    })
    expect(statSync(root).mode & 0o777).toBe(0o700)
  })

  test('a layer that is not what its name says is refused, and nothing of it is left', async () => {
    const root = join(folder, 'refused')
    const resolver = new CachingLayerResolver(root)
    await withLayers(async ([first, second]) => {
      const wrong = { ...second!, open: () => first!.open() }
      await expect(resolver.resolve(wrong)).rejects.toThrow(/^layer sha256:.*the archive in it has digest/)
      const bad = { ...first!, diffId: 'sha256:../../x' }
      await expect(resolver.resolve(bad)).rejects.toThrow(expect.objectContaining({ code: 'EIO' }))
      expect(readdirSync(join(root, 'sha256'))).toEqual([])
      const signal = AbortSignal.abort(new Error('enough'))
      await expect(new CachingLayerResolver(root, { signal }).resolve(first!)).rejects.toThrow('enough')
      chmodSync(root, 0o777)
      await expect(resolver.resolve(first!)).rejects.toThrow(expect.objectContaining({ code: 'EPERM' }))
    })
  })

  test('a layer is made in a work directory by what is done in the overlay of its parents', async () => {
    const parent = join(folder, 'parent')
    mkdirSync(join(parent, 'd/sub'), { recursive: true })
    writeFileSync(join(parent, 'd/sub/f'), 'old')
    writeFileSync(join(parent, 'gone'), '')
    chmodSync(parent, 0o1755)
    const workdir = await LayerWorkdir.make(join(folder, 'work'), 'sha256:abc', [parent])
    const made = join(folder, 'made')
    try {
      expect(workdir.path).toMatch(/\/work\/sha256:abc-\w{6}$/)
      const layer = archive(
        { ...FILE, path: '.wh.gone' },
        { ...FILE, path: 'd/.wh.sub' },
        { ...FILE, path: 'new', content: 'x' },
      )
      await new TarballApplicator().apply(layer, workdir.applyPath)
      expect(readdirSync(workdir.applyPath).sort()).toEqual(['d', 'new'])
      renameSync(workdir.resultPath, made)
    } finally {
      await workdir.cleanup()
    }
    expect(readdirSync(join(folder, 'work'))).toEqual([])
    expect(mountsBelow(folder)).toEqual([])
    expect([lstatSync(join(made, 'gone')), lstatSync(join(made, 'd/sub'))].map((one) => one.rdev)).toEqual([
      0, 0,
    ])
    expect(lstatSync(made).mode & 0o7777).toBe(0o1755)
    await withKernelOverlay(folder, [made, parent], (target) => {
      expect(readdirSync(target).sort()).toEqual(['d', 'new'])
      expect(readdirSync(join(target, 'd'))).toEqual([])
    })
  })

  test('a work directory takes another mount, and leaves nothing where that fails', async () => {
    const seen: (readonly string[])[] = []
    const newOverlayMount: NewOverlayMountFn = (path, parents): Mount => {
      seen.push(parents)
      const { mountpoint, lower, upper } = defaultNewOverlayMount(path, parents)
      expect([mountpoint, upper]).toEqual([join(path, 'merged'), join(path, 'upper')])
      expect(lower).toEqual(parents.length === 0 ? [join(path, 'lower')] : parents)
      const fail = parents.length > 0
      return {
        mount: async () => (fail ? Promise.reject(new Error('no mount')) : undefined),
        unmount: async () => {},
      }
    }
    const option: NewLayerWorkdirOption = withNewOverlayMountFn(newOverlayMount)
    const options: WorkDirOptions = option({ newOverlayMount: defaultNewOverlayMount })
    expect(options.newOverlayMount).toBe(newOverlayMount)
    const dir = join(folder, 'other-work')
    await (await LayerWorkdir.make(dir, 'x', [], option)).cleanup()
    await expect(LayerWorkdir.make(dir, 'x', [folder], option)).rejects.toThrow('no mount')
    await expect(LayerWorkdir.make(dir, '../x', [])).rejects.toThrow(/^digest/)
    expect(seen).toEqual([[], [folder]])
    expect(readdirSync(dir)).toEqual([])
  })

  test('an overlay has its layers the right way up, and paths with colons and commas', async () => {
    const place = join(folder, 'over,"lay:s')
    const [base, top, upper, work, mountpoint] = ['base', 'to\\p', 'upper', 'work', 'm'].map((name) => {
      mkdirSync(join(place, name), { recursive: true })
      return join(place, name)
    })
    writeFileSync(join(base!, 'f'), 'base')
    writeFileSync(join(top!, 'f'), 'top')
    const overlay = new OverlayMount({
      mountpoint: mountpoint!,
      lower: [base!, top!],
      upper: upper!,
      work: work!,
    })
    await overlay.mount()
    try {
      expect(readFileSync(join(mountpoint!, 'f'), 'utf8')).toBe('top')
      writeFileSync(join(mountpoint!, 'g'), '')
    } finally {
      await overlay.unmount()
    }
    expect(readdirSync(upper!)).toEqual(['g'])
    expect(() => new OverlayMount({ mountpoint: 'm', lower: [], upper: 'u', work: 'w' })).toThrow(/^lower/)
  })

  test('marks take away what was there before, wherever they stand, and never through a link', () =>
    withTempDir(async (place) => {
      const [root, outside] = [join(place, 'root'), join(place, 'outside')]
      for (const path of [join(root, 'd/old'), join(root, 'e'), outside]) mkdirSync(path, { recursive: true })
      for (const path of [
        join(root, 'd/a'),
        join(root, 'd/old/b'),
        join(root, 'e/f'),
        join(outside, 'kept'),
      ]) {
        writeFileSync(path, 'before')
      }
      symlinkSync(outside, join(root, 'link'))
      symlinkSync('../outside', join(root, 'up'))
      symlinkSync('e', join(root, 'to-e'))
      const times = (path: string): number => lstatSync(path).mtimeMs
      const e = times(join(root, 'e'))
      const counts = await new TarballApplicator().apply(
        archive(
          { ...FILE, path: 'd/new/c', content: 'after' },
          { ...FILE, path: 'd/.wh..wh..opq' },
          { ...FILE, path: 'link/.wh..wh..opq' },
          { ...FILE, path: 'up/x', content: 'inside' },
          { ...FILE, path: 'to-e/.wh.f' },
          { ...FILE, path: '.wh.missing' },
        ),
        root,
      )
      expect(counts).toMatchObject({ files: 2, removed: 3, skippedDevices: 0 })
      expect(readdirSync(join(root, 'd'))).toEqual(['new'])
      expect(readdirSync(join(root, 'link'))).toEqual([])
      expect(readdirSync(join(root, 'e'))).toEqual([])
      // What a link leads to outside is inside for the archive.
      expect(readFileSync(join(root, 'outside/x'), 'utf8')).toBe('inside')
      expect(readdirSync(outside)).toEqual(['kept'])
      expect(times(join(root, 'e'))).toBe(e)
    }))

  test('what is applied takes the place of what was there, of whatever type', () =>
    withTempDir(async (place) => {
      mkdirSync(join(place, 'dir/sub'), { recursive: true })
      mkdirSync(join(place, 'kept'))
      writeFileSync(join(place, 'kept/f'), '')
      chownSync(join(place, 'kept'), 5, 6)
      writeFileSync(join(place, 'file'), '')
      writeFileSync(join(place, 'target'), 'not written through')
      symlinkSync('target', join(place, 'link'))
      await new TarballApplicator().apply(
        archive(
          { ...FILE, path: 'dir', content: 'a file' },
          { ...DIRECTORY, path: 'file/', mode: 0o2775 },
          { ...FILE, path: 'link', content: 'a file, too' },
          { ...DIRECTORY, path: 'kept/', uid: 7 },
          { ...FILE, path: 'hard', type: 'link', target: 'late' },
          { ...FILE, path: 'late', content: 'late' },
        ),
        place,
      )
      expect(readFileSync(join(place, 'dir'), 'utf8')).toBe('a file')
      expect(lstatSync(join(place, 'file')).mode & 0o7777).toBe(0o2775)
      expect(readFileSync(join(place, 'target'), 'utf8')).toBe('not written through')
      expect(lstatSync(join(place, 'kept')).uid).toBe(7)
      expect(existsSync(join(place, 'kept/f'))).toBe(true)
      expect(lstatSync(join(place, 'hard')).ino).toBe(lstatSync(join(place, 'late')).ino)
    }))

  test('an archive that no tree can be made of is refused in one line, and a missing directory', async () => {
    const applicator = new TarballApplicator()
    await expect(applicator.apply(archive(), join(folder, 'none'))).rejects.toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    )
    await expect(applicator.apply(archive(), join(BUILT))).rejects.toThrow(
      expect.objectContaining({ code: 'ENOTDIR' }),
    )
    await withTempDir(async (place) => {
      const rejects = (...members: Parameters<typeof tarEntry>[0][]) =>
        expect(applicator.apply(archive(...members), place)).rejects
      await rejects({ ...FILE, path: '.' }).toThrow(/root something else than a directory/)
      await rejects({ ...FILE, path: '../x' }).toThrow(/leads upwards/)
      await rejects({ ...FILE, path: 'x', type: 'link', target: 'nowhere' }).toThrow(
        /^hard link "x": there is no/,
      )
      await expect(applicator.apply(createReadStream('/dev/null'), place)).resolves.toMatchObject({
        files: 0,
      })
      expect(readdirSync(place)).toEqual([])
    })
  })

  test('what a bundle is made of may be an image of tar layers', async () => {
    vi.stubEnv('ATOMFS_STORE', join(folder, 'store-of-bundles'))
    try {
      const { createBundle } = library
      const bundle = await createBundle({
        source,
        directory: join(folder, 'bundle'),
        spec: { args: ['true'] },
      })
      try {
        expect(walkTree(join(bundle.path, 'rootfs')).length).toBe(shown.length)
      } finally {
        await bundle.cleanup()
      }
    } finally {
      vi.stubEnv('ATOMFS_STORE', join(folder, 'store'))
    }
  })
})
