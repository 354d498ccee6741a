import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  atomfsFuse,
  makeTempDir,
  mksquashfs,
  mountsBelow,
  needs,
  ociSource,
  type RunResult,
  removeTempDir,
  run,
  titled,
  UNVERIFIED,
} from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { entries, inScene, readLog, type Scene } from '../library/scenes/life.ts'
import { type KnownFile, knownFile, SteadyReaders } from '../library/scenes/steady-readers.ts'

/** A thread of a server runs out of memory or meets a bug: its mount goes on. */

const need = needs('root', 'fuse', 'mksquashfs')

/** Deaths for each way in which requests go on, two a mount. */
const DEATHS = process.env['ATOMFS_STRESS'] === undefined ? 2 : 50
const READERS = 3
const LAYERS = 10
/** Their names fill more than one answer to READDIR, in each of two folders. */
const FILES = 60
const NAME = 'n'.repeat(200)

let folder = ''
let source = ''
const files: KnownFile[] = []

/** Every layer has both folders, and some files in each. */
beforeAll(async () => {
  folder = makeTempDir()
  const images: string[] = []
  for (let layer = 0; layer < LAYERS; layer++) {
    const tree = join(folder, `tree${layer}`)
    for (const place of ['top', 'top/below/deep']) {
      mkdirSync(join(tree, place), { recursive: true })
      for (let i = layer; i < FILES; i += LAYERS) {
        const path = `${place}/${NAME}${i}`
        const content = Buffer.alloc(40_000 + i * 7, path)
        writeFileSync(join(tree, path), content)
        files.push(knownFile(path, content))
      }
    }
    images.push(await mksquashfs(tree, join(folder, `${layer}.sqfs`)))
  }
  source = await ociSource(folder, 'oci', images)
})

afterAll(() => removeTempDir(folder))

interface DyingScene extends Scene {
  /** Makes one thread die, and returns when the log says so for the `count`th time. */
  readonly die: (
    thread: 'dispatcher' | 'data-worker',
    kind: 'throw' | 'memory',
    count: number,
  ) => Promise<void>
  /** Folder of the files that make threads die. */
  readonly faults: string
  readonly deaths: () => readonly string[]
}

async function inDyingScene(
  words: readonly string[],
  play: (scene: DyingScene) => Promise<void>,
): Promise<void> {
  await inScene(async (scene) => {
    const faults = join(scene.folder, 'faults')
    mkdirSync(faults)
    // A shared server writes what is about no single mount into a log of its own, and a bug at a request ends the mount.
    const env = { ATOMFS_TEST_FAULTS: faults, ATOMFS_SERVER: 'own' }
    await atomfsFuse(['mount', ...words, scene.target], { runDir: scene.runDir, env })
    const deaths = (): readonly string[] =>
      readLog(scene.runDir)
        .split('\n')
        .filter((line) => line.includes(' died'))
    await play({
      ...scene,
      faults,
      deaths,
      die: async (thread, kind, count) => {
        writeFileSync(join(faults, thread), kind)
        await until(() => deaths().length >= count, `death ${count} in the log`, 60_000)
      },
    })
  })
}

const LISTED = Array.from({ length: FILES }, (_, i) => `${NAME}${i}`)

