// Makes the API reference in docs/api from the docstrings, and fails where one is missing. Installs typedoc for that, in
// .cache/api: it needs another TypeScript than the project (docs/adr/0023-api-reference.md).
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
/** What is installed, and how typedoc is told what to do. */
const wanted = join(root, 'scripts', 'api')
const tools = join(root, '.cache', 'api')

/** What package.json exports: each file says in `@module` what is imported by which name. */
const ENTRIES = [
  'src/index.ts',
  'src/library/squashfs.ts',
  'overlay/index.ts',
  'src/verity/index.ts',
  'src/fuse/index.ts',
]

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (error !== undefined) throw error
  if (status !== 0) process.exit(status ?? 1)
}

/** What is installed is what the lock file says. */
function isInstalled() {
  const installed = join(tools, 'node_modules', '.package-lock.json')
  if (!existsSync(installed)) return false
  const versions = (path) =>
    Object.entries(JSON.parse(readFileSync(path, 'utf8')).packages)
      .filter(([name]) => name !== '')
      .map(([name, { version }]) => `${name} ${version}`)
      .join('\n')
  return versions(installed) === versions(join(wanted, 'package-lock.json'))
}

function install() {
  mkdirSync(tools, { recursive: true })
  for (const name of ['package.json', 'package-lock.json'])
    copyFileSync(join(wanted, name), join(tools, name))
  run('npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit', '--prefix', tools])
}

if (!isInstalled()) install()
rmSync(join(root, 'docs', 'api'), { recursive: true, force: true })
run(process.execPath, [
  join(tools, 'node_modules', 'typedoc', 'bin', 'typedoc'),
  '--options',
  join(wanted, 'typedoc.json'),
  '--plugin',
  join(tools, 'node_modules', 'typedoc-plugin-markdown', 'dist', 'index.js'),
  ...ENTRIES.flatMap((path) => ['--entryPoints', join(root, path)]),
])
