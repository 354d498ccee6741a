import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, readFileSync, truncateSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, daemonPid, isMounted, removeTempDir, run } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, inScene, type LifeImage, makeLifeImage, readLog, SILENT } from '../library/scenes/life.ts'

/** Every way a mount can end, wanted or not: afterwards there is no process, no mount and no runtime entry. */

let life: LifeImage

beforeAll(async () => {
  life = await makeLifeImage()
})

/** Milliseconds between the end and the exit of the daemon. Reported, not asserted: machines are busy. */
const times: [string, number][] = []

afterAll(() => {
  removeTempDir(life.folder)
  for (const [name, ms] of times) console.log(`${name.padEnd(44)} ${ms.toFixed(0).padStart(6)} ms`)
})

async function expectEnd(name: string, pid: number, runDir: string, target: string): Promise<void> {
  times.push([name, await until(() => isGone(pid), `the end of the daemon after ${name}`)])
  expect(isMounted(target)).toBe(false)
  expect(entries(runDir)).toEqual([])
}

describe('the end of a mount in the background', () => {
  test.each([
    ['umount(8)', 'umount', []],
    ['umount -l', 'umount', ['-l']],
    ['fusermount3 -u', 'fusermount3', ['-u']],
    ['fusermount3 -u -z', 'fusermount3', ['-u', '-z']],
    ['atomfs-fuse umount', ATOMFS_FUSE, ['umount']],
    ['atomfs-fuse umount --lazy', ATOMFS_FUSE, ['umount', '--lazy']],
  ])('a mount in the background ends by %s', async (name, program, args) => {
    await inScene(async ({ target, runDir, atomfs }) => {
      expect(await atomfs('mount', life.image, target)).toMatchObject(SILENT)
      await run('cat', [join(target, 'big')])
      const pid = daemonPid(runDir)
      await run(program, [...args, target], { env: { ATOMFS_TEST_RUN_DIR: runDir } })
      await expectEnd(name, pid, runDir, target)
    })
  })

  test('a mount in the background ends by SIGTERM', async () => {
    await inScene(async ({ target, runDir, atomfs }) => {
      await atomfs('mount', life.image, target)
      const pid = daemonPid(runDir)
      process.kill(pid, 'SIGTERM')
      await expectEnd('SIGTERM', pid, runDir, target)
    })
  })

  test('a mount in the background survives SIGHUP, SIGINT, SIGUSR1 and the end of its session', async () => {
    await inScene(async ({ target, runDir, atomfs }) => {
      await run('setsid', ['-w', ATOMFS_FUSE, 'mount', life.image, target], {
        env: { ATOMFS_TEST_RUN_DIR: runDir },
      })
      const pid = daemonPid(runDir)
      for (const signal of ['SIGHUP', 'SIGINT', 'SIGUSR1'] as const) process.kill(pid, signal)
      await until(() => readLog(runDir).includes('statistics: {'), 'the statistics')
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
    })
  })

  test.each([
    ['a mount namespace of root', ['-m']],
    ['a user and mount namespace', ['-rm']],
  ])('a mount in the background ends with %s', async (name, flags) => {
    await inScene(async ({ folder, target, runDir }) => {
      const script = '"$0" mount "$1" "$2" && cat "$2/etc/motd" && touch "$3" && read line'
      const pipe = join(folder, 'mounted')
      const inside = spawn('unshare', [...flags, 'sh', '-c', script, ATOMFS_FUSE, life.image, target, pipe], {
        stdio: ['pipe', 'ignore', 'inherit'],
        env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir },
      })
      try {
        await until(() => existsSync(pipe), 'the mount')
        const pid = daemonPid(runDir)
        const closed = once(inside, 'close')
        inside.stdin?.end('\n')
        expect(await closed).toEqual([0, null])
        await expectEnd(`the end of ${name}`, pid, runDir, target)
      } finally {
        inside.kill('SIGKILL')
      }
    })
  })
})

