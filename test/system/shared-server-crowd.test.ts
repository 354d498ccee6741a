import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { atomfsFuse, makeTempDir, mksquashfs, removeTempDir, run } from '../library/index.ts'
import { entries } from '../library/scenes/life.ts'
import { withShared } from '../library/scenes/shared.ts'
import { makeSharedSources, type SharedSources } from '../library/scenes/shared-images.ts'

/** Many mounts by one server: of all kinds, under load, and damaged. */

let folder = ''
let images: SharedSources
let squashfs = ''

beforeAll(async () => {
  folder = makeTempDir()
  images = await makeSharedSources(folder, 8 << 20)
  squashfs = images.sources[0]?.source ?? ''
})

afterAll(() => removeTempDir(folder))

async function read(target: string, name = 'etc/motd'): Promise<string> {
  const { stdout, stderr } = await run('cat', [join(target, name)], { allowFailure: true })
  return stdout || stderr
}

/** Puts one damaged byte into a copy of an image, in the middle of its data. */
function damaged(image: string, copy: string): string {
  const bytes = readFileSync(image)
  const at = Math.floor(bytes.length / 3)
  bytes.fill(0x5a, at, at + 4096)
  writeFileSync(copy, bytes)
  return copy
}

describe('one server', () => {
  test('shows images of every kind at once', async () => {
    await withShared(async ({ mount, pidOf, servers, atomfs, target }) => {
      const targets: string[] = []
      for (const [i, { source, words, isIndexed }] of images.sources.entries()) {
        if (isIndexed) await atomfs('mount', ...words, source, target('first'))
        targets.push(await mount(source, `m${i}`, ...words))
      }
      for (const place of targets) {
        expect(await read(place)).toBe('hello\n')
        await run('cmp', [join(images.tree, 'large'), join(place, 'large')])
      }
      expect(new Set(await Promise.all(targets.map(pidOf)))).toEqual(new Set(servers()))
    })
  })

  test('leaves an image whose decoder is a package to an own one', async () => {
    const gzip = await mksquashfs(images.tree, join(folder, 'gzip.sqfs'), { compressor: 'gzip' })
    const lzo = await mksquashfs(images.tree, join(folder, 'lzo.sqfs'), { compressor: 'lzo' })
    await withShared(async ({ target, pidOf, servers, runDir, env }) => {
      const mount = async (image: string, name: string): Promise<string> => {
        const options = { runDir, env: { ...env, ATOMFS_CODECS: 'portable' } }
        const { stderr } = await atomfsFuse(['mount', image, target(name)], options)
        expect(stderr).toBe('')
        await run('cmp', [join(images.tree, 'large'), join(target(name), 'large')])
        return target(name)
      }
      const own = await pidOf(await mount(gzip, 'gzip'))
      expect(servers()).not.toContain(own)
      // Built in.
      expect(servers()).toContain(await pidOf(await mount(lzo, 'lzo')))
    })
  })

  test('gives a damaged image errors, and nobody else', async () => {
    const pages = join(folder, 'pages')
    mkdirSync(pages)
    const lines = Array.from({ length: 300_000 }, (_, i) => `${i * 7919}\n`)
    writeFileSync(join(pages, 'large'), lines.join(''))
    writeFileSync(join(pages, 'motd'), 'hello\n')
    const good = await mksquashfs(pages, join(folder, 'good.sqfs'))
    const bad = damaged(good, join(folder, 'bad.sqfs'))
    await withShared(async ({ mount, runDir, servers }) => {
      const sick = await mount(bad, 'sick')
      const sound = await mount(good, 'sound')
      const [{ stderr }] = await Promise.all([
        run('cmp', [join(pages, 'large'), join(sick, 'large')], { allowFailure: true }),
        run('cmp', [join(pages, 'large'), join(sound, 'large')]),
      ])
      expect(stderr).toContain('Input/output error')
      expect(await read(sick, 'motd')).toBe('hello\n')
      const logs = entries(runDir).map((entry) => readFileSync(join(entry, 'log'), 'utf8'))
      expect(logs.filter((log) => log.includes(' error: ')).length).toBe(1)
      expect(servers().length).toBe(1)
    })
  })

  test('lets a small reader through beside heavy ones', async () => {
    await withShared(async ({ mount }) => {
      const heavy = await Promise.all([0, 1, 2, 3].map((i) => mount(squashfs, `heavy${i}`)))
      const small = await mount(squashfs, 'small', '-o', 'subdir=etc')
      // Readers that never end. What they have read leaves the page cache, so that each round asks the server.
      const loop =
        'while :; do cat "$0/large" >/dev/null; dd if="$0/large" iflag=nocache count=0 2>/dev/null; done'
      const readers = heavy.map((target) => spawn('sh', ['-c', loop, target], { stdio: 'ignore' }))
      try {
        for (let i = 0; i < 20; i++) expect(await read(small, 'motd')).toBe('hello\n')
        expect(readers.every(({ exitCode }) => exitCode === null)).toBe(true)
      } finally {
        for (const reader of readers) reader.kill('SIGKILL')
        await Promise.all(readers.map((reader) => reader.exitCode ?? once(reader, 'close')))
      }
    })
  })
})
