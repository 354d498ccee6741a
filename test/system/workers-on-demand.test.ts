import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  addBusybox,
  bundleProgram,
  daemonPid,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
} from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { inScene, readLog } from '../library/scenes/life.ts'

/** Data workers that come when there is work, end when there is none, and come back. */

const repository = fileURLToPath(new URL('../..', import.meta.url))
const root = needs('root')
const moved = needs('root', 'unshare', 'busybox')
const traced = needs('root', 'strace')

const isStress = process.env['ATOMFS_STRESS'] !== undefined
/** How often a worker comes at least, and files that are read for it: a busy machine starts a thread for a few of them. */
const STARTS = isStress ? 1000 : 2
const MANY = isStress ? 10_000 : 80

/** Each is read once: the kernel does not ask for it again. */
const FILES = 6
const SIZE = 1 << 20

let folder = ''
let image = ''
const contents = Array.from({ length: FILES }, () => randomBytes(SIZE))

beforeAll(async () => {
  folder = makeTempDir()
  const tree = join(folder, 'tree')
  mkdirSync(join(tree, 'data'), { recursive: true })
  contents.forEach((content, i) => {
    writeFileSync(join(tree, `data/${i}`), content)
  })
  image = join(folder, 'image')
  await mksquashfs(tree, image)
  if (moved.ok) manyFiles = makeManyFiles(MANY)
  await manyFiles
})

afterAll(() => removeTempDir(folder))

/** Number of data workers, which bear names of their own. */
function workersOf(pid: number): number {
  const names = readdirSync(`/proc/${pid}/task`).map((task) => {
    try {
      return readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8')
    } catch {
      // It has just ended.
      return ''
    }
  })
  return names.filter((name) => name.startsWith('data worker')).length
}

/** Workers come once after the mount is ready, before there is work. */
async function firstWorkersEnd(pid: number): Promise<void> {
  await until(() => workersOf(pid) > 0, 'the first workers')
  await until(() => workersOf(pid) === 0, 'the end of the first workers')
}

let manyFiles: ReturnType<typeof makeManyFiles>

/** Blocks of 4 KiB: one READ of a file needs several of them, so it wants a worker. */
async function makeManyFiles(count: number): Promise<{ readonly image: string; readonly hashes: string[] }> {
  const tree = join(folder, 'many')
  for (const path of ['mnt', 'proc', 'dev', 'many']) mkdirSync(join(tree, path), { recursive: true })
  const hashes = Array.from({ length: count }, (_, i) => {
    const content = Buffer.alloc(16_384, `${i} is the number of this file\n`)
    writeFileSync(join(tree, `many/${i}`), content)
    return createHash('md5').update(content).digest('hex')
  })
  // What the shell opens for the input of a job in the background.
  writeFileSync(join(tree, 'dev/null'), '')
  addBusybox(tree, 'md5sum', 'sleep', 'umount')
  return { image: await mksquashfs(tree, join(folder, 'many.sqfs'), { extra: ['-b', '4096'] }), hashes }
}

/** A program of its own folder, with the threads that it starts, all of which can be removed. */
async function bundleRestless(): Promise<string> {
  const program = await bundleProgram(join(repository, 'test/library/programs/restless-main.ts'))
  const place = join(repository, `.cache/test/restless-${process.pid}`)
  mkdirSync(place)
  cpSync(program, join(place, 'main.mjs'))
  for (const name of ['loader.cjs', 'dispatcher.cjs', 'data-worker.cjs'])
    cpSync(join(repository, 'dist', name), join(place, name))
  return place
}

/** By a process of its own: a mount is never touched by the process that serves it, nor by one that others wait for. */
async function readOf(target: string, file: number): Promise<string> {
  return (await run('sha256sum', [join(target, `data/${file}`)])).stdout.slice(0, 64)
}

async function hashOf(file: number): Promise<string> {
  return (await run('sha256sum', [join(folder, `tree/data/${file}`)])).stdout.slice(0, 64)
}

