import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import type { StartUp } from './facts.ts'

/** Libraries that pull in some hundred files. */
const PYTHON_SCRIPT =
  'import argparse, asyncio, concurrent.futures, csv, ctypes, decimal, difflib, email.message, http.client, ' +
  'json, logging.config, multiprocessing, pydoc, sqlite3, ssl, tarfile, unittest.mock, urllib.request, ' +
  'xml.dom.minidom, zipfile; print(json.__file__)'

/**
 * Programs of the machine whose library lies in the tree. Only those are kept that run from the tree and then read
 * from it.
 */
export async function findStartUps(tree: string): Promise<StartUp[]> {
  const found: StartUp[] = []
  for (const startUp of [...pythons(tree), ...npms(tree)]) {
    if ((await runStartUp(startUp, tree).catch(() => '')).startsWith(expectedFrom(startUp, tree))) {
      found.push(startUp)
    }
  }
  return found
}

export function expectedFrom(startUp: StartUp, root: string): string {
  return startUp.expected.replaceAll('@', root)
}

/** @returns what it printed */
export async function runStartUp(startUp: StartUp, root: string): Promise<string> {
  const [program, ...args] = startUp.command.map((word) => word.replaceAll('@', root))
  const env = Object.fromEntries(
    Object.entries(startUp.env).map(([name, value]) => [name, value.replaceAll('@', root)]),
  )
  return (await run(program ?? '', args, { env, timeout: 60_000 })).stdout
}

function pythons(tree: string): StartUp[] {
  const version = list(join(tree, 'usr/lib')).find(
    (name) => /^python3\.\d+$/.test(name) && existsSync(`/usr/bin/${name}`),
  )
  if (version === undefined) return []
  return [
    {
      name: 'python',
      // No site packages, and nothing is written.
      command: [`/usr/bin/${version}`, '-S', '-B', '-c', PYTHON_SCRIPT],
      env: { PYTHONHOME: '@/usr' },
      expected: '@/usr/lib/',
    },
  ]
}

function npms(tree: string): StartUp[] {
  const script = ['usr/lib/node_modules', 'usr/local/lib/node_modules']
    .map((folder) => `${folder}/npm/bin/npm-cli.js`)
    .find((path) => existsSync(join(tree, path)))
  if (script === undefined) return []
  return [
    {
      name: 'node',
      // Loads the whole of npm's command, with no registry, no cache and no configuration of the machine.
      command: [process.execPath, `@/${script}`, 'config', 'get', 'prefix', '--prefix=/x', '--offline'],
      env: {
        npm_config_cache: '/nonexistent',
        npm_config_userconfig: '/nonexistent',
        npm_config_logs_max: '0',
      },
      expected: '/x',
    },
  ]
}

function list(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : []
}
