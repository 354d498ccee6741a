import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
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
import { meansOwnServers } from '../library/scenes/own-servers.ts'

/** A mount gives its cache back when the programs around it wait for memory. */

// The memory of a process, and what its log says at `--log-level debug`.
meansOwnServers()

const root = needs('root')
const CONTENT = 24 << 20
/** Bytes that the hungry programs may have, together. */
const LIMIT = 8 << 20

/** The second version of control groups, and where a limit of memory is written: of either version. */
const groups = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find(
  (path) => existsSync(join(path, 'cgroup.procs')) && existsSync(join(path, 'cgroup.subtree_control')),
)
const limits = '/sys/fs/cgroup/memory/memory.limit_in_bytes'
const hasPressure = existsSync('/proc/pressure/memory') && groups !== undefined && existsSync(limits)
const why = hasPressure ? '' : ' (needs /proc/pressure and control groups of both versions)'

let folder = ''
let image = ''

beforeAll(async () => {
  folder = makeTempDir()
  mkdirSync(join(folder, 'tree'))
  writeFileSync(join(folder, 'tree/data'), randomBytes(CONTENT))
  image = await mksquashfs(join(folder, 'tree'), join(folder, 'image'))
})

afterAll(() => removeTempDir(folder))

test.skipIf(!root.ok || !hasPressure)(
  titled(`a mount gives its cache back when its control group lacks memory${why}`, root),
  async () => {
    await inScene(async ({ target, runDir }) => {
      const name = `atomfs-test-${process.pid}`
      const group = join(groups ?? '', name)
      const small = join('/sys/fs/cgroup/memory', name)
      const hungry: ChildProcess[] = []
      mkdirSync(group)
      mkdirSync(small)
      try {
        writeFileSync(join(small, 'memory.limit_in_bytes'), String(LIMIT))
        const mount = `echo $$ >${group}/cgroup.procs && exec "$@"`
        const command = [ATOMFS_FUSE, 'mount', '--log-level', 'debug', '-o', 'threads=2', image, target]
        await run('sh', ['-c', mount, 'sh', ...command], { env: { ATOMFS_TEST_RUN_DIR: runDir } })
        const pid = daemonPid(runDir)
        await run('sha256sum', [join(target, 'data')])
        const full = residentKib(pid)
        expect(full).toBeGreaterThan(CONTENT >> 10)
        // Pages belong to the group that read them first, so each program has a file of its own.
        const eat = `echo $$ >${group}/cgroup.procs; echo $$ >${small}/cgroup.procs
          head -c ${5 * LIMIT} /dev/zero >food.$1; while :; do cat food.$1 >/dev/null; done`
        for (const i of ['1', '2', '3'])
          hungry.push(spawn('sh', ['-c', eat, 'sh', i], { cwd: folder, detached: true, stdio: 'ignore' }))
        await until(() => readLog(runDir).includes('memory is short'), 'the lack of memory')
        await until(() => residentKib(pid) < full - (CONTENT >> 11), 'the memory of the cache')
        expect((await run('sha256sum', [join(target, 'data')])).stdout.slice(0, 64)).toBe(
          (await run('sha256sum', [join(folder, 'tree/data')])).stdout.slice(0, 64),
        )
      } finally {
        for (const { pid } of hungry) if (pid !== undefined) process.kill(-pid, 'SIGKILL')
        await run('umount', [target], { allowFailure: true })
        for (const path of [small, group]) await until(() => isRemoved(path), `the end of ${path}`)
      }
    })
  },
)

/** Resident memory of a process, the decoded blocks among it. */
function residentKib(pid: number): number {
  const { Rss } = Object.fromEntries(
    [...readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(/^(\w+): +(\d+) kB$/gm)].map(
      ([, name, value]) => [name, Number(value)],
    ),
  )
  return Rss ?? 0
}

/** The kernel takes a moment to count a process out that has ended. */
function isRemoved(path: string): boolean {
  try {
    rmdirSync(path)
    return true
  } catch {
    return false
  }
}