describe.skipIf(!need.ok)(titled('a dispatcher of a read-only mount that dies', need), () => {
  test.each([
    ['the kernel sends requests again', []],
    ['requests under way are refused', ['no-resend']],
  ] as const)(
    'of a lack of memory, and then by a bug: another one goes on, and %s',
    async (_, marks) => {
      for (let mount = 0; mount < DEATHS / 2; mount++) {
        await inDyingScene([...UNVERIFIED, source], async ({ target, die, deaths, faults }) => {
          for (const mark of marks) writeFileSync(join(faults, mark), '')
          const readers = new SteadyReaders()
          try {
            await readers.start(READERS, target, files)
            await die('dispatcher', 'memory', 1)
            await die('dispatcher', 'throw', 2)
            for (const { refused, wrong, again, listed, reads } of await readers.end()) {
              expect({ wrong, again }).toEqual({ wrong: [], again: true })
              expect(listed['top']).toEqual([...LISTED, 'below'].sort())
              expect(listed['top/below/deep']).toEqual([...LISTED].sort())
              expect(reads).toBeGreaterThan(0)
              // A reader has one request under way.
              expect(refused).toBeLessThanOrEqual(marks.length === 0 ? 0 : 2)
            }
          } finally {
            readers.kill()
          }
          expect(deaths()).toEqual([
            expect.stringMatching(/warn: the dispatcher died.*reaching memory limit/),
            expect.stringMatching(/warn: the dispatcher died.*a bug for a test/),
          ])
          expect((await run('find', [target])).stdout.trim().split('\n')).toHaveLength(1 + 3 + 2 * FILES)
        })
      }
    },
    DEATHS * 20_000,
  )

  test('a request that kills three of them ends its mount, with one line for each', async () => {
    await inDyingScene([...UNVERIFIED, source], async ({ target, faults, deaths, runDir }) => {
      writeFileSync(join(faults, 'dispatcher'), 'throw poison')
      const { status, stderr } = await run(
        'sh',
        ['-c', 'cd "$1" && exec 3<. && ls poison; ls -l /proc/self/fd/3/', 'sh', join(target, 'top')],
        { allowFailure: true },
      )
      expect(status).not.toBe(0)
      expect(stderr).toMatch(/poison.*(not connected|connection abort)/i)
      await until(() => mountsBelow(target).length === 0, 'the end of the mount')
      expect(deaths()).toHaveLength(3)
      expect(deaths()[2]).toMatch(
        /error: the dispatcher died while it handled LOOKUP of node \d+: .*that is death 3/,
      )
      // The entry stays until somebody has seen the log of it.
      expect(entries(runDir)).toHaveLength(1)
      await atomfsFuse(['mount', ...UNVERIFIED, source, target], { runDir })
      await atomfsFuse(['umount', target], { runDir })
      expect(entries(runDir)).toEqual([])
    })
  })

  test('a writable mount ends with its dispatcher, and what was written stays', async () => {
    await inScene(async ({ folder: own, target, runDir }) => {
      const faults = join(own, 'faults')
      mkdirSync(faults)
      const words = ['mount', ...UNVERIFIED, '--persist', join(own, 'changes'), source, target]
      await atomfsFuse(words, { runDir, env: { ATOMFS_TEST_FAULTS: faults } })
      const script =
        'cd "$1" && echo one >written && exec 3>>written && echo two >&3 && printf throw >"$2" && ls absent'
      const fault = join(faults, 'dispatcher')
      const { status, stderr } = await run('sh', ['-c', script, 'sh', target, fault], { allowFailure: true })
      expect(status).not.toBe(0)
      expect(stderr).toMatch(/absent.*(not connected|connection abort)/i)
      await until(() => mountsBelow(target).length === 0, 'the end of the mount')
      expect(readLog(runDir)).toMatch(/error: the dispatcher died: .*a bug for a test/)
      await atomfsFuse(words, { runDir })
      expect((await run('cat', [join(target, 'written')])).stdout).toBe('one\ntwo\n')
      await atomfsFuse(['umount', target], { runDir })
    })
  })
})

function allLogs(runDir: string): string {
  return entries(runDir)
    .map((entry) => readFileSync(join(entry, 'log'), 'utf8'))
    .join('\n')
}

/** Random bytes in blocks of 4 KiB: one READ wants so many that it goes to a data worker. */
const BLOCKS = { blockSize: 4096, compressor: 'zstd' } as const

