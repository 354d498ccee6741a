import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { makeTempDir, mountsBelow, needs, removeTempDir, titled } from '../library/index.ts'
import { type ContainerImage, makeContainerImage } from '../library/scenes/containers.ts'

/** The built library: its daemon is a program of its own. */
const BUILT = resolve(import.meta.dirname, '../../dist/index.js')
const library = (await import(BUILT)) as typeof import('../../src/index.ts')
const { CachingBundler, createBundle, RuntimeSpecWriter, supported } = library
const { withCpuLimit, withHostNetwork, withImageConfig, withMemoryLimit, withRootFs, withSpecOptions } =
  library
const { withUser } = library
type RuntimeSpecOption = import('../../src/index.ts').RuntimeSpecOption
type Bundle = import('../../src/index.ts').Bundle

const need = needs('root', 'fuse', 'mksquashfs', 'busybox')

let folder: string
let image: ContainerImage
beforeAll(async () => {
  if (!need.ok) return
  folder = makeTempDir()
  vi.stubEnv('ATOMFS_TEST_RUN_DIR', join(folder, 'run'))
  image = await makeContainerImage(folder, { User: 'app' })
}, 60_000)
afterAll(() => {
  vi.unstubAllEnvs()
  if (folder !== undefined) removeTempDir(folder)
})

describe.skipIf(!need.ok)(titled('the library makes bundles', need), () => {
  test('a bundle has the root file system of the image and is gone after its cleanup', async () => {
    const root = join(folder, 'store')
    const bundler = new CachingBundler(root, { allowMissingVerity: true, size: 1 << 20 })
    const options = [withMemoryLimit('64Mi'), withCpuLimit('500m'), withHostNetwork(), withRootFs(true)]
    const bundle: Bundle = await bundler.bundle(image.source, 'one', ...options)
    try {
      expect(bundle.path).toBe(join(root, 'c', 'one'))
      expect(statSync(bundle.path).mode & 0o777).toBe(0o700)
      expect(readFileSync(join(bundle.path, 'rootfs/data/there'), 'utf8')).toBe('of the image\n')
      writeFileSync(join(bundle.path, 'rootfs/new'), 'x')
      expect(() => writeFileSync(join(bundle.path, 'rootfs/large'), Buffer.alloc(2 << 20))).toThrow(/ENOSPC/)
      const spec = JSON.parse(readFileSync(join(bundle.path, 'config.json'), 'utf8'))
      expect(spec).toEqual(bundle.spec)
      expect(spec.root.readonly).toBe(true)
      expect(spec.process.user).toMatchObject({ uid: 1000, gid: 1000, additionalGids: [29] })
      expect(spec.linux.resources).toMatchObject({ memory: { limit: 64 << 20 }, cpu: { quota: 50_000 } })
      await expect(bundler.bundle(image.source, 'one')).rejects.toThrow(
        expect.objectContaining({ code: 'EEXIST' }),
      )
    } finally {
      await bundle.cleanup()
    }
    expect(existsSync(bundle.path)).toBe(false)
    expect(mountsBelow(folder)).toEqual([])
  })

  test.each(['', '..', 'a/b', '-a', 'x'.repeat(129)])('%j is no id', async (id) => {
    const bundler = new CachingBundler(join(folder, 'none'))
    await expect(bundler.bundle(image.source, id)).rejects.toThrow(/^id .*1 to 128$/)
    expect(existsSync(join(folder, 'none'))).toBe(false)
  })

  test('what cannot be made leaves nothing', async () => {
    const directory = join(folder, 'failed')
    const spec = { user: 'nobody-knows' }
    const request = { source: image.source, directory, allowMissingVerity: true }
    await expect(createBundle({ ...request, spec })).rejects.toThrow(/has no user "nobody-knows"/)
    await expect(createBundle({ ...request, allowMissingVerity: false })).rejects.toThrow(/no root hash/)
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(createBundle({ ...request, signal })).rejects.toThrow('enough')
    expect(existsSync(directory)).toBe(false)
    expect(mountsBelow(folder)).toEqual([])
    expect(readdirSync(join(folder, 'run', 'bundles'))).toEqual([])
  })

  test('config.json can be written beside a root file system of others', async () => {
    const place = join(folder, 'own')
    mkdirSync(place)
    const wanted = { source: image.source, allowMissingVerity: true }
    const spec = await new RuntimeSpecWriter().write(place, wanted, withSpecOptions({ args: ['a', 'b'] }))
    expect(JSON.parse(readFileSync(join(place, 'config.json'), 'utf8'))).toEqual(spec)
    expect(spec.process.args).toEqual(['a', 'b'])
    expect(statSync(join(place, 'config.json')).mode & 0o777).toBe(0o600)
  })

  test('an option gives another configuration of the image, and later options count more', async () => {
    const place = join(folder, 'other')
    mkdirSync(place)
    const wanted = { source: join(folder, 'layer.squashfs') }
    const config = withImageConfig({
      os: 'linux',
      config: { Entrypoint: ['run'], Env: ['A=1'], User: 'root' },
    })
    const own: RuntimeSpecOption = (options) => ({ ...options, hostname: 'here' })
    const write = (...options: RuntimeSpecOption[]) =>
      new RuntimeSpecWriter().write(place, wanted, ...options)
    const spec = await write(config, withUser('app:audio'), own)
    expect(spec.process.args).toEqual(['run'])
    expect(spec.process.env).toContain('A=1')
    expect(spec.process.user).toEqual({ uid: 1000, gid: 29 })
    expect(spec.hostname).toBe('here')
    await expect(write()).rejects.toThrow(/does not say what to run/)
    expect(() => withImageConfig({ config: { Env: 'A=1' } })).toThrow(
      expect.objectContaining({ code: 'EIO' }),
    )
  })

  test('a folder supports bundles where a mount works, and is left as it was', async () => {
    expect(await supported(join(folder, 'trial'))).toBe(true)
    expect(readdirSync(join(folder, 'trial'))).toEqual([])
    writeFileSync(join(folder, 'file'), '')
    expect(await supported(join(folder, 'file'))).toBe(false)
  })
})
