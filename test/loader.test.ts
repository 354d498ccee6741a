import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeTempDir, needs, removeTempDir, run, titled, withTempDir } from './library/index.ts'

/** Where the loader keeps compiled code, and whose code it takes. */

/** Says whether it came compiled, then saves itself as a mount does. */
const PROGRAM = `
${'// some length\n'.repeat(200)}const table = [${'"some text", '.repeat(300)}]
process.stdout.write(__codeCache.isTaken + ' ' + process.argv.slice(2).join())
process.chdir('/proc/self/fd')
__codeCache.save()
`

/** Says how often its text lies in memory while it runs. Its compiled code holds that, too. */
const HEAVY = `
const text = '${'x'.repeat(16 << 20)}'
const v8 = require('node:v8')
v8.setFlagsFromString('--expose-gc')
const collect = require('node:vm').runInNewContext('gc')
v8.setFlagsFromString('--no-expose-gc')
collect()
collect()
const { heapUsed, external } = process.memoryUsage()
process.stdout.write(__codeCache.isTaken + ' ' + Math.floor((heapUsed + external) / text.length))
process.chdir('/proc/self/fd')
__codeCache.save()
`

/** Saves itself for each of the kinds of work in KINDS. */
const KINDS = `
process.stdout.write(String(__codeCache.isTaken))
process.chdir('/proc/self/fd')
for (const kinds of process.env.KINDS.split(' ')) __codeCache.save(BigInt(kinds))
__codeCache.leave()
__codeCache.save(1n << 60n)
`

