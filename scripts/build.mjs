// Bundles the programs and the library entries into dist/. With --types also writes the declarations.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Output name in dist/ and its source. A source that does not exist is left out. */
const ENTRIES = {
  cli: 'src/cli/main.ts',
  daemon: 'src/daemon/main.ts',
  scan: 'src/molecule/scan-thread.ts',
  dispatcher: 'src/daemon/dispatcher-thread.ts',
  'data-worker': 'src/daemon/data-worker-thread.ts',
  index: 'src/index.ts',
  squashfs: 'squashfs/index.ts',
  overlay: 'overlay/index.ts',
  verity: 'src/verity/index.ts',
  fuse: 'src/fuse/index.ts',
}

/** Pure ES modules that go into the bundles, where unused parts fall away; every other package stays outside. */
const BUNDLED = ['valibot']

const entryPoints = Object.fromEntries(
  Object.entries(ENTRIES).filter(([, source]) => existsSync(join(root, source))),
)
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const dependencies = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
const external = dependencies.filter((name) => !BUNDLED.includes(name)).flatMap((name) => [name, `${name}/*`])

mkdirSync(join(root, 'dist'), { recursive: true })
// Removed first and written last: an interrupted build is not taken for a complete one.
const stamp = join(root, 'dist', '.built')
rmSync(stamp, { force: true })

if (Object.keys(entryPoints).length > 0) {
  // Chunks lie in dist/ as well, so that a thread finds its file beside whatever bundle starts it. With splitting,
  // a command loads only the packages that it uses.
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints,
    outdir: 'dist',
    bundle: true,
    splitting: true,
    chunkNames: 'chunk-[hash]',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external,
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'warning',
    metafile: true,
  })
  // What earlier builds left goes last, so that a program that runs meanwhile finds its chunks.
  for (const name of readdirSync(join(root, 'dist'))) {
    if (/\.js(\.map)?$/.test(name) && !(`dist/${name}` in metafile.outputs)) rmSync(join(root, 'dist', name))
  }
}

if (process.argv.includes('--types')) {
  rmSync(join(root, 'dist', 'types'), { recursive: true, force: true })
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const result = spawnSync(tsc, ['-p', join(root, 'scripts', 'tsconfig.types.json')], { stdio: 'inherit' })
  if (result.status !== 0) process.exit(result.status ?? 1)
}

writeFileSync(stamp, '')
