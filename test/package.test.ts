import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { join, posix, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openSquashfs } from '../src/library/squashfs.ts'
import { bundleName, ENTRIES, type EntryName } from '../src/threads.ts'
import { makeLuks } from './library/images/luks.ts'
import { makeSif, SIF_TYPE } from './library/images/sif.ts'
import {
  type InstalledPackage,
  installPackage,
  makeTempDir,
  removeTempDir,
  run,
  tarEnd,
  tarEntry,
  writeTarImage,
} from './library/index.ts'

/** What `npm publish` would upload, and how it works in the project of somebody else. */

const ROOT = resolve(import.meta.dirname, '..')
const MANIFEST: {
  readonly version: string
  readonly bin: Readonly<Record<string, string>>
  readonly man: readonly string[]
  readonly files: readonly string[]
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly scripts: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
} = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const BLOBS = join(ROOT, 'fixtures/oci/blobs/sha256')
const LAYER = join(BLOBS, 'a67f6b8ca53e7c8340096fe71aca6e49b7a48168e4ae23166af6e9875b20e5ff')
const OTHER_LAYER = join(BLOBS, 'f8ab5b3f5bd188531e259d0d8595b6c040d43963aeb08f338db9c318694b3803')

/** What is imported by which name, and a name that it exports. */
const PARTS: Readonly<Record<string, string>> = {
  'atomfs-fuse': 'buildMoleculeFromOci',
  'atomfs-fuse/squashfs': 'openSquashfs',
  'atomfs-fuse/overlay': 'MergedTree',
  'atomfs-fuse/verity': 'appendVerityData',
  'atomfs-fuse/fuse': 'Protocol',
}

const temp = makeTempDir()
let installed: InstalledPackage
let packed: readonly string[] = []

beforeAll(async () => {
  expect(MANIFEST.scripts['prepack']).toBe('node scripts/build.mjs --types')
  installed = await installPackage(temp)
  packed = installed.files.map((file) => file.path)
}, 400_000)

afterAll(() => removeTempDir(temp))

const contentOf = (path: string): string => readFileSync(join(installed.folder, path), 'utf8')

/** The files below a folder of the sources, as the package names them. */
function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => posix.relative(ROOT, posix.join(entry.parentPath, entry.name)))
}

