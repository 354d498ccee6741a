// Writes the declarations of the package into dist/types: those that package.json exports, and what they lead to.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** Where a declaration names another file: `from './x.ts'`, `import('./x.ts')`. */
const REFERENCE = /((?:\bfrom |\bimport ?\(?)(['"]))(\.[^'"]*)\.ts\2/g

/** @param root folder of package.json. Ends the process where the compiler finds an error. */
export function writeDeclarations(root) {
  const folder = join(root, 'dist', 'types')
  rmSync(folder, { recursive: true, force: true })
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const { status } = spawnSync(tsc, ['-p', join(root, 'scripts', 'tsconfig.types.json')], {
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 1)
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const wanted = new Set(
    Object.values(exports).flatMap(({ types }) => (types === undefined ? [] : [resolve(root, types)])),
  )
  // A set that grows while it is walked: each file adds what it refers to.
  for (const file of wanted) for (const other of nameShipped(file)) wanted.add(other)
  removeOthers(folder, wanted)
}

/**
 * The compiler leaves references as the sources have them, to `.ts` files, which are not in the package. TypeScript finds
 * the declaration all the same, other programs do not.
 * @returns the files that one refers to
 */
function nameShipped(file) {
  const found = []
  const text = readFileSync(file, 'utf8').replace(REFERENCE, (_, before, quote, path) => {
    found.push(resolve(dirname(file), `${path}.d.ts`))
    return `${before}${path}.js${quote}`
  })
  writeFileSync(file, text)
  return found
}

function removeOthers(folder, wanted) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) removeOthers(path, wanted)
    else if (!wanted.has(path)) rmSync(path)
  }
  if (readdirSync(folder).length === 0) rmdirSync(folder)
}
