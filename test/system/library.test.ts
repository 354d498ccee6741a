import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import type { MountOciOptions } from '../../src/index.ts'
import { isMounted, needs, run, titled, unmount, withTempDir } from '../library/index.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const BUILT = path.join(ROOT, 'dist/index.js')
const OCI = path.join(ROOT, 'fixtures/oci')

type Library = typeof import('../../src/index.ts')

/** Runs with a target, and a folder for runtime data that the library is told of. */
async function withPlaces(use: (library: Library, options: MountOciOptions) => Promise<void>): Promise<void> {
  await withTempDir(async (directory) => {
    const target = path.join(directory, 'target')
    fs.mkdirSync(target)
    try {
      const library = (await import(BUILT)) as Library
      await use(library, { ociDir: OCI, tag: 'demo', target, metadataDir: path.join(directory, 'run') })
    } finally {
      await unmount(target)
    }
  })
}

describe('the library', () => {
  const need = needs('fuse')
  test.skipIf(!need.ok)(titled('the library mounts, reads and unmounts an OCI image', need), async () => {
    const { buildMoleculeFromOci, FsError, umountWithMetadir } = (await import(
      BUILT
    )) as typeof import('../../src/index.ts')
    await withTempDir(async (directory) => {
      const target = path.join(directory, 'target')
      fs.mkdirSync(target)
      const options = {
        ociDir: path.join(ROOT, 'fixtures/oci'),
        tag: 'demo',
        target,
        metadataDir: path.join(directory, 'run'),
      }
      const molecule = buildMoleculeFromOci(options)
      expect(molecule.layers.map((layer) => layer.compressor)).toEqual(['gzip', 'zstd', 'zstd'])
      try {
        const place = molecule.metadataPath()
        expect(await molecule.mount()).toEqual([])
        expect(molecule.metadataPath()).toBe(place)
        const written = JSON.parse(fs.readFileSync(path.join(place, 'config.json'), 'utf8'))
        expect(written).toMatchObject({ OCIDir: options.ociDir, Tag: 'demo', Target: target })
        expect(fs.existsSync(molecule.mountedAtomsPath())).toBe(false)
        expect(isMounted(target)).toBe(true)
        expect(fs.readdirSync(target)).toContain('bin')
        await molecule.umount()
        expect(isMounted(target)).toBe(false)
        await expect(molecule.umount()).rejects.toThrow('is not mounted')
        await buildMoleculeFromOci({ ...options, addWriteableOverlay: true }).mount()
        fs.writeFileSync(path.join(target, 'new'), 'new')
        await umountWithMetadir(target, options.metadataDir)
        expect(isMounted(target)).toBe(false)
        const writeableOverlayPath = path.join(directory, 'changes')
        const kept = buildMoleculeFromOci({ ...options, addWriteableOverlay: true, writeableOverlayPath })
        await kept.mount()
        expect(fs.existsSync(path.join(target, 'new'))).toBe(false)
        fs.writeFileSync(path.join(target, 'kept'), 'kept')
        await kept.umount()
        expect(fs.readFileSync(path.join(writeableOverlayPath, 'persist/kept'), 'utf8')).toBe('kept')
      } finally {
        await unmount(target)
      }
      expect(() => buildMoleculeFromOci({ ...options, tag: 'nope' })).toThrow(/demo/)
      expect(FsError.name).toBe('FsError')
    })
  })

  test.skipIf(!need.ok)(titled('the library tells by a code why there is no mount', need), async () => {
    await withPlaces(async ({ buildMoleculeFromOci, umount }, options) => {
      const codeOfMount = async (changed: Partial<MountOciOptions>): Promise<unknown> =>
        await buildMoleculeFromOci({ ...options, ...changed })
          .mount()
          .then(
            () => 'mounted',
            (error: { code: unknown }) => error.code,
          )
      const file = path.join(options.target, '../file')
      fs.writeFileSync(file, '')
      expect(await codeOfMount({ target: path.join(file, '../none') })).toBe('ENOENT')
      expect(await codeOfMount({ target: file })).toBe('ENOTDIR')
      expect(await codeOfMount({ target: '' })).toBe('EINVAL')
      expect(await codeOfMount({ writeableOverlayPath: path.join(file, 'x') })).toBe('ENOTDIR')
      expect(await codeOfMount({ tag: 'demo-noverity' })).toBe('EINVAL')
      expect(await codeOfMount({})).toBe('mounted')
      expect(await codeOfMount({})).toBe('EBUSY')
      const open = fs.openSync(path.join(options.target, 'bin/hello'), 'r')
      await expect(umount(options.target, options.metadataDir)).rejects.toMatchObject({ code: 'EBUSY' })
      fs.closeSync(open)
      expect(await umount(options.target, options.metadataDir)).toEqual([])
      await expect(umount(options.target, options.metadataDir)).rejects.toMatchObject({ code: 'EINVAL' })
    })
  })

  test.skipIf(!need.ok)(titled('the library tells the status of a mount', need), async () => {
    await withPlaces(async ({ buildMoleculeFromOci, mountStatus, umount }, options) => {
      await buildMoleculeFromOci(options).mount()
      const status = await mountStatus(options.target, options.metadataDir)
      expect(status).toMatchObject({ target: options.target, writable: false, driver: 'builtin' })
      expect(status.layers.map(({ state }) => state)).toEqual(['verified', 'verified', 'verified'])
      // As in Go, no text stands for no folder of one's own.
      await expect(buildMoleculeFromOci({ ...options, metadataDir: '' }).mount()).rejects.toMatchObject({
        code: 'EBUSY',
      })
      expect(fs.readdirSync('.')).not.toContain('meta')
      await umount(options.target, options.metadataDir)
      await expect(mountStatus(options.target)).rejects.toMatchObject({ code: 'EINVAL' })
    })
  })

  test.skipIf(!need.ok)(
    titled('the library keeps no descriptor and no listener of mounts that are gone', need),
    async () => {
      await withPlaces(async ({ buildMoleculeFromOci }, options) => {
        const kept = (): unknown => ({
          descriptors: fs.readdirSync('/proc/self/fd').length,
          listeners: process.eventNames().map((name) => [name, process.listenerCount(name)]),
        })
        const round = async (changed: Partial<MountOciOptions>): Promise<void> => {
          const molecule = buildMoleculeFromOci({ ...options, ...changed })
          await molecule.mount()
          expect(await molecule.umount()).toEqual([])
          const wrong = { ...options, target: path.join(options.target, 'none') }
          await expect(buildMoleculeFromOci(wrong).mount()).rejects.toMatchObject({ code: 'ENOENT' })
        }
        await round({})
        const before = kept()
        for (let i = 0; i < 3; i++) await round({ addWriteableOverlay: i % 2 === 1 })
        expect(kept()).toEqual(before)
      })
    },
  )

  test('the library ends a verification by a signal, and by an error of whoever is told of its progress', async () => {
    const { verifySource } = (await import(BUILT)) as Library
    const before = fs.readdirSync('/proc/self/fd').length
    const source = `${OCI}:demo`
    const aborter = new AbortController()
    const aborted = verifySource({ source, signal: aborter.signal }, () => aborter.abort(new Error('enough')))
    await expect(aborted).rejects.toThrow('enough')
    await expect(verifySource({ source, signal: aborter.signal })).rejects.toThrow('enough')
    const failed = verifySource({ source }, () => {
      throw new Error('progress')
    })
    await expect(failed).rejects.toThrow('progress')
    const { layers } = await verifySource({ source, signal: new AbortController().signal })
    expect(layers.map(({ state }) => state)).toEqual(['verified', 'verified', 'verified'])
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before)
  })

  test.skipIf(!need.ok)(titled('the program of docs/library.md mounts an image', need), async () => {
    await withPlaces(async (_, { target, metadataDir }) => {
      const page = fs.readFileSync(path.join(ROOT, 'docs/library.md'), 'utf8')
      const block = /```js\n([\s\S]*?buildMoleculeFromOci[\s\S]*?)```/.exec(page)?.[1] ?? ''
      expect(block).toContain("target: '/mnt/demo'")
      const code = block
        .replace("'/mnt/demo'", JSON.stringify(target))
        .replace('await molecule.umount()', `console.log(readdirSync(${JSON.stringify(target)}).join())\n$&`)
      const { stdout } = await run(process.execPath, ['--input-type=module', '-'], {
        cwd: ROOT,
        env: { ATOMFS_TEST_RUN_DIR: metadataDir },
        input: `import { readdirSync } from 'node:fs'\n${code}`,
      })
      expect(stdout).toBe('bin,etc,srv,var\n')
      expect(isMounted(target)).toBe(false)
    })
  })

  test.skipIf(!need.ok)(
    titled('the example atomfs.mjs shows where the data of a mount are', need),
    async () => {
      await withPlaces(async (_, { ociDir, tag, target, metadataDir = '' }) => {
        const args = ['examples/atomfs.mjs', ociDir, tag, target, metadataDir]
        const { stdout } = await run(process.execPath, args, {
          cwd: ROOT,
          env: { ATOMFS_TEST_RUN_DIR: undefined },
        })
        expect(stdout).toContain(`below ${metadataDir}, in the namespace `)
        expect(stdout.match(/^verified sha256:/gm)?.length).toBe(3)
        expect(isMounted(target)).toBe(false)
        const wanted = JSON.parse(fs.readFileSync(path.join(metadataDir, 'wanted.json'), 'utf8'))
        const shown = JSON.parse(/^config\.json: (.*)$/m.exec(stdout)?.[1] ?? '')
        expect(shown).toEqual(wanted)
      })
    },
  )

  test.skipIf(!need.ok)(titled('the library mounts in the documented example', need), async () => {
    await withTempDir(async (directory) => {
      const target = path.join(directory, 'target')
      try {
        const { stdout } = await run(
          process.execPath,
          ['examples/mount.mjs', path.join(ROOT, 'fixtures/oci'), 'demo', target],
          { cwd: ROOT, env: { ATOMFS_TEST_RUN_DIR: path.join(directory, 'run') } },
        )
        expect(stdout.match(/^layer .*, \d+ bytes$/gm)?.length).toBe(3)
        expect(stdout).toMatch(/\nmounted: bin .*\n$/)
        expect(isMounted(target)).toBe(false)
      } finally {
        await unmount(target)
      }
    })
  })
})
