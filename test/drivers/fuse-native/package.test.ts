import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import manifest from '../../../package.json' with { type: 'json' }
import { libfuseOptions } from '../../../src/drivers/fuse-native/libfuse-options.ts'
import { loadPackage } from '../../../src/drivers/fuse-native/package.ts'
import { inodeNumbers } from '../../../src/drivers/fuse-native/representation.ts'
import { withTempDir } from '../../library/index.ts'

/** Loads a package `fuse-native` whose main file is `code`. */
function loading(code: string): Promise<unknown> {
  return withTempDir((folder) => {
    const root = join(folder, 'node_modules', 'fuse-native')
    mkdirSync(root, { recursive: true })
    writeFileSync(join(root, 'package.json'), '{ "name": "fuse-native", "main": "index.js" }')
    writeFileSync(join(root, 'index.js'), code)
    return loadPackage(undefined, createRequire(join(folder, 'program.js')))
  })
}

describe('loadPackage', () => {
  test('loadPackage takes the package beside the program', async () => {
    expect(await loading('module.exports = class Fuse {}')).toHaveProperty('name', 'Fuse')
  })

  test('loadPackage tries again after it has looked for libfuse in the package', async () => {
    const code = `if (!globalThis.seen) { globalThis.seen = true; throw new Error('libfuse.so.2: cannot open') }`
    expect(await loading(`${code} module.exports = class Second {}`)).toHaveProperty('name', 'Second')
  })

  test.each([
    ["throw new Error('libfuse.so.2: cannot open')", 'libfuse.so.2: cannot open: install libfuse 2'],
    [
      "throw new Error('No native build was found for x')",
      `no binary for ${process.arch}: build it with 'npm`,
    ],
    ["throw new Error('something\\nelse')", 'cannot be loaded: something'],
  ])('loadPackage suggests a remedy after %s', async (code, text) => {
    const error = await loading(code).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'ENOSYS', message: expect.stringContaining(text) })
    expect((error as Error).message).not.toContain('\n')
  })

  test('loadPackage takes the package from the named folders only', async () => {
    await withTempDir((folder) => {
      const root = join(folder, 'chosen', 'fuse-native')
      mkdirSync(root, { recursive: true })
      writeFileSync(join(root, 'package.json'), '{ "name": "fuse-native", "main": "index.js" }')
      writeFileSync(join(root, 'index.js'), 'module.exports = class Chosen {}')
      expect(loadPackage([join(folder, 'none'), join(folder, 'chosen')])).toHaveProperty('name', 'Chosen')
      expect(() => loadPackage([join(folder, 'none')])).toThrow(
        expect.objectContaining({ code: 'ENOENT', message: expect.stringContaining('--driver-path') }),
      )
    })
  })

  test('loadPackage explains how to install a missing package', async () => {
    await withTempDir((folder) => {
      const require = createRequire(join(folder, 'program.js'))
      const resolve = (): never => {
        throw new Error('not found')
      }
      const without = Object.assign((id: string) => require(id), {
        ...require,
        resolve,
      }) as unknown as NodeJS.Require
      expect(() => loadPackage(undefined, without)).toThrow(
        expect.objectContaining({
          code: 'ENOENT',
          message: expect.stringContaining(
            `'npm install --ignore-scripts fuse-native@${manifest.peerDependencies['fuse-native']}'`,
          ),
        }),
      )
    })
  })
})

describe('libfuseOptions', () => {
  const OPTIONS = {
    target: '/mnt',
    fsname: 'a,b\\c',
    readOnly: true,
    nosuid: true,
    nodev: true,
    noexec: false,
    allowOther: false,
    defaultPermissions: true,
  }

  test('the libfuse options are read-only, cache without limit and escape the name', () => {
    const { text, warnings } = libfuseOptions(OPTIONS, true)
    expect(text).toBe(
      '-oro,default_permissions,nonempty,use_ino,kernel_cache,entry_timeout=2147483647,attr_timeout=2147483647,' +
        'negative_timeout=2147483647,subtype=atomfs-fuse,fsname=a\\,b\\\\c',
    )
    expect(warnings).toEqual([])
  })

  test('the libfuse options follow those of the mount, and only root gets nonempty', () => {
    const more = { ...OPTIONS, nosuid: false, nodev: false, noexec: true, maxRead: 65_536 }
    expect(libfuseOptions(more, false).text).toMatch(
      /^-oro,suid,dev,noexec,default_permissions,max_read=65536,use_ino/,
    )
  })

  test('the libfuse options are refused if the package would cut off a name', () => {
    const fails = (what: Partial<typeof OPTIONS>): unknown => {
      try {
        return libfuseOptions({ ...OPTIONS, ...what }, true)
      } catch (error) {
        return error
      }
    }
    expect(fails({ fsname: 'n'.repeat(1024) })).toMatchObject({ code: 'ENAMETOOLONG' })
    expect(fails({ target: `/${'ö'.repeat(512)}` })).toMatchObject({ code: 'ENAMETOOLONG' })
    expect(fails({ target: `/${'t'.repeat(1022)}` })).toHaveProperty('text')
  })
})

describe('inodeNumbers', () => {
  test('the inode numbers of a single layer are kept, and every layer above has different ones', () => {
    const shown = inodeNumbers(100)
    const LAYER = 2 ** 32
    expect([1, 60, 100].map(shown)).toEqual([1, 60, 100])
    const all = [0, 1, 2, 399].flatMap((index) => [1, 50, 100].map((ino) => shown(index * LAYER + ino)))
    expect(new Set(all).size).toBe(all.length)
    expect(Math.max(...all)).toBeLessThan(LAYER)
  })

  test('inode numbers fit in 32 bits for every number in an image', () => {
    const shown = inodeNumbers(2 ** 32 - 1)
    expect(shown(4095 * 2 ** 32 + 2 ** 32 - 1)).toBeLessThan(2 ** 32)
    expect(shown(4095 * 2 ** 32 + 2 ** 32 - 1)).toBeGreaterThanOrEqual(0)
  })
})
