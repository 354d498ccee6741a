// Makes one executable of the program and of a Node: node scripts/sea.mjs NODE FILE. NODE is a Node 25.5 or later, which
// becomes part of FILE. Run `npm run build` before. docs/single-file.md says what it can do and what it costs.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const [node, output] = process.argv.slice(2)
if (node === undefined || output === undefined) fail('usage: node scripts/sea.mjs NODE FILE')

/** Folders of a package that no program loads. */
const UNUSED = /\/(doc|docs|test|tests|vendor|types|@types)\//

function fail(text) {
  console.error(`sea: ${text}`)
  process.exit(1)
}

function filesIn(folder, isWanted) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter(isWanted)
}

/** The packages that the program loads, with those that they need, and what koffi has for this machine. */
function packageFolders(names, seen = new Set()) {
  for (const name of names) {
    const folder = join(root, 'node_modules', name)
    if (seen.has(folder)) continue
    let manifest
    try {
      manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    } catch {
      // An optional one, for another machine.
      continue
    }
    seen.add(folder)
    packageFolders(Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }), seen)
  }
  return [...seen]
}

const { dependencies } = createRequire(import.meta.url)('../package.json')
const files = [
  'package.json',
  ...filesIn(join(root, 'dist'), (path) => /^dist\/[\w-]+\.c?js$/.test(path)),
  ...packageFolders(Object.keys(dependencies)).flatMap((folder) =>
    filesIn(folder, (path) => /\.(js|cjs|mjs|json|node|wasm)$/.test(path) && !UNUSED.test(path)),
  ),
]
const bodies = files.map((path) => readFileSync(join(root, path)))
const table = Buffer.from(JSON.stringify(files.map((path, at) => [path, bodies[at].length])))
const length = Buffer.alloc(4)
length.writeUInt32LE(table.length)
const archive = Buffer.concat([length, table, ...bodies])

const work = mkdtempSync(join(tmpdir(), 'atomfs-sea-'))
try {
  writeFileSync(join(work, 'files'), archive)
  writeFileSync(join(work, 'digest'), createHash('sha256').update(archive).digest('hex'))
  const config = {
    main: join(dirname(fileURLToPath(import.meta.url)), 'sea', 'main.cjs'),
    output: resolve(output),
    disableExperimentalSEAWarning: true,
    // NODE_OPTIONS is not for the caller of a mount to say.
    execArgvExtension: 'none',
    execArgv: ['--v8-pool-size=1'],
    assets: { files: join(work, 'files'), digest: join(work, 'digest') },
  }
  writeFileSync(join(work, 'config.json'), JSON.stringify(config))
  const { status, error } = spawnSync(node, ['--build-sea', join(work, 'config.json')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (error !== undefined) fail(`cannot run ${node}: ${error.message}`)
  if (status !== 0) fail(`${node} made no executable: is it Node 25.5 or later?`)
} finally {
  rmSync(work, { recursive: true })
}