describe.skipIf(!need.ok)(titled('a data worker that dies', need), () => {
  const large: KnownFile[] = []
  /** Too large for the dispatcher to copy it at once. */
  const big = randomBytes(8 << 20)
  let image = ''

  beforeAll(async () => {
    const tree = join(folder, 'large')
    mkdirSync(join(tree, 'data'), { recursive: true })
    for (let i = 0; i < 8; i++) {
      const content = Buffer.from(Array.from({ length: 40_000 }, (_, at) => `${at * (i + 7)} `).join(''))
      writeFileSync(join(tree, `data/${i}`), content)
      large.push(knownFile(`data/${i}`, content))
    }
    writeFileSync(join(tree, 'big'), big)
    image = await mksquashfs(tree, join(folder, 'large.sqfs'), BLOCKS)
  })

  test.each([
    ['a read-only mount', [], ['throw', 'memory']],
    ['a writable mount', ['--writeable'], ['memory', 'throw', 'throw']],
  ] as const)('of %s: its requests get EIO, and others come', async (_, words, kinds) => {
    await inDyingScene([...words, '-o', 'threads=2', image], async ({ target, die, deaths }) => {
      const readers = new SteadyReaders()
      try {
        await readers.start(READERS, target, large)
        for (const [at, kind] of kinds.entries()) await die('data-worker', kind, at + 1)
        for (const { refused, wrong, again, reads } of await readers.end()) {
          expect({ wrong, again }).toEqual({ wrong: [], again: true })
          expect(reads).toBeGreaterThan(0)
          // Some readers wait for the same blocks.
          expect(refused).toBeLessThanOrEqual(3)
        }
      } finally {
        readers.kill()
      }
      const reasons = { memory: 'memory limit', throw: 'a bug for a test' } as const
      const ends = [
        'what it had begun got EIO',
        'what it had begun got EIO',
        'death 3, and no other one comes for',
      ]
      expect(deaths()).toEqual(
        kinds.map((kind, at) =>
          expect.stringMatching(
            new RegExp(`warn: data worker \\d died: .*${reasons[kind]}.*; .*${ends[at]}`),
          ),
        ),
      )
    })
  })

  test('during a copy: the change fails, the upper is as before, and the next attempt succeeds', async () => {
    // One worker: of two, the other may be the one that dies, while it reads ahead.
    await inDyingScene(['--writeable', '-o', 'threads=1', image], async ({ target, faults, deaths }) => {
      const file = join(target, 'big')
      writeFileSync(join(faults, 'data-worker'), 'memory')
      const change = (): Promise<RunResult> => run('chmod', ['600', file], { allowFailure: true })
      const failed = await change()
      expect([failed.status, failed.stderr]).toEqual([1, expect.stringMatching(/Input\/output error/)])
      await until(() => deaths().length === 1, 'the line about it')
      const look = async (): Promise<string> =>
        (await run('sh', ['-c', 'stat -c %a "$1"; sha256sum <"$1"', 'sh', file])).stdout
      const { sha256 } = knownFile('big', big)
      expect(await look()).toBe(`644\n${sha256}  -\n`)
      expect((await change()).status).toBe(0)
      expect(await look()).toBe(`600\n${sha256}  -\n`)
    })
  })
})

describe.skipIf(!need.ok)(titled('a dispatcher of a server of several mounts that dies', need), () => {
  test('all mounts go on, and the third death at a request of one ends that one', async () => {
    await inScene(async ({ folder: own, target, runDir }) => {
      const faults = join(own, 'faults')
      const other = join(own, 'other')
      for (const path of [faults, other]) mkdirSync(path)
      const env = { ATOMFS_TEST_FAULTS: faults }
      const readers = new SteadyReaders()
      try {
        for (const place of [target, other]) {
          await atomfsFuse(['mount', ...UNVERIFIED, '-o', 'server=shared', source, place], { runDir, env })
        }
        await readers.start(2, other, files)
        const fault = join(faults, 'dispatcher')
        writeFileSync(fault, 'memory')
        await until(() => !existsSync(fault), 'a death')
        const top = join(target, 'top')
        writeFileSync(fault, 'memory poison')
        const { stderr } = await run('ls', [join(top, 'poison')], { allowFailure: true })
        expect(stderr, allLogs(runDir)).toMatch(/poison.*(not connected|connection abort)/i)
        await until(() => mountsBelow(target).length === 0, 'the end of one mount')
        for (const { wrong, again, refused, listed } of await readers.end()) {
          expect({ wrong, again, refused }).toEqual({ wrong: [], again: true, refused: 0 })
          expect(listed['top/below/deep']).toEqual([...LISTED].sort())
        }
        expect(mountsBelow(other)).toHaveLength(1)
      } finally {
        readers.kill()
        await run('umount', ['-l', other], { allowFailure: true })
      }
    })
  })
})