/** What a file of the package loads: `import … from 'x'`, `import('x')`, `export … from 'x'`. */
function loadedBy(path: string): string[] {
  return [...contentOf(path).matchAll(/(?:\bfrom|\bimport) ?\(?\s*(["'])([@\w./:-]+)\1/g)].map(
    (found) => found[2]!,
  )
}

/** The files that some lead to, themselves included. @param named the file that a reference means */
function reachedFrom(first: readonly string[], named: (path: string) => string): string[] {
  const reached = new Set(first)
  for (const path of reached) {
    for (const other of loadedBy(path).filter((one) => one.startsWith('.'))) {
      reached.add(named(posix.join(posix.dirname(path), other)))
    }
  }
  return [...reached]
}

describe('the content of the package', () => {
  const targets = (): Readonly<Record<string, string>>[] =>
    Object.values(MANIFEST.exports).filter((target) => typeof target !== 'string')

  test('the package contains the programs, man pages, documents and examples, and nothing else beside dist', () => {
    const documents = filesBelow('docs').filter((path) => !path.startsWith('docs/api/'))
    const single = [...MANIFEST.files.filter((name) => /^[A-Z]/.test(name)), 'package.json']
    const pages = MANIFEST.man.map((path) => posix.normalize(path))
    expect(packed.filter((path) => !path.startsWith('dist/')).sort()).toEqual(
      [...single, ...pages, ...documents, ...filesBelow('bin'), ...filesBelow('examples')].sort(),
    )
  })

  test('the package contains each bundle that something loads, and no other', () => {
    const entries = targets().map((target) => posix.normalize(target['default']!))
    const names = (Object.keys(ENTRIES) as EntryName[]).map(bundleName)
    const programs = ['cli.js', 'loader.cjs', ...names].map((name) => `dist/${name}`)
    const wanted = reachedFrom([...entries, ...programs], (path) => path)
    expect(packed.filter((path) => /^dist\/[^/]*$/.test(path)).sort()).toEqual(wanted.sort())
    expect(packed.filter((path) => contentOf(path).includes('sourceMappingURL'))).toEqual([])
  })

  test('the package contains the declarations of what it exports, and those that they lead to, and no other', () => {
    const entries = targets().map((target) => posix.normalize(target['types']!))
    const wanted = reachedFrom(entries, (path) => path.replace(/\.js$/, '.d.ts'))
    expect(packed.filter((path) => path.startsWith('dist/types/')).sort()).toEqual(wanted.sort())
    expect(wanted.length).toBeGreaterThan(50)
    const untyped = wanted.filter((path) =>
      /[:<|&,(] *any\b/.test(contentOf(path).replace(/\/\*[\s\S]*?\*\//g, '')),
    )
    expect(untyped).toEqual([])
  })

  test('the files of the package load nothing but dependencies and what comes with Node', () => {
    const known = new Set([...Object.keys(MANIFEST.dependencies), ...builtinModules])
    const loaded = packed
      .filter((path) => /^dist\/.*\.(js|d\.ts)$/.test(path))
      .flatMap((path) => loadedBy(path).map((name) => ({ path, name })))
      .filter(({ name }) => !name.startsWith('.') && !name.startsWith('node:'))
    const packageOf = (name: string): string => /^(@[^/]+\/)?[^/]+/.exec(name)![0]
    expect(loaded.filter(({ name }) => !known.has(packageOf(name)))).toEqual([])
  })

  test('the package is small, and only its programs are executable', () => {
    // Today 2.0 MB and 7.3 MB, of which each thread's bundle is some 0.4 MB. Whoever makes it larger by much should know why.
    expect(installed.archiveSize).toBeLessThan(2.1e6)
    expect(installed.files.reduce((sum, { size }) => sum + size, 0)).toBeLessThan(7.1e6)
    const programs = Object.values(MANIFEST.bin).map((path) => posix.normalize(path))
    for (const { path, mode } of installed.files) {
      expect(`${path} ${(mode & 0o777).toString(8)}`).toBe(`${path} ${programs.includes(path) ? 755 : 644}`)
    }
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
})

describe('the package in a project', () => {
  const node = async (args: readonly string[], input = ''): Promise<string> =>
    (await run(process.execPath, args, { cwd: installed.project, input })).stdout

  const compile = async (name: string, options: object, include: readonly string[]): Promise<void> => {
    const compilerOptions = { ...options, noEmit: true, strict: true, skipLibCheck: false, types: ['node'] }
    writeFileSync(join(installed.project, name), JSON.stringify({ compilerOptions, include }))
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    await run(process.execPath, [tsc, '-p', name], { cwd: installed.project, timeout: 200_000 })
  }

  test('the package can be imported by the names of its parts', async () => {
    expect(Object.keys(PARTS)).toEqual(
      Object.keys(MANIFEST.exports)
        .filter((name) => name !== './package.json')
        .map((name) => posix.join('atomfs-fuse', name)),
    )
    const code = Object.entries(PARTS).map(
      ([part, name], i) => `import { ${name} as part${i} } from '${part}'; console.log(typeof part${i})`,
    )
    expect(await node(['--input-type=module', '-'], code.join('\n'))).toBe('function\n'.repeat(5))
  })

  test('the package can be required by the names of its parts', async () => {
    const code = Object.entries(PARTS).map(([part, name]) => `console.log(typeof require('${part}').${name})`)
    code.push("console.log(require('atomfs-fuse/package.json').version)")
    const quiet = ['--disable-warning=ExperimentalWarning', '--input-type=commonjs', '-']
    expect(await node(quiet, code.join('\n'))).toBe(`${'function\n'.repeat(5)}${MANIFEST.version}\n`)
  })

  test('the package type-checks in all its examples, for programs and for bundlers', async () => {
    const examples = filesBelow('examples').map((path) => join('node_modules/atomfs-fuse', path))
    // Below node_modules the compiler takes no program.
    mkdirSync(join(installed.project, 'checked'))
    for (const path of examples) {
      const text = readFileSync(join(installed.project, path), 'utf8')
      writeFileSync(join(installed.project, 'checked', posix.basename(path)), text)
    }
    const imports = Object.keys(PARTS).map((part, i) => `export * as part${i} from '${part}'`)
    writeFileSync(join(installed.project, 'checked/all.ts'), imports.join('\n'))
    // Types that the compiler does not find are `any`, and take everything.
    const wrong =
      "import { openSquashfs } from 'atomfs-fuse/squashfs'\n// @ts-expect-error\nopenSquashfs(1)\n"
    writeFileSync(join(installed.project, 'checked/wrong.ts'), wrong)
    const common = { target: 'es2023', lib: ['es2023'], checkJs: true }
    const include = ['checked']
    await compile('nodenext.json', { ...common, module: 'nodenext' }, include)
    await compile('bundler.json', { ...common, module: 'esnext', moduleResolution: 'bundler' }, include)
  }, 400_000)

  test('the programs of docs/library.md make and read an image', async () => {
    const page = contentOf('docs/library.md')
    const blocks = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]!)
    const [code, making, ...more] = blocks.filter((block) => block.includes("from 'atomfs-fuse/squashfs'"))
    expect(more).toEqual([])
    // One of the others mounts: test/system/library.test.ts.
    expect(blocks.length).toBe(6)
    const sif = join(temp, 'image.sif')
    const data = Buffer.from('{"data":1}')
    writeFileSync(sif, makeSif({ parts: [{ type: SIF_TYPE.json, data, name: 'inspect-metadata.json' }] }))
    const looking = blocks.find((block) => block.includes('initImage'))
    expect(await node(['--input-type=module', '-', sif], looking)).toBe('[] []\n{"data":1}')
    const unpacking = blocks.find((block) => block.includes('TarballApplicator'))
    const [layout, directory] = [join(temp, 'tar-image'), join(temp, 'unpacked')]
    const common = { type: 'file', mode: 0o644, uid: process.getuid?.() ?? 0, mtime: 1 } as const
    const entry = tarEntry({ ...common, path: 'f', content: 'of a layer' })
    writeTarImage(layout, { tag: 't', layers: [Buffer.concat([entry, tarEnd()])] })
    mkdirSync(directory)
    await node(['--input-type=module', '-', `${layout}:t`, directory], unpacking)
    expect(readFileSync(join(directory, 'f'), 'utf8')).toBe('of a layer')
    const made = join(temp, 'made.squashfs')
    expect(await node(['--input-type=module', '-', made], making)).toContain('inodes: 3')
    const image = openSquashfs(made)
    try {
      expect(image.stat('/bin/hey')).toEqual(image.stat('/bin/hello'))
      expect(image.stat('/bin/hello')).toMatchObject({ nlink: 2, size: 6 })
    } finally {
      image.close()
    }
    const encrypted = join(temp, 'encrypted.luks')
    writeFileSync(encrypted, makeLuks({ plain: readFileSync(made), passphrase: 'secret' }))
    const unlocking = blocks.find((block) => block.includes('unlockSource'))
    // Threads get the options of their process, and `--input-type` is for no file.
    writeFileSync(join(installed.project, 'unlocking.mjs'), unlocking!)
    await node(['unlocking.mjs', encrypted, join(temp, 'unlocked'), 'secret'])
    expect(readFileSync(join(temp, 'unlocked/bin/hello')).length).toBe(6)
    const stdout = await node(['--input-type=module', '-', OTHER_LAYER], code)
    expect(stdout).toMatch(/^directory \/bin\nfile \/bin\/hello\nsymlink \/bin\/hey\n/)
    expect(stdout).toMatch(/\ngreeting = hello from the bottom layer\n$/)
  })

  describe('the examples', () => {
    const runExample = async (name: string, ...args: readonly string[]): Promise<string> =>
      await node([join('node_modules/atomfs-fuse/examples', name), ...args])

    test('the example read.mjs reads an image', async () => {
      expect(await runExample('read.mjs', LAYER)).toContain('\n0777 5 /bin/hey -> hello\n')
      expect(await runExample('read.mjs', LAYER, '/bin/hey')).toMatch(/^#!\/bin\/sh\n/)
    })

    test('the example verity.mjs adds a hash tree', async () => {
      const stdout = await runExample('verity.mjs', LAYER, join(temp, 'verified'))
      expect(stdout).toMatch(/^root hash [0-9a-f]{64}\nroot directory: bin etc var\nverified: 4096 bytes\n$/)
    })

    test('the example merge.mjs merges directories', async () => {
      for (const name of ['lower', 'upper']) mkdirSync(join(temp, name))
      for (const name of ['lower/a', 'lower/b', 'upper/c', 'upper/.wh.a']) {
        writeFileSync(join(temp, name), '')
      }
      expect(await runExample('merge.mjs', join(temp, 'lower'), join(temp, 'upper'))).toBe('b\nc\n')
    })

    test('the example protocol.mjs answers a request of the kernel', async () => {
      mkdirSync(join(temp, 'directory'))
      writeFileSync(join(temp, 'directory/file'), 'twelve bytes')
      expect(await runExample('protocol.mjs', join(temp, 'directory'), 'file')).toMatch(
        /^node \d+, 12 bytes\n$/,
      )
      expect(await runExample('protocol.mjs', join(temp, 'directory'), 'other')).toBe('no such name\n')
    })

    test('the example mount.mjs reports why there is no mount', async () => {
      const oci = join(ROOT, 'fixtures/oci')
      await expect(runExample('mount.mjs', oci, 'none', join(temp, 'target'))).rejects.toThrow(/ENOENT/)
    })
  })

  test('the package runs by both program names, through the links that npm makes', async () => {
    const folder = join(installed.project, 'node_modules/.bin')
    mkdirSync(folder)
    for (const [name, path] of Object.entries(MANIFEST.bin)) {
      const program = join(folder, name)
      symlinkSync(join('../atomfs-fuse', path), program)
      expect(lstatSync(program).isSymbolicLink()).toBe(true)
      expect((await run(program, ['--version'])).stdout).toBe(`${MANIFEST.version}\n`)
      expect((await run(program, ['--help'])).stdout).toMatch(new RegExp(`^Usage: ${name} `))
    }
    const { stdout } = await run(join(folder, 'atomfs-fuse'), ['doctor', '--json'], { allowFailure: true })
    const { codecs } = JSON.parse(stdout) as { codecs: unknown[] }
    expect(codecs.length).toBeGreaterThan(4)
  })
})