describe('the end of a mount in the foreground', () => {
  const start = (command: string, args: readonly string[], runDir: string): ChildProcess =>
    spawn(command, args, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir },
    })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'a mount in the foreground ends by %s',
    async (signal) => {
      await inScene(async ({ target, runDir }) => {
        const child = start(ATOMFS_FUSE, ['mount', '-f', life.image, target], runDir)
        try {
          await until(() => isMounted(target) && existsSync(join(target, 'big')), 'the mount')
          const closed = once(child, 'close')
          child.kill(signal)
          await expectEnd(`${signal} in the foreground`, child.pid!, runDir, target)
          expect(await closed).toEqual([0, null])
        } finally {
          child.kill('SIGKILL')
        }
      })
    },
  )

  test('a mount in the foreground ends when its terminal closes', async () => {
    await inScene(async ({ target, runDir }) => {
      // script(1) gives it a terminal, which goes away with script.
      const line = `exec "${ATOMFS_FUSE}" mount -f "${life.image}" "${target}"`
      const terminal = start('script', ['-qec', line, '/dev/null'], runDir)
      try {
        await until(() => isMounted(target) && entries(runDir).length === 1, 'the mount')
        await until(() => existsSync(join(target, 'big')), 'the first answer')
        const pid = daemonPid(runDir)
        terminal.kill('SIGKILL')
        await expectEnd('the closing of the terminal', pid, runDir, target)
      } finally {
        terminal.kill('SIGKILL')
      }
    })
  })
})

describe('failures of the daemon and the image', () => {
  test('a killed daemon leaves errors and no hang, and the next mount and umount clean up', async () => {
    await inScene(async ({ target, runDir, atomfs }) => {
      for (const heal of ['mount', 'umount'] as const) {
        if (heal === 'mount') await atomfs('mount', life.image, target)
        const pid = daemonPid(runDir)
        const user = spawn('sh', ['-c', 'exec 3<big; echo open; read line; cat <&3 >/dev/null'], {
          cwd: target,
        })
        let complaint = ''
        user.stderr.on('data', (text) => (complaint += text))
        try {
          await once(user.stdout, 'data')
          process.kill(pid, 'SIGKILL')
          await until(() => isGone(pid), 'the end of the daemon')
          const closed = once(user, 'close')
          user.stdin.end('\n')
          const [status] = await closed
          expect({ status, complaint }).toEqual({
            status: 1,
            complaint: expect.stringMatching(/not connected|abort|error/i),
          })
        } finally {
          user.kill('SIGKILL')
        }
        const args = heal === 'mount' ? ['mount', life.image, target] : ['umount', target]
        expect(await atomfs(...args)).toMatchObject(SILENT)
      }
      expect(isMounted(target)).toBe(false)
      expect(entries(runDir)).toEqual([])
    })
  })

  test('a deleted image is served to the end, and a truncated one gives EIO and log lines', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      const image = join(folder, 'image')
      copyFileSync(life.image, image)
      await atomfs('mount', image, target)
      unlinkSync(image)
      expect((await run('cmp', [join(target, 'big'), join(life.folder, 'tree/big')])).status).toBe(0)
      await atomfs('umount', target)

      copyFileSync(life.image, image)
      await atomfs('mount', image, target)
      truncateSync(image, 1 << 20)
      const cat = await run('cat', [join(target, 'big')], { allowFailure: true, timeout: 20_000 })
      expect(cat.status).toBe(1)
      expect(cat.stderr).toMatch(/Input\/output error/)
      // The thread that met it tells the one that writes the log.
      await until(() => /error: .*file ends at/.test(readLog(runDir)), 'the line in the log')
      expect((await run('cat', [join(target, 'etc/motd')], { allowFailure: true })).status).toBeLessThan(2)
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
    })
  })
})

describe('a writable mount that another mount namespace holds', () => {
  test('umount of a writable mount held by another namespace returns, and reports that the daemon goes on', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      expect(await atomfs('mount', '--persist', join(folder, 'changes'), life.image, target)).toMatchObject(
        SILENT,
      )
      const pid = daemonPid(runDir)
      const holder = spawn('unshare', ['-m', 'sleep', '120'], { stdio: 'ignore' })
      try {
        const held = (): boolean => readFileSync(`/proc/${holder.pid}/comm`, 'utf8') === 'sleep\n'
        await until(held, 'the other namespace')
        const { status, stderr } = await atomfs('umount', target)
        expect([status, stderr]).toEqual([1, expect.stringContaining(`its process ${pid} has not ended`)])
        expect(isMounted(target)).toBe(false)
        expect(isGone(pid)).toBe(false)
      } finally {
        holder.kill()
        await once(holder, 'close')
      }
      await until(() => isGone(pid), 'the end of the daemon')
      expect(entries(runDir)).toEqual([])
    })
  })
})
