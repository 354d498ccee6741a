import { existsSync, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { run } from './process.ts'
import type { Needs } from './tools.ts'

const VERSION = '2.2.6'

export interface FuseNativePackage extends Needs {
  /** The folder that holds the package: what NODE_PATH must name. Empty where there is none. */
  readonly folder: string
}

/**
 * The npm package `fuse-native` for the tests: as it is installed beside ours or in NODE_PATH, else fetched into
 * `parent`. It is no development dependency, because its install script wants a C compiler where the system has no
 * libfuse 2, and `npm ci` would fail there.
 */
export async function findFuseNative(parent: string): Promise<FuseNativePackage> {
  const installed = resolveInstalled() ?? (await install(join(parent, 'fuse-native')))
  if (installed === undefined) return missing('the npm package fuse-native, or the npm registry')
  const binaries = join(installed, 'fuse-native', 'prebuilds', `${process.platform}-${process.arch}`)
  const built = join(installed, 'fuse-native', 'build', 'Release')
  if (!existsSync(binaries) && !existsSync(built)) return missing(`a fuse-native for ${process.arch}`)
  return { ok: true, missing: [], reason: '', folder: installed }
}

function missing(what: string): FuseNativePackage {
  return { ok: false, missing: [what], reason: `needs ${what}`, folder: '' }
}

function resolveInstalled(): string | undefined {
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve('fuse-native/package.json')))
  } catch {
    return undefined
  }
}

/** No scripts: the package comes with a binary. Not from within this repository, whose npm settings are its own. */
async function install(folder: string): Promise<string | undefined> {
  mkdirSync(folder)
  const args = ['install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund']
  try {
    await run('npm', [...args, `fuse-native@${VERSION}`], { cwd: folder, timeout: 120_000 })
    return join(folder, 'node_modules')
  } catch {
    return undefined
  }
}
