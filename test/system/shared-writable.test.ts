import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isMounted, needs, removeTempDir, run, titled } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, type LifeImage, makeLifeImage } from '../library/scenes/life.ts'
import { descriptorsOf, holdings, type SharedScene, withShared } from '../library/scenes/shared.ts'

/** Writable mounts by a shared server: each has a dispatcher of its own, and changes as by a server of its own. */

const need = needs('root', 'fuse', 'mksquashfs')

let life: LifeImage

beforeAll(async () => {
  life = await makeLifeImage()
})

afterAll(() => removeTempDir(life.folder))

const shell = (script: string, ...args: string[]) =>
  run('sh', ['-c', script, 'sh', ...args], { allowFailure: true, timeout: 30_000 })

async function ownersIn(target: string): Promise<string> {
  return (await shell('cd "$1" && stat -c "%n %a %u:%g" made/*', target)).stdout
}

/** Nothing of ended mounts is left in the runtime folder. */
async function untilSwept(runDir: string): Promise<void> {
  const aside = join(runDir, 'changes')
  await until(() => !existsSync(aside) || readdirSync(aside).length === 0, 'changes to be removed')
}

/** The pid of the only server of a scene, which serves all of these. */
async function onlyServer({ servers, pidOf }: SharedScene, targets: readonly string[]): Promise<number> {
  const [pid = 0, ...others] = servers()
  expect(others).toEqual([])
  for (const target of targets) expect(await pidOf(target)).toBe(pid)
  return pid
}

describe.skipIf(!need.ok)(titled('writable mounts of a shared server', need), () => {
  test('keep their changes apart, with owners and umask of whoever asks, and leave nothing', async () => {
    await withShared(async (scene) => {
      const { mount, atomfs, runDir } = scene
      const reader = await mount(life.image, 'reader')
      const before = await onlyServer(scene, [reader]).then(holdings)
      const targets = [
        await mount(life.image, 'a', '--writable'),
        await mount(life.image, 'b', '--writable'),
        await mount(life.image, 'c', '--writable'),
      ]
      const pid = await onlyServer(scene, targets)
      const masks = ['022', '077', '000']
      const make = `umask $2; mkdir "$1/made" && cd "$1/made" && mkdir dir && echo "$2" >file && chmod 777 . &&
        setpriv --reuid 1234 --regid 2345 --clear-groups sh -c 'umask 027; : >his'; chown 7:8 dir`
      const made = await Promise.all(targets.map((target, i) => shell(make, target, masks[i] ?? '')))
      expect(made.map(({ status, stderr }) => ({ status, stderr }))).toEqual(
        masks.map(() => ({ status: 0, stderr: '' })),
      )
      const [dirs, files] = [
        ['755', '700', '777'],
        ['644', '600', '666'],
      ]
      for (const [i, target] of targets.entries()) {
        expect(await ownersIn(target)).toBe(
          `made/dir ${dirs?.[i]} 7:8\nmade/file ${files?.[i]} 0:0\nmade/his 640 1234:2345\n`,
        )
        expect(readFileSync(join(target, 'made/file'), 'utf8')).toBe(`${masks[i]}\n`)
      }
      expect(existsSync(join(reader, 'made'))).toBe(false)
      const [first = '', second = '', third = ''] = targets
      await run('umount', [first])
      expect((await atomfs('umount', second)).status).toBe(0)
      await run('umount', ['-l', third])
      await until(() => entries(runDir).length === 1, 'the end of the entries')
      await untilSwept(runDir)
      await until(() => holdings(pid).threads <= before.threads, 'the end of the threads', 20_000)
      const after = holdings(pid)
      expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 1)
      expect((await run('cat', [join(reader, 'etc/motd')])).stdout).toBe('hello\n')
    })
  })

  test('a dispatcher that dies ends its mount only', async () => {
    await withShared(async (scene) => {
      const faults = join(scene.folder, 'faults')
      mkdirSync(faults)
      process.env['ATOMFS_TEST_FAULTS'] = faults
      try {
        const { mount, runDir } = scene
        const reader = await mount(life.image, 'reader')
        const victim = await mount(life.image, 'victim', '--writable')
        const other = await mount(life.image, 'other', '--writable')
        const pid = await onlyServer(scene, [reader, victim, other])
        writeFileSync(join(other, 'before'), 'x')
        writeFileSync(join(faults, 'dispatcher'), 'throw poison')
        expect((await shell('echo x >"$1/poison"', victim)).status).not.toBe(0)
        await until(() => !isMounted(victim), 'the end of the mount')
        writeFileSync(join(other, 'after'), 'y')
        expect(readdirSync(other).sort()).toContain('before')
        expect(readFileSync(join(other, 'after'), 'utf8')).toBe('y')
        expect((await run('cat', [join(reader, 'etc/motd')])).stdout).toBe('hello\n')
        const logs = entries(runDir).map((entry) => readFileSync(join(entry, 'log'), 'utf8'))
        expect(logs.filter((log) => log.includes('the dispatcher died'))).toHaveLength(1)
        const again = await mount(life.image, 'victim', '--writable')
        expect((await shell('echo x >"$1/fine"', again)).status).toBe(0)
        await onlyServer(scene, [reader, again, other])
        expect(isGone(pid)).toBe(false)
      } finally {
        delete process.env['ATOMFS_TEST_FAULTS']
      }
    })
  })

  test('SIGTERM to the server ends them, and leaves nothing', async () => {
    await withShared(async (scene) => {
      const { mount, runDir } = scene
      const targets = [
        await mount(life.image, 'a', '--writable'),
        await mount(life.image, 'b'),
        await mount(life.image, 'c', '--writable'),
      ]
      const pid = await onlyServer(scene, targets)
      writeFileSync(join(targets[0] ?? '', 'new'), 'x')
      process.kill(pid, 'SIGTERM')
      await until(() => isGone(pid), 'its end')
      expect(targets.filter(isMounted)).toEqual([])
      expect(entries(runDir)).toEqual([])
      await untilSwept(runDir)
      expect(descriptorsOf(process.pid).filter((path) => path.startsWith(scene.folder))).toEqual([])
    })
  })
})
