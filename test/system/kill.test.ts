import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inScene, type Scene, smallTree } from '../hostile/index.ts'
import {
  ATOMFS_FUSE,
  isMounted,
  makeTempDir,
  mksquashfs,
  mountsBelow,
  needs,
  removeTempDir,
  run,
  titled,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'

/** Deaths of the daemon, of its parent and of its users: what is left can always be cleaned up. */

const need = needs('root', 'fuse', 'mksquashfs', 'umount')
const SILENT = { status: 0, stdout: '', stderr: '' }

let temp = ''
let image = ''
let text = ''

beforeAll(async () => {
  if (!need.ok) return
  temp = makeTempDir()
  const tree = smallTree(join(temp, 'tree'))
  text = readFileSync(join(tree, 'a/text'), 'latin1')
  image = await mksquashfs(tree, join(temp, 'image.sqfs'))
})

afterAll(() => {
  if (temp !== '') removeTempDir(temp)
})

async function readText(scene: Scene): Promise<string> {
  return (await run('cat', [join(scene.target, 'a/text')])).bytes.toString('latin1')
}

/** A child that holds a file of the mount open and has its working directory there, until `stop`. */
async function holdOpen(
  scene: Scene,
): Promise<{ readonly child: ChildProcess; readonly stop: () => Promise<void> }> {
  const child = spawn('sh', ['-c', 'exec 3<a/random; echo open; read line; cat <&3 | wc -c'], {
    cwd: scene.target,
  })
  await once(child.stdout, 'data')
  return {
    child,
    stop: async () => {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
    },
  }
}

/** Kills the daemon and waits for its end. @returns its process id */
async function kill(scene: Scene): Promise<number> {
  const pid = scene.daemonPid()
  process.kill(pid, 'SIGKILL')
  await until(() => isGone(pid), 'the end of the daemon')
  return pid
}

describe.skipIf(!need.ok)(titled('a killed daemon', need), () => {
  test('umount of atomfs-fuse cleans up the mount of a killed daemon', async () => {
    await inScene(temp, async (scene) => {
      expect(await scene.mount(image)).toMatchObject(SILENT)
      await kill(scene)
      expect(isMounted(scene.target)).toBe(true)
      expect(await scene.atomfs('umount', scene.target)).toMatchObject(SILENT)
      scene.expectNothingLeft()
      expect((await scene.atomfs('umount', scene.target)).stderr).toMatch(/^Error: .* is not mounted\n$/)
    })
  })

  test('umount(8) removes the mount of a killed daemon, and the next mount removes its runtime entry', async () => {
    await inScene(temp, async (scene) => {
      expect(await scene.mount(image)).toMatchObject(SILENT)
      await kill(scene)
      await run('umount', [scene.target], { timeout: 20_000 })
      expect(isMounted(scene.target)).toBe(false)
      expect(await scene.mount(image)).toMatchObject(SILENT)
      expect(scene.entries()).toHaveLength(1)
      expect(await readText(scene)).toBe(text)
      await scene.unmount()
      scene.expectNothingLeft()
    })
  })

  test('a new mount replaces that of a killed daemon, while files of the old one are open', async () => {
    await inScene(temp, async (scene) => {
      expect(await scene.mount(image)).toMatchObject(SILENT)
      const user = await holdOpen(scene)
      try {
        await kill(scene)
        expect(await scene.mount(image)).toMatchObject(SILENT)
        expect(mountsBelow(scene.target)).toEqual([scene.target])
        expect(scene.entries()).toHaveLength(1)
        expect(await readText(scene)).toBe(text)
        await scene.unmount()
        scene.expectNothingLeft()
      } finally {
        await user.stop()
      }
    })
  })

  test('umount without --lazy cleans up the mount of a killed daemon that has open files', async () => {
    await inScene(temp, async (scene) => {
      expect(await scene.mount(image)).toMatchObject(SILENT)
      const user = await holdOpen(scene)
      try {
        await kill(scene)
        expect(await scene.atomfs('umount', scene.target)).toMatchObject(SILENT)
        scene.expectNothingLeft()
      } finally {
        await user.stop()
      }
    })
  })

  test('readers of a killed daemon get errors and end', async () => {
    await inScene(temp, async (scene) => {
      expect(await scene.mount(image)).toMatchObject(SILENT)
      const fd = openSync(join(scene.target, 'a/random'), 'r')
      try {
        await kill(scene)
        expect(() => readSync(fd, Buffer.alloc(4096), 0, 4096, 65_536)).toThrow(/ENOTCONN|ECONNABORTED|EIO/)
      } finally {
        // The dead server cannot be told of the close, which takes place all the same.
        expect(() => closeSync(fd)).toThrow('ENOTCONN')
      }
      for (const [program, ...args] of [['ls'], ['stat', '-f'], ['find']]) {
        const result = await run(program!, [...args, scene.target], { allowFailure: true, timeout: 20_000 })
        expect(result.status).not.toBe(0)
      }
      expect(await scene.atomfs('umount', scene.target)).toMatchObject(SILENT)
    })
  })

  test('daemons killed many times leave nothing behind', async () => {
    await inScene(temp, async (scene) => {
      for (let i = 0; i < 4; i += 1) {
        expect(await scene.mount(image)).toMatchObject(SILENT)
        await kill(scene)
      }
      expect(mountsBelow(scene.target)).toEqual([scene.target])
      expect(await scene.atomfs('umount', scene.target)).toMatchObject(SILENT)
      scene.expectNothingLeft()
    })
  })
})

describe.skipIf(!need.ok)(titled('a live mount', need), () => {
  test('a live mount is not replaced, even under another mount', async () => {
    await inScene(temp, async (scene) => {
      expect(await scene.mount(image)).toMatchObject(SILENT)
      const pid = scene.daemonPid()
      const user = await holdOpen(scene)
      try {
        const second = await scene.mount(image)
        expect(second).toMatchObject({ status: 1, stdout: '' })
        expect(second.stderr).toMatch(/^Error: [^\n]*mounted already[^\n]*umount[^\n]*\n$/)
        expect(mountsBelow(scene.target)).toEqual([scene.target])
        expect(scene.daemonPid()).toBe(pid)
        expect(await readText(scene)).toBe(text)
      } finally {
        await user.stop()
      }
      await scene.unmount()
      scene.expectNothingLeft()
    })
  })

  const ends: Readonly<Record<string, (scene: Scene) => Promise<unknown>>> = {
    umount: (scene) => run('umount', [scene.target], { timeout: 20_000 }),
    'umount -l': (scene) => run('umount', ['-l', scene.target], { timeout: 20_000 }),
    'atomfs-fuse umount': (scene) => scene.atomfs('umount', scene.target),
    SIGTERM: async (scene) => process.kill(scene.daemonPid(), 'SIGTERM'),
  }
  test.each(Object.keys(ends))('a mount ends with its daemon by %s', async (name) => {
    await inScene(temp, async (scene) => {
      const times: number[] = []
      for (let i = 0; i < 3; i += 1) {
        expect(await scene.mount(image)).toMatchObject(SILENT)
        expect(await readText(scene)).toBe(text)
        const pid = scene.daemonPid()
        const start = performance.now()
        await ends[name]!(scene)
        await until(() => isGone(pid), 'the end of the daemon')
        times.push(Math.round(performance.now() - start))
        scene.expectNothingLeft()
      }
      console.log(`${name}: gone after ${times.join(', ')} ms`)
    })
  })

  test('a detached mount serves open files to the end, and then its daemon ends', async () => {
    await inScene(temp, async (scene) => {
      expect(await scene.mount(image)).toMatchObject(SILENT)
      const pid = scene.daemonPid()
      const user = await holdOpen(scene)
      try {
        await run('umount', ['-l', scene.target], { timeout: 20_000 })
        expect(isMounted(scene.target)).toBe(false)
        expect(isGone(pid)).toBe(false)
        user.child.stdin!.end('\n')
        const [output] = await once(user.child.stdout!, 'data')
        expect(String(output)).toBe('90000\n')
        await until(() => isGone(pid), 'the end of the daemon')
        scene.expectNothingLeft()
      } finally {
        await user.stop()
      }
    })
  })

  test('a second request to end a mount does not wait for open files', async () => {
    await inScene(temp, async (scene) => {
      expect(await scene.mount(image)).toMatchObject(SILENT)
      const pid = scene.daemonPid()
      const user = await holdOpen(scene)
      try {
        process.kill(pid, 'SIGTERM')
        await until(() => !isMounted(scene.target), 'the detach')
        expect(isGone(pid)).toBe(false)
        process.kill(pid, 'SIGTERM')
        await until(() => isGone(pid), 'the end of the daemon')
        scene.expectNothingLeft()
      } finally {
        await user.stop()
      }
    })
  })
})

describe.skipIf(!need.ok)(titled('an interrupted mount', need), () => {
  test.each([0, 100, 180, 260, 400])(
    'a mount whose caller dies after %i ms is made or not made, and can be made again',
    async (delay) => {
      await inScene(temp, async (scene) => {
        const child = spawn(ATOMFS_FUSE, ['mount', image, scene.target], {
          stdio: 'ignore',
          env: { ...process.env, ATOMFS_TEST_RUN_DIR: scene.runDir },
        })
        await new Promise((resolve) => setTimeout(resolve, delay))
        child.kill('SIGKILL')
        if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
        // Nobody waits for an unfinished one: it undoes itself, even when it is mounted already. A ready one serves.
        await untilSettled(scene)
        // A slow machine looks settled before the file system has answered anything. After its first answer the daemon
        // learns that nobody waits.
        await run('stat', ['-f', scene.target], { allowFailure: true })
        await untilSettled(scene)
        if (isMounted(scene.target)) {
          expect(await readText(scene)).toBe(text)
          await scene.unmount()
        }
        scene.expectNothingLeft()
        expect(await scene.mount(image)).toMatchObject(SILENT)
        await scene.unmount()
        scene.expectNothingLeft()
      })
    },
  )

  test('mount prints at most one line if the daemon dies', async () => {
    await inScene(temp, async (scene) => {
      mkdirSync(scene.runDir)
      let victims = 0
      for (const limit of [1, 2, 3]) {
        const mounting = scene.mount(image)
        const deadline = Date.now() + 5000
        let pid = recordedPid(scene)
        while (pid === undefined && Date.now() < deadline) {
          await new Promise((resolve) => setTimeout(resolve, limit))
          pid = recordedPid(scene)
        }
        try {
          if (pid !== undefined) process.kill(pid, 'SIGKILL')
          if (pid !== undefined) victims += 1
        } catch {
          // It has ended by itself: this round kills nobody.
        }
        const result = await mounting
        expect(result.status === 0 ? '' : result.stderr).toMatch(/^(?:Error: [^\n]+\n)?$/)
        // Killed after it was ready: the mount is there, and dead.
        if (isMounted(scene.target)) expect(await scene.atomfs('umount', scene.target)).toMatchObject(SILENT)
      }
      expect(victims).toBeGreaterThan(0)
      expect(await scene.mount(image)).toMatchObject(SILENT)
      await scene.unmount()
      scene.expectNothingLeft()
    })
  })
})

/** The daemon by its runtime entry, which is there some milliseconds before its record is. */
function recordedPid(scene: Scene): number | undefined {
  try {
    return scene.daemonPid()
  } catch {
    return undefined
  }
}

/** Waits until there is a mount with its daemon, or nothing, and this stays so for a while. */
async function untilSettled(scene: Scene): Promise<void> {
  let since = Date.now()
  let before = ''
  await until(() => {
    const now = JSON.stringify([isMounted(scene.target), scene.entries(), scene.processes()])
    if (now !== before) since = Date.now()
    before = now
    const daemons = isMounted(scene.target) ? 1 : 0
    const processes = scene.processes().length
    // A shared server is none of them.
    const isServed = processes === daemons || (process.env['ATOMFS_SERVER'] === 'shared' && processes === 0)
    const isPlausible = scene.entries().length === daemons && isServed
    return isPlausible && Date.now() - since > 800
  }, 'either a mount with one daemon, or nothing')
}