describe('data workers', () => {
  test.skipIf(!root.ok)(
    titled('data workers come, end and come back after the folder of the package is gone', root),
    async () => {
      await inScene(async ({ folder: scene, target, runDir }) => {
        const copy = join(scene, 'package')
        for (const name of ['dist', 'package.json', 'node_modules/commander', 'node_modules/koffi'])
          cpSync(join(repository, name), join(copy, name), { recursive: true })
        cpSync(join(repository, 'node_modules/@koromix'), join(copy, 'node_modules/@koromix'), {
          recursive: true,
        })
        const env = { ATOMFS_TEST_RUN_DIR: runDir }
        await run(process.execPath, [join(copy, 'dist/cli.js'), 'mount', '-o', 'threads=2', image, target], {
          env,
        })
        rmSync(copy, { recursive: true })
        const pid = daemonPid(runDir)
        try {
          await firstWorkersEnd(pid)
          for (const file of [0, 1]) {
            expect(await readOf(target, file)).toBe(await hashOf(file))
            await until(() => workersOf(pid) > 0, `a worker for file ${file}`)
            await until(() => workersOf(pid) === 0, `the end of the workers after file ${file}`)
          }
          expect(await readOf(target, 2)).toBe(await hashOf(2))
          expect(readLog(runDir)).toBe('')
        } finally {
          await run('umount', [target])
        }
      })
    },
  )

  test.skipIf(!traced.ok)(
    titled(
      'a mount for which no thread can be started serves all the same, with one line in its log',
      traced,
    ),
    async () => {
      await inScene(async ({ target, runDir }) => {
        const env = { ATOMFS_TEST_RUN_DIR: runDir }
        // A shared server says it in its own log.
        await run(ATOMFS_FUSE, ['mount', '-o', 'threads=2,server=own', image, target], { env })
        const pid = daemonPid(runDir)
        await firstWorkersEnd(pid)
        const inject = ['-f', '-qq', '-e', 'trace=clone,clone3', '-e', 'inject=clone,clone3:error=EAGAIN']
        const tracer = spawn('strace', [...inject, '-o', '/dev/null', '-p', String(pid)], { stdio: 'ignore' })
        try {
          await until(
            () => /^TracerPid:\s*[1-9]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')),
            'the tracer',
          )
          // Neither metadata nor data are in the page cache: without workers the dispatcher has to read them.
          await run('dd', [
            `of=${image}`,
            'oflag=nocache',
            'conv=notrunc,fdatasync',
            'count=0',
            'status=none',
          ])
          for (const file of [3, 4]) expect(await readOf(target, file)).toBe(await hashOf(file))
          expect(workersOf(pid)).toBe(0)
          await until(() => readLog(runDir).includes('no data worker could be started'), 'the message')
          expect(readLog(runDir).match(/no data worker could be started/g)).toHaveLength(1)
        } finally {
          tracer.kill('SIGKILL')
          await run('umount', [target])
        }
      })
    },
  )

  // Every start is one of many: workers that have nothing to do end at once.
  test.skipIf(!moved.ok).each(['beside the mount', 'in the mount as root directory'])(
    titled(`workers come back ${STARTS} times after the package is gone, under readers %s`, moved),
    { timeout: 120_000 + STARTS * 1500 },
    async (where) => {
      await inScene(async ({ target }) => {
        const { image: many, hashes } = await manyFiles
        const place = await bundleRestless()
        try {
          const isMoved = where !== 'beside the mount'
          const log = join(folder, `log-${isMoved}`)
          const loop = (from: number, at: string): string =>
            `i=${from}; while [ $i -lt ${hashes.length} ]; do md5sum ${at}/many/$i || exit 4; i=$((i + 2)); sleep 0.1; done`
          const both = (at: string): string => `(${loop(0, at)}) <&1 & ${loop(1, at)}; wait $!`
          const script = [
            // The log is there before grep: a job in the background makes its files when it comes to run.
            `: >${log}; node "$0/main.mjs" "$1" "$2" 0 >>${log} 2>&1 & server=$!`,
            `i=0; until grep -q ready ${log}; do [ $((i += 1)) -lt 300 ] || exit 5; sleep 0.1; done; rm -r "$0"`,
            isMoved
              ? `cd "$2" && mount -t proc proc proc && pivot_root . mnt && exec /bin/sh -c '${both('')}'`
              : `${both('"$2"')}; umount "$2"; wait $server`,
          ].join('\n')
          const flags = ['-m', '--propagation', 'private', '--pid', '--mount-proc', '--fork', '--kill-child']
          const { stdout, stderr, status } = await run(
            'unshare',
            [...flags, 'bash', '-c', script, place, many, target],
            { timeout: 60_000 + STARTS * 1500, allowFailure: true },
          )
          expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
          const read = stdout
            .trim()
            .split('\n')
            .map((line) => line.split(/ +.*\//))
          expect(Object.fromEntries(read.map(([hash, file]) => [file, hash]))).toEqual({ ...hashes })
          const lines = readFileSync(log, 'utf8').trim().split('\n')
          const starts = lines.filter((line) => /^debug: data worker \d starts$/.test(line))
          expect(starts.length).toBeGreaterThanOrEqual(STARTS)
          const others = lines.filter((line) => !/^debug: data worker \d (starts|is there)$/.test(line))
          expect(others).toEqual(isMoved ? ['ready'] : ['ready', 'unmounted'])
        } finally {
          rmSync(place, { recursive: true, force: true })
        }
      })
    },
  )
})
