import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, daemonPid, needs, removeTempDir, run, titled } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { inScene, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'
import { meansOwnServers } from '../library/scenes/own-servers.ts'

/** What the process of a mount holds on to: rights while it serves, files when it is over. */

let life: LifeImage

beforeAll(async () => {
  life = await makeLifeImage()
})

afterAll(() => removeTempDir(life.folder))

interface Thread {
  readonly name: string
  /** Bits of include/uapi/linux/capability.h. */
  readonly permitted: bigint
  readonly effective: bigint
  readonly mayGainRights: boolean
}

function threadsOf(pid: number): Thread[] {
  const tasks = readdirSync(`/proc/${pid}/task`).map(Number)
  return tasks
    .sort((a, b) => a - b)
    .map((task) => {
      const text = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8')
      const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? ''
      return {
        name: field('Name'),
        permitted: BigInt(`0x${field('CapPrm')}`),
        effective: BigInt(`0x${field('CapEff')}`),
        mayGainRights: field('NoNewPrivs') === '0',
      }
    })
}

const maskOf = (...bits: readonly number[]): bigint =>
  bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n)

const [CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID] = [0, 1, 2, 3, 4]
const [LINUX_IMMUTABLE, SYS_CHROOT, SYS_PTRACE, SYS_ADMIN, MKNOD, SETFCAP] = [9, 18, 19, 21, 27, 31]

/** What SECURITY.md says of the threads of a mount that root makes. */
const MAIN = [DAC_OVERRIDE, SYS_CHROOT, SYS_PTRACE, SYS_ADMIN] as const
const WRITER = [CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SYS_ADMIN, MKNOD, SETFCAP] as const
const KINDS = [
  { what: 'an image', words: ['mount', '$image'], main: MAIN, dispatcher: [] },
  {
    what: 'directories',
    words: ['overlay', '-o', 'lowerdir=$folder:$folder/tree'],
    main: MAIN,
    dispatcher: [DAC_READ_SEARCH, FOWNER, SYS_ADMIN],
  },
  {
    what: 'temporary changes',
    words: ['mount', '--writeable', '$image'],
    main: [...MAIN, FOWNER],
    dispatcher: WRITER,
  },
  {
    what: 'changes that stay',
    words: ['mount', '--persist', '$scene/changes', '$image'],
    main: [...MAIN, FOWNER],
    dispatcher: [...WRITER, LINUX_IMMUTABLE],
  },
] as const

/** Threads of the runtime: four of libuv, one that waits for SIGUSR1, two of V8 (`--v8-pool-size=1` and its timer). */
const RUNTIME_THREADS = 7

const root = needs('root')

describe('capabilities of threads', () => {
  // The main thread of a shared server keeps more, for writable mounts to come.
  meansOwnServers()

  test.skipIf(!root.ok).each(KINDS)(
    titled('each thread has the capabilities that SECURITY.md lists: $what', root),
    async ({ words, main, dispatcher }) => {
      await inScene(async ({ folder, target, runDir, atomfs }) => {
        const own = BigInt(`0x${/^CapEff:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]}`)
        const args = words.map((word) =>
          word.replace('$image', life.image).replaceAll('$folder', life.folder).replace('$scene', folder),
        )
        expect(await atomfs(...args, target, '-o', 'threads=2')).toMatchObject(SILENT)
        const [first, ...others] = threadsOf(daemonPid(runDir))
        expect(first).toMatchObject({ permitted: maskOf(...main), effective: maskOf(...main) })
        const isOurs = ({ name }: Thread): boolean => /^(dispatcher|data worker \d)$/.test(name)
        const ours = others.filter(isOurs)
        // The data workers come when there is work for them.
        expect(ours.map(({ name, permitted }) => [name, permitted])).toEqual([
          ['dispatcher', maskOf(...dispatcher)],
        ])
        expect([first, ...ours].every((thread) => thread?.mayGainRights === false)).toBe(true)
        const runtime = others.filter((thread) => !isOurs(thread))
        expect(runtime.length).toBeLessThanOrEqual(RUNTIME_THREADS)
        expect(runtime.every(({ permitted }) => permitted === own)).toBe(true)
        if (words.some((word) => word === '$image')) {
          await run('cat', [join(target, 'big')])
          await until(
            () =>
              threadsOf(daemonPid(runDir)).some(
                ({ name, permitted, mayGainRights }) =>
                  /^data worker/.test(name) && permitted === 0n && !mayGainRights,
              ),
            'a data worker without capabilities',
          )
        }
        expect(await atomfs('umount', target)).toMatchObject(SILENT)
      })
    },
  )
})

const traced = needs('root', 'strace')

describe('the file system of the layers', () => {
  test.skipIf(!traced.ok).each([
    ['an image', (layers: string, target: string) => ['mount', join(layers, 'image'), target]],
    [
      'an image below changes',
      (layers: string, target: string) => ['mount', '--writeable', join(layers, 'image'), target],
    ],
    [
      'directories',
      (layers: string, target: string) => ['overlay', '-o', `lowerdir=${layers}/one:${layers}/two`, target],
    ],
  ])(
    titled('the file system of the layers can be unmounted before the daemon has ended: %s', traced),
    async (_, words) => {
      await inScene(async ({ folder, target, runDir }) => {
        const layers = join(folder, 'layers')
        mkdirSync(layers)
        await run('mount', ['-t', 'tmpfs', 'layers', layers])
        for (const name of ['one', 'two']) mkdirSync(join(layers, name, 'deep'), { recursive: true })
        writeFileSync(join(layers, 'two/deep/file'), 'x')
        copyFileSync(life.image, join(layers, 'image'))
        await run(ATOMFS_FUSE, words(layers, target), { env: { ATOMFS_TEST_RUN_DIR: runDir } })
        const pid = daemonPid(runDir)
        await run('find', [target, '-type', 'f', '-exec', 'cat', '{}', '+'])
        // The process is held where it ends: whatever it has not let go of by then stays in use.
        const hold = ['-f', '-qq', '-e', 'trace=exit_group', '-e', 'inject=exit_group:delay_enter=5000000']
        const tracer = spawn('strace', [...hold, '-o', '/dev/null', '-p', String(pid)], { stdio: 'ignore' })
        try {
          const isTraced = (): boolean =>
            /^TracerPid:\s*[1-9]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
          await until(isTraced, 'the tracer')
          await run('umount', [target])
          let isFree = false
          while (!isFree && !isGone(pid)) {
            isFree = (await run('umount', [layers], { allowFailure: true })).status === 0
          }
          expect({ isFree, isGone: isGone(pid) }).toEqual({ isFree: true, isGone: false })
        } finally {
          tracer.kill('SIGKILL')
          await until(() => isGone(pid), 'the end of the daemon')
        }
      })
    },
  )
})