let folder = ''
beforeAll(async () => {
  folder = makeTempDir()
  await build({
    entryPoints: [fileURLToPath(new URL('../src/loader.ts', import.meta.url))],
    outfile: join(folder, 'loader.cjs'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
  })
  writeProgram('0'.repeat(32))
})
afterAll(() => removeTempDir(folder))

function writeProgram(digest: string, first = '', program = PROGRAM): void {
  writeFileSync(join(folder, 'probe.cjs'), `// ${digest}\n${first}${program}`)
}

/** Runs a program with a place for its code. @returns what it says */
async function load(env: Readonly<Record<string, string>>, name = 'probe'): Promise<string> {
  const words = [join(folder, 'loader.cjs'), name, 'program', 'a', 'b']
  return (await run(process.execPath, words, { env })).stdout
}

async function inCache(
  play: (cache: string, env: { XDG_CACHE_HOME: string }) => Promise<void>,
): Promise<void> {
  await withTempDir(async (cache) => await play(join(cache, 'atomfs-fuse'), { XDG_CACHE_HOME: cache }))
}

describe('compiled code', () => {
  test('compiled code is taken from the second run on, and only for the same program', async () => {
    await inCache(async (cache, env) => {
      expect(await load(env)).toBe('false a,b')
      const [name] = readdirSync(cache)
      expect(name).toBe(`probe-${'0'.repeat(32)}-${process.version}-${process.arch}`)
      expect(await load(env)).toBe('true a,b')
      writeProgram('1'.repeat(32))
      expect(await load(env)).toBe('false a,b')
      writeProgram('0'.repeat(32))
      expect(await load(env)).toBe('true a,b')
    })
  })

  test('code of a dispatcher is written again where one did what none has done before, until it leaves', async () => {
    await inCache(async (cache, env) => {
      writeFileSync(join(folder, 'dispatcher.cjs'), `// ${'5'.repeat(32)}\n${KINDS}`)
      const isWritten = async (kinds: string, isTaken = true): Promise<boolean> => {
        expect(await load({ ...env, KINDS: kinds }, 'dispatcher')).toBe(`${isTaken}`)
        const file = join(cache, readdirSync(cache)[0]!)
        const written = statSync(file).mtimeMs > 0
        utimesSync(file, 0, 0)
        return written
      }
      expect(await isWritten('0', false)).toBe(true)
      expect(await isWritten('0')).toBe(false)
      expect(await isWritten('1 4')).toBe(true)
      expect(await isWritten('5')).toBe(false)
      expect(await isWritten(`6 ${1n << 63n}`)).toBe(true)
      expect(await isWritten(`3 4 ${1n << 63n}`)).toBe(false)
    })
  })

  test('damaged code is not taken, and is written anew', async () => {
    await inCache(async (cache, env) => {
      await load(env)
      const file = join(cache, readdirSync(cache)[0]!)
      const code = readFileSync(file)
      const hole = Buffer.concat([code.subarray(0, 512), Buffer.alloc(512), code.subarray(1024)])
      for (const bytes of ['', 'x', Buffer.alloc(5000), code.subarray(0, -1), hole]) {
        writeFileSync(file, bytes)
        expect(await load(env)).toBe('false a,b')
        expect(await load(env)).toBe('true a,b')
      }
    })
  })

  test('code that others could have written is not taken', async () => {
    await inCache(async (cache, env) => {
      await load(env)
      const file = join(cache, readdirSync(cache)[0]!)
      chmodSync(file, 0o620)
      expect(await load(env)).toBe('false a,b')
      expect(await load(env)).toBe('true a,b')
      renameSync(file, `${cache}.elsewhere`)
      symlinkSync(`${cache}.elsewhere`, file)
      expect(await load(env)).toBe('false a,b')
      expect(await load(env)).toBe('true a,b')
      chmodSync(cache, 0o777)
      expect([await load(env), await load(env)]).toEqual(['false a,b', 'false a,b'])
    })
  })

  test('the client of a shared server comes compiled, too, and loads what it needs for directories', async () => {
    await inCache(async (_, env) => {
      const url = `data:text/javascript,${encodeURIComponent('export const two = 2')}`
      const load = `__import(${JSON.stringify(url)}).then(({ two }) => process.stdout.write(' ' + two))\n`
      writeFileSync(join(folder, 'ask.cjs'), `// ${'4'.repeat(32)}\n${load}${PROGRAM}`)
      const words = [join(folder, 'loader.cjs'), 'ask', '1', '', 'program', 'a']
      for (const isTaken of [false, true]) {
        const { stdout } = await run(process.execPath, words, { env })
        expect(stdout).toBe(`${isTaken} ,program,a 2`)
      }
    })
  })

  test('a program runs without a place for its code', async () => {
    await withTempDir(async (home) => {
      writeFileSync(join(home, 'file'), '')
      expect(await load({ XDG_CACHE_HOME: join(home, 'file') })).toBe('false a,b')
      const link = join(home, 'link')
      mkdirSync(link)
      symlinkSync(home, join(link, 'atomfs-fuse'))
      expect(await load({ XDG_CACHE_HOME: link })).toBe('false a,b')
      expect(readdirSync(home).sort()).toEqual(['file', 'link'])
    })
  })

  test('code that was made under other flags than those of a start is not kept', async () => {
    await inCache(async (cache, env) => {
      writeProgram(
        '2'.repeat(32),
        "process.getBuiltinModule('v8').setFlagsFromString('--optimize-for-size')\n",
      )
      expect(await load(env)).toBe('false a,b')
      expect(readdirSync(cache)).toEqual([])
      writeProgram('0'.repeat(32))
    })
  })

  test('a program that runs holds its source once, and nothing of the cache', async () => {
    await inCache(async (_, env) => {
      writeProgram('3'.repeat(32), '', HEAVY)
      // In the source, and as a string.
      expect([await load(env), await load(env)]).toEqual(['false 2', 'true 2'])
      writeProgram('0'.repeat(32))
    })
  })

  const root = needs('root')
  test.skipIf(!root.ok)(titled('the code of a stranger is not taken', root), async () => {
    await inCache(async (cache, env) => {
      await load(env)
      const file = join(cache, readdirSync(cache)[0]!)
      chownSync(file, 65_534, 65_534)
      expect(await load(env)).toBe('false a,b')
      expect(await load(env)).toBe('true a,b')
      chownSync(cache, 65_534, 65_534)
      expect([await load(env), await load(env)]).toEqual(['false a,b', 'false a,b'])
    })
  })
})
