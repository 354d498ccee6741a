import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mke2fs } from '../library/images/ext.ts'
import { ATOMFS_FUSE, mksquashfs, removeTempDir, run } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import {
  entries,
  imageOnMount,
  inScene,
  type LifeImage,
  makeLifeImage,
  readLog,
  SILENT,
} from '../library/scenes/life.ts'

/** Images on a disk that stops to answer, or fails: who needs it waits or is told, everybody else is served. */

let life: LifeImage
/** 100 directories of 100 files each, whose metadata are not compressed; and the same as an ext4 file system. */
let wide: string
let wideExt: string

const FOLDERS = 100
const FILES = 100

beforeAll(async () => {
  life = await makeLifeImage()
  const tree = join(life.folder, 'wide')
  for (let folder = 0; folder < FOLDERS; folder++) {
    mkdirSync(join(tree, `d${folder}`), { recursive: true })
    for (let file = 0; file < FILES; file++)
      writeFileSync(join(tree, `d${folder}`, `file-${file}`), `${file}`)
  }
  wide = await mksquashfs(tree, join(life.folder, 'wide.sqfs'), { extra: ['-noI'] })
  const options = '-t ext4 -b 4096 -N 12000 -O ^has_journal'
  wideExt = await mke2fs(join(life.folder, 'wide.ext4'), { options, megabytes: 64, from: tree })
})

afterAll(() => removeTempDir(life.folder))

const IN_TIME = { timeout: 20_000 }

/** The kernel reads ahead of what a mount and its threads read at their start; that would need no disk any more. */
async function forgetPages(image: string): Promise<void> {
  await run('dd', [`if=${image}`, 'iflag=nocache', 'count=0'])
}

/** What its log holds, but that a busy machine takes long to start a thread. */
function surprises(runDir: string): string[] {
  const lines = readLog(runDir).split('\n')
  return lines.filter((line) => line !== '' && !line.includes('none came within'))
}

describe('metadata on a disk that does not answer', () => {
  test.each([
    ['squashfs', () => wide],
    ['ext4', () => wideExt],
  ])(
    'a disk that does not answer for metadata of %s delays readers of that directory only',
    async (_, file) => {
      await inScene(async (scene) => {
        const { target, runDir, atomfs } = scene
        const { image, disk, innerRun, env, outer } = await imageOnMount(file(), scene)
        await run(ATOMFS_FUSE, ['mount', '-o', 'threads=2', image, target], { env })
        expect((await run('ls', ['-l', join(target, 'd0')])).stdout.split('\n').length).toBe(FILES + 2)
        await run('cat', [join(target, 'd0/file-7')])
        await sleep(500)
        await forgetPages(image)
        process.kill(disk, 'SIGSTOP')
        const stuck = [50, 80, 80].map((folder) => {
          const child = spawn('ls', ['-l', join(target, `d${folder}`)], {
            stdio: ['ignore', 'pipe', 'ignore'],
          })
          let lines = 0
          child.stdout.on('data', (text: Buffer) => {
            lines += text.toString().split('\n').length - 1
          })
          return { child, ended: once(child, 'close'), lines: () => lines }
        })
        try {
          const oldest = async (): Promise<number> => {
            const { stdout } = await run(ATOMFS_FUSE, ['status', '--json', target], { env, ...IN_TIME })
            return JSON.parse(stdout).pending.oldestMs
          }
          await expect.poll(oldest, IN_TIME).toBeGreaterThan(500)
          expect((await run('cat', [join(target, 'd0/file-7')], IN_TIME)).stdout).toBe('7')
          expect((await run('ls', ['-l', join(target, 'd0')], IN_TIME)).stdout).toContain('file-99')
          const none = await run('stat', [join(target, 'd0/none')], { ...IN_TIME, allowFailure: true })
          expect(none.stderr).toContain('No such file')
          expect(stuck.map(({ child }) => child.exitCode)).toEqual([null, null, null])
          // A signal ends the waiting of one process.
          const script = '$SIG{ALRM} = sub {}; alarm 1; my @s = lstat shift; print @s ? "here" : $!'
          const interrupted = await run('perl', ['-e', script, join(target, 'd30/file-1')], IN_TIME)
          expect(interrupted.stdout).toBe('Interrupted system call')
          const killed = await run('timeout', ['1', 'ls', join(target, 'd30')], {
            ...IN_TIME,
            allowFailure: true,
          })
          expect(killed.status).toBe(124)
          expect(stuck.map(({ child }) => child.exitCode)).toEqual([null, null, null])
        } finally {
          process.kill(disk, 'SIGCONT')
        }
        for (const { ended, lines } of stuck) {
          expect((await ended)[0]).toBe(0)
          expect(lines()).toBe(FILES + 1)
        }
        expect(surprises(innerRun)).toEqual([])
        await run(ATOMFS_FUSE, ['umount', target], { env })
        expect(await atomfs('umount', outer)).toMatchObject(SILENT)
        expect([...entries(runDir), ...entries(innerRun)]).toEqual([])
      })
    },
  )
})

