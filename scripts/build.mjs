// Bundles the programs and the library entries into dist/. With --types as the package has them: with declarations
// and man pages, without maps.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, transform } from 'esbuild'
import { writeDeclarations } from './declarations.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const forPackage = process.argv.includes('--types')

/** Programs in threads and processes of their own, by the table that finds them. */
const { ENTRIES: THREADS, LOADED } = await readThreads()

/** Output name in dist/ and its source. A source that does not exist is left out. */
const ENTRIES = {
  cli: 'src/cli/main.ts',
  loader: 'src/loader.ts',
  ...THREADS,
  index: 'src/index.ts',
  squashfs: 'src/library/squashfs.ts',
  overlay: 'overlay/index.ts',
  verity: 'src/verity/index.ts',
  fuse: 'src/fuse/index.ts',
}

/** The client of a shared server, which has one thread and ends at once. */
const CLIENT = 'ask'

/**
 * Programs that load all of their code at once: one file each. Opening some forty chunks took the daemon and its
 * threads longer than reading one file with everything.
 */
const WHOLE = Object.keys(THREADS).filter((name) => !LOADED.includes(name))

/** Pure ES modules that go into the bundles, where unused parts fall away; every other package stays outside. */
const BUNDLED = ['valibot']

const entryPoints = Object.fromEntries(
  Object.entries(ENTRIES).filter(([, source]) => existsSync(join(root, source))),
)
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const dependencies = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
const external = dependencies.filter((name) => !BUNDLED.includes(name)).flatMap((name) => [name, `${name}/*`])

/** Texts that the program carries with it: each `read('PATH')` of this file becomes the text itself. */
const ASSETS = 'src/cli/page/assets.ts'

const assets = {
  name: 'assets',
  setup(build) {
    const file = join(root, ASSETS)
    build.onLoad({ filter: /\/assets\.ts$/ }, ({ path }) => {
      if (path !== file) return undefined
      const contents = readFileSync(file, 'utf8').replace(/= read\('([^']+)'\)/g, (_, name) => {
        return `= ${JSON.stringify(readFileSync(join(dirname(file), name), 'utf8'))}`
      })
      return { contents, loader: 'ts' }
    })
  },
}

async function readThreads() {
  const source = readFileSync(join(root, 'src/threads.ts'), 'utf8')
  // Node 20 runs no TypeScript.
  const { code } = await transform(source, { loader: 'ts', format: 'esm' })
  const table = await import(`data:text/javascript,${encodeURIComponent(code)}`)
  const sources = Object.entries(table.ENTRIES).map(([name, file]) => [name, `src/${file}`])
  return { ENTRIES: Object.fromEntries(sources), LOADED: table.LOADED }
}

async function bundle(names, options) {
  const { metafile, outputFiles = [] } = await build({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(names.map((name) => [name, entryPoints[name]])),
    outdir: 'dist',
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external,
    // The package has no maps, so nothing in it may name one.
    sourcemap: !forPackage,
    sourcesContent: false,
    logLevel: 'warning',
    metafile: true,
    plugins: [assets],
    ...options,
  })
  for (const { path, text } of outputFiles) writeFileSync(path, withDigest(withLazyModules(text)))
  return metafile
}

/**
 * Modules of Node that a mount may do without until it serves. Loading them takes 5 ms, in the main thread and the
 * dispatcher each. Their first use loads them.
 */
const LAZY =
  /=\s*require\(\s*"(node:(?:crypto|net|child_process|zlib|worker_threads|os|fs\/promises))"\s*\)(?=\s*[,;])/g

function withLazyModules(text) {
  return text.replace(LAZY, (_, name) => `= new Proxy({}, { get: (_, key) => require("${name}")[key] })`)
}

/** The loader keeps what V8 compiled of a program under this name (src/loader.ts). */
function withDigest(text) {
  return `// ${createHash('sha256').update(text).digest('hex').slice(0, 32)}\n${text}`
}

mkdirSync(join(root, 'dist'), { recursive: true })
// Removed first and written last: an interrupted build is not taken for a complete one.
const stamp = join(root, 'dist', '.built')
rmSync(stamp, { force: true })

if (Object.keys(entryPoints).length > 0) {
  const names = Object.keys(entryPoints)
  const whole = await bundle(
    names.filter((name) => WHOLE.includes(name)),
    { splitting: false },
  )
  // What `src/loader.ts` runs, and itself: scripts of CommonJS, because V8 gives compiled code of those alone.
  const loaded = await bundle([...LOADED.filter((name) => name !== CLIENT), 'loader'], {
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    splitting: false,
    sourcemap: false,
    // The text of a program stays in memory, in each thread that runs it. Names stay, so that stacks can be read.
    minifyWhitespace: true,
    lineLimit: 160,
    write: false,
    define: { 'import.meta.url': '__fileUrl' },
  })
  const client = await bundle([CLIENT], {
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    splitting: false,
    sourcemap: false,
    write: false,
    define: { 'import.meta.url': '__fileUrl', __hasNoThreads: 'true' },
    // Half the text is half the time to read it, and nobody sees its stacks.
    minify: true,
  })
  // Chunks lie in dist/ as well, so that a command finds the program of its daemon beside whatever bundle it is in.
  // With splitting, a command loads only the packages that it uses.
  const split = await bundle(
    names.filter((name) => ![...WHOLE, ...LOADED, 'loader'].includes(name)),
    {
      splitting: true,
      chunkNames: 'chunk-[hash]',
    },
  )
  const outputs = new Set([whole, loaded, client, split].flatMap((made) => Object.keys(made.outputs)))
  // What earlier builds left goes last, so that a program that runs meanwhile finds its chunks.
  for (const name of readdirSync(join(root, 'dist'))) {
    if (/\.c?js(\.map)?$/.test(name) && !outputs.has(`dist/${name}`)) rmSync(join(root, 'dist', name))
  }
}

if (forPackage) {
  writeDeclarations(root)
  await import('./man.mjs')
}

writeFileSync(stamp, '')
