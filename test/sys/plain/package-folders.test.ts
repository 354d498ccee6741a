import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { isSafeFolder } from '../../../src/sys/plain/package-folders.ts'
import { bundleProgram, needs, run, titled, withTempDir } from '../../library/index.ts'

const SOURCE = resolve(import.meta.dirname, '../../../src/sys/plain/package-folders.ts')
const needRoot = needs('root')
const STRANGER = 4321

function folder(path: string, mode: number, uid?: number): string {
  mkdirSync(path, { recursive: true })
  chmodSync(path, mode)
  if (uid !== undefined) chownSync(path, uid, uid)
  return path
}

describe('isSafeFolder', () => {
  test.each([
    ['ours, for us alone', 0o755, 0o755, true],
    ['shared by a group', 0o775, 0o2775, true],
    ['open to everybody', 0o755, 0o777, false],
    ['in a folder that is open to everybody', 0o777, 0o755, false],
    ['ours, where only the owner can replace it', 0o1777, 0o755, true],
  ])('isSafeFolder judges a package folder: %s', async (_, parent, own, safe) => {
    await withTempDir((temp) => {
      const above = folder(join(temp, 'above'), parent)
      expect(isSafeFolder(folder(join(above, 'node_modules'), own))).toBe(safe)
    })
  })

  test('a missing package folder is safe only if no other user can create it', async () => {
    await withTempDir((temp) => {
      expect(isSafeFolder(join(folder(join(temp, 'open'), 0o1777), 'node_modules'))).toBe(false)
      expect(isSafeFolder(join(folder(join(temp, 'closed'), 0o755), 'node_modules'))).toBe(true)
    })
  })

  test.skipIf(!needRoot.ok)(
    titled(
      'a package folder is unsafe if another user has made it, or a link leads to such a folder',
      needRoot,
    ),
    async () => {
      await withTempDir((temp) => {
        const open = folder(join(temp, 'open'), 0o1777)
        expect(isSafeFolder(folder(join(open, 'node_modules'), 0o755, STRANGER))).toBe(false)
        const link = join(folder(join(temp, 'closed'), 0o755), 'node_modules')
        symlinkSync(join(open, 'node_modules'), link)
        expect(isSafeFolder(link)).toBe(false)
      })
    },
  )
})

describe('searchSafeFoldersOnly', () => {
  let bundle = ''
  beforeAll(async () => {
    bundle = await bundleProgram(SOURCE)
  })

  /** Requires the package `wanted` from `program`, in a process of its own. @returns what came of it */
  async function wanted(program: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
    const code = `
      const { searchSafeFoldersOnly } = await import(${JSON.stringify(bundle)})
      searchSafeFoldersOnly()
      const { createRequire } = await import('node:module')
      try { console.log(createRequire(${JSON.stringify(program)})('wanted')) } catch (e) { console.log(e.code) }`
    return (await run(process.execPath, ['--input-type=module', '--eval', code], { env })).stdout.trim()
  }

  function install(modules: string): void {
    const root = folder(join(modules, 'wanted'), 0o755)
    writeFileSync(join(root, 'index.js'), `module.exports = ${JSON.stringify(modules)}`)
  }

  test('the package search finds a hoisted package, but none in a folder that everybody can write to', async () => {
    await withTempDir(async (temp) => {
      const open = folder(join(temp, 'open'), 0o1777)
      const project = folder(join(open, 'project'), 0o755)
      const program = join(folder(join(project, 'node_modules/ours/dist'), 0o755), 'program.js')
      install(folder(join(open, 'node_modules'), 0o777))
      expect(await wanted(program)).toBe('MODULE_NOT_FOUND')
      install(join(project, 'node_modules'))
      expect(await wanted(program)).toBe(join(project, 'node_modules'))
    })
  })

  test('the package search looks neither into NODE_PATH nor into HOME', async () => {
    await withTempDir(async (temp) => {
      install(folder(join(temp, 'path'), 0o755))
      install(folder(join(temp, 'home/.node_modules'), 0o755))
      const program = join(folder(join(temp, 'other'), 0o755), 'program.js')
      const env = { NODE_PATH: join(temp, 'path'), HOME: join(temp, 'home') }
      expect(await wanted(program, env)).toBe('MODULE_NOT_FOUND')
      expect(dirname(program)).toBe(join(temp, 'other'))
    })
  })
})