describe('metadata on a disk that fails', () => {
  test('a disk that fails for metadata is EIO for each read of it, and other reads still work', async () => {
    await inScene(async (scene) => {
      const { target, runDir, atomfs } = scene
      const { image, disk, innerRun, env, outer } = await imageOnMount(wide, scene)
      await run(ATOMFS_FUSE, ['mount', '-o', 'threads=2', image, target], { env })
      try {
        await run('ls', ['-l', join(target, 'd0')])
        await run('stat', [join(target, 'd50')])
        await sleep(500)
        await forgetPages(image)
        process.kill(disk, 'SIGKILL')
        for (let i = 0; i < 2; i++) {
          const list = await run('ls', [join(target, 'd50')], { ...IN_TIME, allowFailure: true })
          expect([list.status, list.stderr]).toEqual([2, expect.stringContaining('Input/output error')])
          expect((await run('ls', ['-l', join(target, 'd0')], IN_TIME)).stdout).toContain('file-99')
        }
        await until(() => readLog(innerRun).includes('ENOTCONN'), 'the line in the log')
        expect(readLog(innerRun)).toMatch(/error: READDIR(PLUS)? node \d+: .*: read at \d+: ENOTCONN/)
      } finally {
        await run(ATOMFS_FUSE, ['umount', target], { env, allowFailure: true })
      }
      expect(await atomfs('umount', outer)).toMatchObject(SILENT)
      expect([...entries(runDir), ...entries(innerRun)]).toEqual([])
    })
  })
})

describe('metadata on a disk that does not answer, below a writable mount', () => {
  test('a disk that does not answer for metadata delays changes of those files only', async () => {
    await inScene(async (scene) => {
      const { folder, target, runDir, atomfs } = scene
      const { image, disk, innerRun, env, outer } = await imageOnMount(wide, scene)
      const persist = join(folder, 'changes')
      await run(ATOMFS_FUSE, ['mount', '--persist', persist, '-o', 'threads=2', image, target], { env })
      await run('ls', ['-l', join(target, 'd0')])
      // The kernel locks a directory while it asks for a name in it, and both while it renames: names that nobody else
      // wants hold nobody else up.
      for (const known of ['d50', 'd70', 'd80']) await run('stat', [join(target, known)])
      await sleep(500)
      await forgetPages(image)
      process.kill(disk, 'SIGSTOP')
      const stuck = [
        ['sh', '-c', 'echo more >>"$1"', 'sh', join(target, 'd50/file-3')],
        ['rm', join(target, 'd70/file-5')],
        ['mv', join(target, 'd80/file-6'), join(target, 'd80/moved')],
      ].map(([command = '', ...args]) => {
        const child = spawn(command, args, { stdio: 'ignore' })
        return { child, ended: once(child, 'close') }
      })
      try {
        const oldest = async (): Promise<number> => {
          const { stdout } = await run(ATOMFS_FUSE, ['status', '--json', target], { env, ...IN_TIME })
          return JSON.parse(stdout).pending.oldestMs
        }
        await expect.poll(oldest, IN_TIME).toBeGreaterThan(500)
        const changes = 'echo new >"$1/new" && mkdir "$1/d" && mv "$1/new" "$1/d" && ln -s x "$1/d0/link"'
        await run('sh', ['-c', changes, 'sh', target], IN_TIME)
        expect((await run('ls', [join(target, 'd')], IN_TIME)).stdout).toBe('new\n')
        expect((await run('ls', ['-l', join(target, 'd0')], IN_TIME)).stdout).toContain('link -> x')
        expect(stuck.map(({ child }) => child.exitCode)).toEqual([null, null, null])
      } finally {
        process.kill(disk, 'SIGCONT')
      }
      for (const { ended } of stuck) expect((await ended)[0]).toBe(0)
      expect((await run('cat', [join(target, 'd50/file-3')])).stdout).toBe('3more\n')
      expect((await run('cat', [join(target, 'd80/moved')])).stdout).toBe('6')
      const left = await run('ls', [join(target, 'd70'), join(target, 'd80')])
      expect(left.stdout.split('\n').filter((name) => name.startsWith('file-')).length).toBe(2 * FILES - 2)
      expect(surprises(innerRun)).toEqual([])
      await run(ATOMFS_FUSE, ['umount', target], { env })
      expect(await atomfs('umount', outer)).toMatchObject(SILENT)
      expect([...entries(runDir), ...entries(innerRun)]).toEqual([])
    })
  })
})

