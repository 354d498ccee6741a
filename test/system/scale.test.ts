import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { lutimesSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import {
  expectedAt,
  fileCount,
  MILLION,
  type MillionShape,
  packLayer,
  SMALL,
} from '../library/images/million.ts'
import {
  buildSourceTree,
  daemonPid,
  mksquashfs,
  needs,
  ociSource,
  Random,
  runProgram,
  TreeBuilder,
  titled,
  UNVERIFIED,
  withAtomfs,
  withTempDir,
} from '../library/index.ts'

/** Large trees and many readers at once. `ATOMFS_STRESS=1` makes both as large as they can be: minutes. */

const STRESS = process.env['ATOMFS_STRESS'] === '1'
const need = needs('root', 'fuse', 'tar2sqfs', 'find')
const needReaders = needs('root', 'fuse', 'mksquashfs')
const MIB = 2 ** 20
/** Measured: 134 MiB for 50 000 files, 191 MiB for 1 000 000, when all caches are filled to their bounds. */
const MEMORY_LIMIT = 320 * MIB

/** Peak resident memory of a process, bytes (proc_pid_status(5), VmHWM). */
function peakMemory(pid: number): number {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  if (match === null) throw new Error(`process ${pid} has no VmHWM`)
  return Number(match[1]) * 1024
}

/** Lists and stats a tree with find(1), comparing every line with the rule. @returns files seen, and differences */
async function checkListing(
  target: string,
  shape: MillionShape,
  timeout: number,
): Promise<{ files: number; directories: number; wrong: readonly string[]; status: number | null }> {
  const find = spawn('find', [target, '-mindepth', '1', '-printf', '%P\\t%y %m %U %T@ %n %s\\n'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout,
  })
  const exit = once(find, 'close')
  const wrong: string[] = []
  const seen = new Set<string>()
  let directories = 0
  for await (const line of createInterface({ input: find.stdout })) {
    const [path = '', shown = ''] = line.split('\t')
    if (shown.startsWith('d ')) directories += 1
    else {
      const file = expectedAt(shape, path)
      const expected =
        file && `f ${file.mode.toString(8)} ${file.uid} ${file.mtime}.0000000000 1 ${file.content.length}`
      if ((shown !== expected || seen.has(path)) && wrong.length < 10)
        wrong.push(`${line}, expected ${expected}`)
      seen.add(path)
    }
  }
  const [status] = (await exit) as [number | null]
  return { files: seen.size, directories, wrong, status }
}

function checkContents(target: string, shape: MillionShape): void {
  const random = new Random(99)
  for (let i = 0; i < 200; i += 1) {
    const directory = random.int(0, shape.directories - 1)
    const name = random.int(0, shape.names / 10 - 1) * 10 + 3
    const path = `d${String(directory).padStart(4, '0')}/file-${String(name).padStart(6, '0')}`
    expect(readFileSync(join(target, path), 'utf8'), path).toBe(expectedAt(shape, path)?.content)
  }
  // The deleted ones are not there for lookup either.
  expect(statSync(join(target, 'd0000/file-000099'), { throwIfNoEntry: false })).toBeUndefined()
}

async function checkLargeTree(shape: MillionShape, memoryLimit: number, timeout: number): Promise<void> {
  await withTempDir(async (temp) => {
    const images = [0, 1, 2].map((layer) => join(temp, `layer${layer}.squashfs`))
    const times: Record<string, number> = {}
    let last = Date.now()
    const lap = (what: string) => {
      times[what] = (Date.now() - last) / 1000
      last = Date.now()
    }
    for (const [layer, image] of images.entries()) await packLayer(shape, layer, image, timeout)
    const source = await ociSource(temp, 'oci', images)
    lap('pack')
    await withAtomfs(
      temp,
      source,
      async ({ target, runDir }) => {
        lap('mount')
        const listed = await checkListing(target, shape, timeout)
        lap('list and stat')
        const files = fileCount(shape)
        expect(listed).toEqual({ files, directories: shape.directories + 1, wrong: [], status: 0 })
        checkContents(target, shape)
        const peak = peakMemory(daemonPid(runDir))
        console.info(`${files} files: ${JSON.stringify(times)} s, daemon peak ${Math.round(peak / MIB)} MiB`)
        expect(peak).toBeLessThan(memoryLimit)
      },
      UNVERIFIED,
      { timeout },
    )
  })
}

describe.skipIf(!need.ok)(titled('large merged trees', need), () => {
  test('50 000 files in three layers are walked in bounded memory', async () => {
    await checkLargeTree(SMALL, MEMORY_LIMIT, 120_000)
  })

  test.skipIf(!STRESS)(
    '1 000 000 files in three layers are walked in the same memory (ATOMFS_STRESS=1)',
    async () => {
      await checkLargeTree(MILLION, MEMORY_LIMIT, 900_000)
    },
    2_000_000,
  )
})

interface Work {
  readonly reads: number
  readonly bytes: number
  readonly walks: number
}

const LARGE_FILES = 12

/** Two layers, and a directory that is their merge: small files of all kinds, and some of 1 and 4 MB. */
async function makeReadersTree(temp: string): Promise<{ readonly tree: string; readonly source: string }> {
  const [tree, large] = [join(temp, 'tree'), join(temp, 'large')]
  for (const directory of [tree, large]) mkdirSync(directory)
  buildSourceTree(tree, { size: 'small', blockSize: 65_536 })
  const { mtimeMs } = statSync(tree)
  const more = new TreeBuilder(large, 3)
  more.mtime('', mtimeMs / 1000)
  for (let i = 0; i < LARGE_FILES; i += 1) {
    more.file(`large-${i}`, i % 2 === 0 ? more.random.text(4_000_000) : more.random.bytes(1_000_000 + i))
  }
  more.close()
  const images = [
    await mksquashfs(tree, join(temp, 'tree.squashfs'), { compressor: 'zstd', blockSize: 65_536 }),
    await mksquashfs(large, join(temp, 'large.squashfs'), { compressor: 'gzip', blockSize: 131_072 }),
  ]
  for (let i = 0; i < LARGE_FILES; i += 1) renameSync(join(large, `large-${i}`), join(tree, `large-${i}`))
  lutimesSync(tree, mtimeMs / 1000, mtimeMs / 1000)
  return { tree, source: await ociSource(temp, 'oci', images) }
}

/** Each reader and walker is a process, and fails by itself where something differs. */
async function workTogether(target: string, tree: string, seconds: number): Promise<readonly Work[]> {
  const start = async (kind: string, seed: number): Promise<Work> => {
    const args = [kind, target, tree, `${seconds}`, `${seed}`]
    const text = await runProgram('images/million-reader-main', args, { timeout: seconds * 1000 + 120_000 })
    return JSON.parse(text) as Work
  }
  // Four pairs: both of a pair read the same files in the same order.
  const readers = [1, 1, 2, 2, 3, 3, 4, 4].map((seed) => start('read', seed))
  return await Promise.all([...readers, start('walk', 0), start('walk', 0)])
}

describe.skipIf(!needReaders.ok)(titled('many readers at once', needReaders), () => {
  const seconds = STRESS ? 60 : 8
  // Few slots and several workers; under stress also the fewest slots there can be, and no worker at all.
  const settings = ['cache_size=4M,threads=3', ...(STRESS ? ['cache_size=1M,threads=1', 'threads=0'] : [])]
  test.each(settings)(
    `8 readers and 2 walkers get right bytes for ${seconds} s with %s`,
    async (setting) => {
      await withTempDir(async (temp) => {
        const { tree, source } = await makeReadersTree(temp)
        const args = [...UNVERIFIED, '-o', setting]
        const work = await withAtomfs(temp, source, ({ target }) => workTogether(target, tree, seconds), args)
        const sum = (field: keyof Work) => work.reduce((total, one) => total + one[field], 0)
        console.info(
          `${setting}: ${sum('reads')} reads, ${Math.round(sum('bytes') / MIB)} MiB, ${sum('walks')} walks`,
        )
        for (const one of work) expect(one.reads + one.walks).toBeGreaterThan(0)
      })
    },
    400_000,
  )
})
