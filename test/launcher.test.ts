import { chmodSync, copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { run, withTempDir } from './library/index.ts'

/** Which Node the launcher starts, and with what. Each Node here is a script that says its name and its words. */

const LAUNCHER = resolve(import.meta.dirname, '../bin/atomfs-fuse')
const FIXED = ['/usr/local/bin/node', '/usr/bin/node'].find((path) => existsSync(path))

interface Places {
  readonly folder: string
  /** The launcher where npm puts it with `--global`, and the link that npm makes to it. */
  readonly installed: string
  readonly link: string
}

async function inPlaces(play: (places: Places) => Promise<void>): Promise<void> {
  await withTempDir(async (folder) => {
    const installed = join(folder, 'prefix/lib/node_modules/atomfs-fuse/bin/atomfs-fuse')
    mkdirSync(dirname(installed), { recursive: true })
    copyFileSync(LAUNCHER, installed)
    const link = join(folder, 'prefix/bin/atomfs-fuse')
    mkdirSync(dirname(link))
    symlinkSync('../lib/node_modules/atomfs-fuse/bin/atomfs-fuse', link)
    await play({ folder, installed, link })
  })
}

function fakeNode(path: string, name: string): string {
  mkdirSync(dirname(path), { recursive: true })
  const seen = ['NODE_OPTIONS', 'NODE_PATH', 'NODE_EXTRA_CA_CERTS'].map(
    (variable) => `\${${variable}+${variable}}`,
  )
  writeFileSync(path, `#!/bin/sh\nprintf '%s|' ${name} "$@" ${seen.join(' ')}\n`)
  chmodSync(path, 0o755)
  return path
}

async function start(program: string, path: string, args: readonly string[] = ['a b', '']): Promise<string> {
  const env = { PATH: path, NODE_OPTIONS: '--no-deprecation', NODE_PATH: '/x', NODE_EXTRA_CA_CERTS: '/x' }
  return (await run(program, args, { env, cwd: dirname(program) })).stdout
}

describe('the launcher', () => {
  test('the launcher prefers the Node of its installation, and removes environment variables that load code', async () => {
    await inPlaces(async ({ folder, installed, link }) => {
      fakeNode(join(folder, 'prefix/bin/node'), 'beside')
      fakeNode(join(folder, 'path/node'), 'path')
      const path = join(folder, 'path')
      expect(await start(link, path)).toBe(`beside|${link}|a b||`)
      expect(await start(installed, path)).toBe(`beside|${installed}|a b||`)
      // By a link to the link, of another name, as container engines are given it.
      const other = join(folder, 'fuse-overlayfs')
      symlinkSync(link, other)
      expect(await start(other, path)).toBe(`beside|${other}|a b||`)
    })
  })

  test('the launcher falls back to the recorded Node, then to that of PATH', async () => {
    await inPlaces(async ({ folder, installed, link }) => {
      const path = dirname(fakeNode(join(folder, 'path/node'), 'path'))
      expect(await start(link, path)).toBe(`path|${link}|a b||`)
      const written = fakeNode(join(folder, 'some where/node'), 'written')
      writeFileSync(join(dirname(installed), 'node-path'), `${written}\n`)
      expect(await start(link, path)).toBe(`written|${link}|a b||`)
      writeFileSync(join(dirname(installed), 'node-path'), `${written}-gone\n`)
      expect(await start(link, path)).toBe(`path|${link}|a b||`)
    })
  })

  test('the launcher does not take a Node that lies three folders above a clone', async () => {
    await withTempDir(async (folder) => {
      const clone = join(folder, 'a/b/clone/bin/atomfs-fuse')
      mkdirSync(dirname(clone), { recursive: true })
      copyFileSync(LAUNCHER, clone)
      fakeNode(join(folder, 'bin/node'), 'stranger')
      const path = dirname(fakeNode(join(folder, 'path/node'), 'path'))
      expect(await start(clone, path)).toBe(`path|${clone}|a b||`)
    })
  })

  test('the launcher finds Node in a usual place without PATH, or reports that there is none', async () => {
    const { status, stdout, stderr } = await run(LAUNCHER, ['--version'], {
      env: { PATH: '/nonexistent' },
      allowFailure: true,
    })
    if (FIXED === undefined)
      expect([status, stderr]).toEqual([1, expect.stringMatching(/^Error: no Node found: .*\n$/)])
    else expect([status, stdout, stderr]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/), ''])
  })
})