describe('a disk that does not answer', () => {
  test('a disk that does not answer for data delays readers of that file only, and status shows it', async () => {
    await inScene(async (scene) => {
      const { target, runDir, atomfs } = scene
      const { image, disk, innerRun, env, outer } = await imageOnMount(life.image, scene)
      await run(ATOMFS_FUSE, ['mount', '-o', 'threads=2', image, target], { env })
      await run('cat', [join(target, 'etc/motd')])
      await run('ls', ['-l', target])
      // Only with both workers up and idle would the dispatcher take a lone block itself: let them work, and rest.
      for (const page of [32, 64, 96]) {
        const from = [`if=${join(target, 'big')}`, 'bs=4k', 'count=1', `skip=${page}`, 'iflag=direct']
        await run('dd', [...from, 'of=/dev/null'])
      }
      await sleep(500)
      await forgetPages(image)
      process.kill(disk, 'SIGSTOP')
      // One block only: the dispatcher would decode it itself if it did not ask for the page cache first.
      const part = [
        `if=${join(target, 'big')}`,
        'bs=4k',
        'count=1',
        'skip=600',
        'iflag=direct',
        'of=/dev/null',
      ]
      const stuck = spawn('dd', part, { stdio: 'ignore' })
      try {
        const waiting = async (): Promise<number> => {
          const { stdout } = await run(ATOMFS_FUSE, ['status', '--json', target], { env, timeout: 20_000 })
          return JSON.parse(stdout).pending.oldestMs
        }
        await expect.poll(waiting, { timeout: 20_000 }).toBeGreaterThan(1000)
        expect((await run('cat', [join(target, 'etc/motd')], { timeout: 20_000 })).stdout).toBe('hello\n')
        expect((await run('stat', ['-f', target], { timeout: 20_000 })).status).toBe(0)
        expect(stuck.exitCode).toBe(null)
        const text = await run(ATOMFS_FUSE, ['status', target], { env, timeout: 20_000 })
        expect(text.stdout).toMatch(/^waiting: +\d+ reads for data, the oldest for \d/m)
      } finally {
        process.kill(disk, 'SIGCONT')
      }
      expect((await once(stuck, 'close'))[0]).toBe(0)
      await run(ATOMFS_FUSE, ['umount', target], { env })
      expect(await atomfs('umount', outer)).toMatchObject(SILENT)
      expect([...entries(runDir), ...entries(innerRun)]).toEqual([])
    })
  })
})

describe('a disk that stops to answer while the mount prepares itself', () => {
  test.each([
    ['squashfs', () => wide],
    ['ext4', () => wideExt],
  ])(
    'a disk that does not answer right after a mount of %s delays nobody who needs no byte of it',
    async (_, file) => {
      await inScene(async (scene) => {
        const { target, runDir, atomfs } = scene
        const { image, disk, innerRun, env, outer } = await imageOnMount(file(), scene)
        await run(ATOMFS_FUSE, ['mount', '-o', 'threads=2', image, target], { env })
        process.kill(disk, 'SIGSTOP')
        try {
          // The rehearsals take about half a second of a quiet machine.
          for (let time = 0; time < 20; time++) {
            expect((await run('stat', ['-f', target], IN_TIME)).stdout).toContain('Type: fuse')
            await sleep(100)
          }
        } finally {
          process.kill(disk, 'SIGCONT')
        }
        expect((await run('ls', ['-l', join(target, 'd50')], IN_TIME)).stdout).toContain('file-99')
        expect(surprises(innerRun)).toEqual([])
        await run(ATOMFS_FUSE, ['umount', target], { env })
        expect(await atomfs('umount', outer)).toMatchObject(SILENT)
        expect([...entries(runDir), ...entries(innerRun)]).toEqual([])
      })
    },
  )
})

