import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { isMounted, needs, run, titled, unmount, withTempDir } from '../library/index.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const BUILT = path.join(ROOT, 'dist/index.js')

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
