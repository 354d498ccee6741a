import { randomUUID } from 'node:crypto'
import { renameSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { run } from '../programs/process.ts'
import type { TreeEntry, WalkOptions } from './tree-walk.ts'

const repository = fileURLToPath(new URL('../../..', import.meta.url))
let program: Promise<string> | undefined

/**
 * `walkTree` in a process of its own, with a time-out (milliseconds, 120 000 if absent): for mounts whose server
 * might not answer, and because the process of a server must never wait for its own mount.
 */
export async function walkInChild(
  root: string,
  options: WalkOptions & { readonly timeout?: number } = {},
): Promise<TreeEntry[]> {
  const { timeout = 120_000, ...walk } = options
  program ??= bundleProgram(join(repository, 'test/library/trees/walk-main.ts'))
  const { stdout } = await run(process.execPath, [await program, root, JSON.stringify(walk)], { timeout })
  return JSON.parse(stdout) as TreeEntry[]
}

/**
 * Makes a TypeScript program of the tests runnable by plain Node. The result lies in the repository, where it
 * finds the packages, and appears atomically: several test files may bundle it at once.
 * @returns path of the program.
 */
export async function bundleProgram(entry: string): Promise<string> {
  // The whole path, because programs in different folders may have the same name.
  const name = relative(repository, entry).replace(/\.ts$/, '').replaceAll('/', '-')
  const folder = join(repository, '.cache', 'test')
  const part = join(folder, `${name}.${randomUUID()}.mjs`)
  await build({
    entryPoints: [entry],
    outfile: part,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'silent',
  })
  const program = join(folder, `${name}.mjs`)
  renameSync(part, program)
  return program
}