describe('a disk that does not answer, below a writable mount', () => {
  test('a disk that does not answer for data delays changes of that file only', async () => {
    await inScene(async (scene) => {
      const { folder, target, runDir, atomfs } = scene
      const { image, disk, innerRun, env, outer } = await imageOnMount(life.image, scene)
      const persist = join(folder, 'changes')
      await run(ATOMFS_FUSE, ['mount', '--persist', persist, '-o', 'threads=2', image, target], { env })
      await run('cat', [join(target, 'etc/motd')])
      await run('ls', ['-l', target])
      // The list of its blocks is known then, not the blocks.
      await run('dd', [`if=${join(target, 'big')}`, 'bs=4k', 'count=1', 'iflag=direct', 'of=/dev/null'])
      await sleep(500)
      await run('dd', [`if=${image}`, 'iflag=nocache', 'count=0'])
      process.kill(disk, 'SIGSTOP')
      const stuck = spawn('chmod', ['600', join(target, 'big')], { stdio: 'ignore' })
      try {
        const waiting = async (): Promise<number> => {
          const { stdout } = await run(ATOMFS_FUSE, ['status', '--json', target], { env, timeout: 20_000 })
          return JSON.parse(stdout).pending.oldestMs
        }
        await expect.poll(waiting, { timeout: 20_000 }).toBeGreaterThan(1000)
        await run('sh', ['-c', 'echo new >"$1/new" && mkdir "$1/d" && mv "$1/new" "$1/d"', 'sh', target], {
          timeout: 20_000,
        })
        expect((await run('ls', [join(target, 'd')], { timeout: 20_000 })).stdout).toBe('new\n')
        expect((await run('stat', ['-c', '%a', join(target, 'big')], { timeout: 20_000 })).stdout).toBe(
          '644\n',
        )
        expect(stuck.exitCode).toBe(null)
      } finally {
        process.kill(disk, 'SIGCONT')
      }
      expect((await once(stuck, 'close'))[0]).toBe(0)
      expect((await run('stat', ['-c', '%a', join(target, 'big')])).stdout).toBe('600\n')
      await run('cmp', [join(target, 'big'), join(persist, 'persist', 'big')])
      await run(ATOMFS_FUSE, ['umount', target], { env })
      expect(entries(join(persist, 'work', 'work'))).toEqual([])
      expect(await atomfs('umount', outer)).toMatchObject(SILENT)
      expect([...entries(runDir), ...entries(innerRun)]).toEqual([])
    })
  })
})

describe('a disk that fails', () => {
  test('a failed disk is EIO for each reader with one log line each, and the daemon survives', async () => {
    await inScene(async (scene) => {
      const { target, runDir, atomfs } = scene
      // The daemon that stands for the disk is killed: every read of the image then fails with ENOTCONN.
      const { image, disk, innerRun, env, outer } = await imageOnMount(life.image, scene)
      await run(ATOMFS_FUSE, ['mount', image, target], { env })
      try {
        expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
        process.kill(disk, 'SIGKILL')
        for (let i = 0; i < 2; i++) {
          const cat = await run('cat', [join(target, 'big')], { allowFailure: true, timeout: 20_000 })
          expect([cat.status, cat.stderr]).toEqual([1, expect.stringContaining('Input/output error')])
        }
        expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
        await until(() => readLog(innerRun).includes('ENOTCONN'), 'the line in the log')
        const lines = readLog(innerRun).trim().split('\n')
        expect(lines.every((line) => line.includes('error: ') && line.includes('ENOTCONN'))).toBe(true)
        expect(new Set(lines.map((line) => line.slice(25))).size).toBe(lines.length)
      } finally {
        await run(ATOMFS_FUSE, ['umount', target], { env, allowFailure: true })
      }
      expect(await atomfs('umount', outer)).toMatchObject(SILENT)
      expect([...entries(runDir), ...entries(innerRun)]).toEqual([])
    })
  })
})
