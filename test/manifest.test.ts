import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')

interface Manifest {
  readonly version: string
  readonly engines: { readonly node: string }
  readonly os: readonly string[]
  readonly bin: Readonly<Record<string, string>>
  readonly files: readonly string[]
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly scripts: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>
}

const MANIFEST: Manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

describe('package.json', () => {
  test('package.json names exact versions', () => {
    const { dependencies, devDependencies, optionalDependencies, peerDependencies } = MANIFEST
    const all = { ...dependencies, ...devDependencies, ...optionalDependencies, ...peerDependencies }
    expect(Object.keys(all).length).toBeGreaterThan(5)
    expect(Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
  })

  test('package.json makes every peer optional, and the lock file installs none', () => {
    const peers = Object.keys(MANIFEST.peerDependencies)
    expect(peers).toEqual(['fuse-native'])
    expect(MANIFEST.peerDependenciesMeta).toEqual(
      Object.fromEntries(peers.map((name) => [name, { optional: true }])),
    )
    const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
    expect(peers.filter((name) => `node_modules/${name}` in lock.packages)).toEqual([])
  })

  test('the lock file has the versions of package.json', () => {
    const lock: {
      packages: Record<
        string,
        Partial<Pick<Manifest, 'dependencies' | 'devDependencies' | 'peerDependencies' | 'engines' | 'bin'>>
      >
    } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
    const { dependencies, devDependencies, peerDependencies, engines, bin } = lock.packages['']!
    expect({ dependencies, devDependencies, peerDependencies, engines, bin }).toEqual({
      dependencies: MANIFEST.dependencies,
      devDependencies: MANIFEST.devDependencies,
      peerDependencies: MANIFEST.peerDependencies,
      engines: MANIFEST.engines,
      bin: MANIFEST.bin,
    })
  })

  test('package.json requires the same Node version as setup.sh and doctor', () => {
    const [, major, minor] = /^>=(\d+)\.(\d+)$/.exec(MANIFEST.engines.node)!
    expect(readFileSync(join(ROOT, 'scripts/setup.sh'), 'utf8')).toContain(`"$minor" -lt ${minor} ]`)
    expect(readFileSync(join(ROOT, 'src/daemon/client/doctor.ts'), 'utf8')).toContain(`[${major}, ${minor}]`)
    expect(MANIFEST.os).toEqual(['linux'])
  })

  test('package.json names programs that are executable', () => {
    expect(Object.keys(MANIFEST.bin).sort()).toEqual(['atomfs', 'atomfs-fuse'])
    for (const path of Object.values(MANIFEST.bin)) accessSync(join(ROOT, path), constants.X_OK)
  })

  test('package.json lists only files that exist or that the build makes', () => {
    const kept = MANIFEST.files.filter((name) => !/^(dist\/|man$|!)/.test(name))
    expect(kept.filter((name) => !existsSync(join(ROOT, name)))).toEqual([])
    expect(readFileSync(join(ROOT, 'LICENSE'), 'utf8')).toMatch(/Apache License\s+Version 2\.0/)
  })
})
