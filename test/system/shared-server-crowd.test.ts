import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mke2fs } from '../library/images/ext.ts'
import { makeSif, SIF_TYPE } from '../library/images/sif.ts'
import { ATOMFS_FUSE, makeTempDir, mksquashfs, removeTempDir, run, writeTarImage } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { entries } from '../library/scenes/life.ts'
import { descriptorsOf, holdings, withShared } from '../library/scenes/shared.ts'

/** Many mounts by one server: of all kinds, under load, damaged, and again and again. */

/** Rounds of mount, read and umount; ATOMFS_STRESS=1: as many as the server would see in a day of builds. */
const IS_LONG = process.env['ATOMFS_STRESS'] === '1'
const ROUNDS = IS_LONG ? 1000 : 20
const MOST_ALIVE = IS_LONG ? 40 : 6

let folder = ''
let tree = ''
let squashfs = ''

beforeAll(async () => {
  folder = makeTempDir()
  tree = join(folder, 'tree')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/motd'), 'hello\n')
  writeFileSync(join(tree, 'large'), noise(8 << 20))
  squashfs = await mksquashfs(tree, join(folder, 'image.sqfs'))
})

afterAll(() => removeTempDir(folder))

/** Bytes that do not compress, always the same. */
function noise(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  let state = 7
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    bytes[at] = state >>> 16
  }
  return bytes
}

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
    const ext = await mke2fs(join(folder, 'image.ext4'), { from: tree })
    const sif = join(folder, 'image.sif')
    const partition = {
      type: SIF_TYPE.partition,
      partition: [1, 2, '02'] as const,
      data: readFileSync(squashfs),
    }
    writeFileSync(sif, makeSif({ parts: [partition] }))
    const puzzlefs = join(folder, 'puzzlefs')
    symlinkSync(ATOMFS_FUSE, puzzlefs)
    await run(puzzlefs, ['build', tree, `${join(folder, 'oci')}:puzzle`])
    const layer = join(folder, 'layer.tar')
    await run('tar', ['-C', tree, '-cf', layer, '.'])
    writeTarImage(join(folder, 'tars'), { tag: 'tar', layers: [readFileSync(layer)] })
    await withShared(async ({ mount, pidOf, servers, atomfs, target }) => {
      // The index of a tar layer is made by the first mount, which has a server of its own.
      const first = `${join(folder, 'tars')}:tar`
      await atomfs('mount', '--allow-missing-verity', first, target('first'))
      const targets = [
        await mount(squashfs, 'squashfs'),
        await mount(ext, 'ext4'),
        await mount(sif, 'sif'),
        await mount(`${join(folder, 'oci')}:puzzle`, 'puzzlefs'),
        await mount(first, 'tar', '--allow-missing-verity'),
      ]
      for (const place of targets) {
        expect(await read(place)).toBe('hello\n')
        await run('cmp', [join(tree, 'large'), join(place, 'large')])
      }
      expect(new Set(await Promise.all(targets.map(pidOf)))).toEqual(new Set(servers()))
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

  test(
    'holds in the end what it held at the start, after many mounts',
    async () => {
      await withShared(async ({ mount, atomfs, runDir, servers }) => {
        const kept = await mount(squashfs, 'kept')
        const other = await mksquashfs(join(tree, 'etc'), join(folder, 'other.sqfs'))
        const [pid = 0] = servers()
        const round = async (number: number): Promise<void> => {
          const alive = 1 + (number % MOST_ALIVE)
          const image = number % 2 === 0 ? other : squashfs
          const targets = await Promise.all(Array.from({ length: alive }, (_, i) => mount(image, `m${i}`)))
          for (const target of targets) {
            expect(await read(target, image === other ? 'motd' : 'etc/motd')).toBe('hello\n')
          }
          for (const target of targets) {
            if (number % 3 === 0) await run('umount', [target])
            else expect((await atomfs('umount', target)).status).toBe(0)
          }
        }
        for (let number = 0; number < 5; number++) await round(number)
        const settled = (): boolean => entries(runDir).length === 1 && !descriptorsOf(pid).includes(other)
        await until(settled, 'the end of the first rounds')
        const before = holdings(pid)
        for (let number = 0; number < ROUNDS; number++) await round(number)
        await until(settled, 'the end of all rounds')
        await until(() => holdings(pid).descriptors <= before.descriptors, 'all descriptors to be closed')
        expect(servers()).toEqual([pid])
        expect(holdings(pid).threads).toBeLessThanOrEqual(before.threads)
        expect(await read(kept)).toBe('hello\n')
        if (IS_LONG) process.stderr.write(`${ROUNDS} rounds: ${JSON.stringify([before, holdings(pid)])}\n`)
      })
    },
    IS_LONG ? 7_200_000 : 120_000,
  )
})
