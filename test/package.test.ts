import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, posix, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeTempDir, removeTempDir, run } from './library/index.ts'

/** What `npm publish` would upload: the manifest, and the package as it is built from a copy of the sources. */

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

/** How a program that embeds the package may be checked. */
const STRICT = { target: 'es2023', lib: ['es2023'], module: 'nodenext', strict: true, skipLibCheck: false }

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
    const kept = MANIFEST.files.filter((name) => !/^(dist\/|!)/.test(name))
    expect(kept.filter((name) => !existsSync(join(ROOT, name)))).toEqual([])
    expect(readFileSync(join(ROOT, 'LICENSE'), 'utf8')).toMatch(/Apache License\s+Version 2\.0/)
  })
})

describe('the package', () => {
  const temp = makeTempDir()
  const copy = join(temp, 'package')
  let packed: readonly string[] = []

  beforeAll(async () => {
    mkdirSync(copy)
    const sources = [
      'bin',
      'overlay',
      'scripts',
      'squashfs',
      'src',
      'test/library',
      'fixtures',
      'docs',
      'examples',
    ]
    const single = ['package.json', 'package-lock.json', 'tsconfig.json']
    const documents = MANIFEST.files.filter((name) => /^[A-Z]/.test(name))
    for (const name of [...sources, ...single, ...documents]) {
      if (existsSync(join(ROOT, name))) cpSync(join(ROOT, name), join(copy, name), { recursive: true })
    }
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
    // The command that npm runs before packing; its own output would mix with the list.
    expect(MANIFEST.scripts['prepack']).toBe('node scripts/build.mjs --types')
    await run(process.execPath, ['scripts/build.mjs', '--types'], { cwd: copy, timeout: 100_000 })
    const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: copy,
      env: { npm_config_cache: join(temp, 'npm'), npm_config_update_notifier: 'false' },
    })
    const [report]: { files: { path: string }[] }[] = JSON.parse(stdout)
    packed = report!.files.map((file) => file.path)
  }, 120_000)

  afterAll(() => removeTempDir(temp))

  test('the package contains the programs, the bundles and every target of exports', () => {
    const targets = Object.values(MANIFEST.exports).flatMap((target) =>
      typeof target === 'string' ? [target] : Object.values(target),
    )
    const wanted = [...Object.values(MANIFEST.bin), ...targets].map((path) => posix.normalize(path))
    const threads = ['cli', 'daemon', 'dispatcher', 'data-worker', 'scan'].map((name) => `dist/${name}.js`)
    expect(packed).toEqual(expect.arrayContaining([...wanted, ...threads, 'package.json', 'LICENSE']))
  })

  test('the package contains no tests, sources, fixtures or maps', () => {
    const allowed =
      /^(bin\/[a-z-]+|examples\/[a-z]+\.mjs|dist\/[\w-]+\.js|dist\/types\/.+\.d\.ts|docs\/.+\.(md|svg)|[A-Z]+\.md)$/
    const others = packed.filter((path) => !allowed.test(path) && !['package.json', 'LICENSE'].includes(path))
    expect(others).toEqual([])
    expect(packed.filter((path) => path.includes('test'))).toEqual([])
  })

  test('the package contains every file that its README links to', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
    const links = [...readme.matchAll(/\]\(([^)#\s]+)/g)].map((match) => match[1]!)
    const inside = links.filter((link) => !/^[a-z]+:/.test(link))
    expect(inside.length).toBeGreaterThan(3)
    const missing = inside.filter(
      (link) => !packed.some((path) => path === link || path.startsWith(link.replace(/\/?$/, '/'))),
    )
    expect(missing).toEqual([])
  })

  test('the package exports its parts under its own name', async () => {
    const parts: Readonly<Record<string, string>> = {
      'atomfs-fuse': 'buildMoleculeFromOci',
      'atomfs-fuse/squashfs': 'openSquashfs',
      'atomfs-fuse/overlay': 'MergedTree',
      'atomfs-fuse/verity': 'appendVerityData',
      'atomfs-fuse/fuse': 'Protocol',
    }
    expect(Object.keys(parts)).toEqual(
      Object.keys(MANIFEST.exports)
        .filter((name) => name !== './package.json')
        .map((name) => posix.join('atomfs-fuse', name)),
    )
    for (const [specifier, name] of Object.entries(parts)) {
      const code = `import(${JSON.stringify(specifier)}).then((part) => console.log(typeof part[${JSON.stringify(name)}]))`
      const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', code], { cwd: copy })
      expect(`${specifier}: ${stdout.trim()}`).toBe(`${specifier}: function`)
    }
  })

  test('the example of docs/library.md runs', async () => {
    const page = readFileSync(join(ROOT, 'docs/library.md'), 'utf8')
    const blocks = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]!)
    const [code] = blocks.filter((block) => block.includes("from 'atomfs-fuse/squashfs'"))
    const blobs = join(ROOT, 'fixtures/oci/blobs/sha256')
    const layer = join(blobs, 'f8ab5b3f5bd188531e259d0d8595b6c040d43963aeb08f338db9c318694b3803')
    const { stdout } = await run(process.execPath, ['--input-type=module', '-', layer], {
      cwd: copy,
      input: code!,
    })
    expect(stdout).toMatch(/^directory \/bin\nfile \/bin\/hello\nsymlink \/bin\/hey\n/)
    expect(stdout).toMatch(/\ngreeting = hello from the bottom layer\n$/)
  })

  describe('the examples', () => {
    const blob = (digest: string): string => join(copy, 'fixtures/oci/blobs/sha256', digest)
    const layer = blob('a67f6b8ca53e7c8340096fe71aca6e49b7a48168e4ae23166af6e9875b20e5ff')
    const runExample = async (name: string, ...args: readonly string[]): Promise<string> =>
      (await run(process.execPath, [join('examples', name), ...args], { cwd: copy })).stdout

    test('the examples type-check against the types of the package', async () => {
      const compilerOptions = { ...STRICT, noEmit: true, checkJs: true, types: ['node'] }
      const config = { compilerOptions, include: ['examples/*.mjs'] }
      writeFileSync(join(copy, 'tsconfig.examples.json'), JSON.stringify(config))
      await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.examples.json'], {
        cwd: copy,
        timeout: 100_000,
      })
    })

    test('the example read.mjs reads an image', async () => {
      expect(await runExample('read.mjs', layer)).toContain('\n0777 5 /bin/hey -> hello\n')
      expect(await runExample('read.mjs', layer, '/bin/hey')).toMatch(/^#!\/bin\/sh\n/)
    })

    test('the example verity.mjs adds a hash tree', async () => {
      const stdout = await runExample('verity.mjs', layer, join(temp, 'verified'))
      expect(stdout).toMatch(/^root hash [0-9a-f]{64}\nroot directory: bin etc var\nverified: 4096 bytes\n$/)
    })

    test('the example merge.mjs merges directories', async () => {
      for (const name of ['lower', 'upper']) mkdirSync(join(temp, name))
      for (const name of ['lower/a', 'lower/b', 'upper/c', 'upper/.wh.a']) {
        writeFileSync(join(temp, name), '')
      }
      expect(await runExample('merge.mjs', join(temp, 'lower'), join(temp, 'upper'))).toBe('b\nc\n')
    })

    test('the example mount.mjs reports why there is no mount', async () => {
      const oci = join(copy, 'fixtures/oci')
      await expect(runExample('mount.mjs', oci, 'none', join(temp, 'target'))).rejects.toThrow(/ENOENT/)
    })
  })

  test('the package runs by both program names, through the links that npm makes', async () => {
    const folder = join(temp, 'linked')
    mkdirSync(folder)
    for (const [name, path] of Object.entries(MANIFEST.bin)) {
      const link = join(folder, name)
      symlinkSync(join(copy, path), link)
      expect(lstatSync(link).isSymbolicLink()).toBe(true)
      expect((await run(link, ['--version'])).stdout).toBe(`${MANIFEST.version}\n`)
      expect((await run(link, ['--help'])).stdout).toMatch(new RegExp(`^Usage: ${name} `))
    }
  })
})
