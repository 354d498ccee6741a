import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isMounted, needs, removeTempDir, run, titled } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'
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
      const hasLetGo = (): boolean => {
        const { threads, descriptors } = holdings(pid)
        return threads <= before.threads && descriptors <= before.descriptors
      }
      await until(hasLetGo, 'the end of the threads and of their descriptors', 20_000)
      expect((await run('cat', [join(reader, 'etc/motd')])).stdout).toBe('hello\n')
    })
  })

  test('a dispatcher that dies ends its mount only', async () => {
    await withShared(async (scene) => {
      const faults = join(scene.folder, 'faults')
      mkdirSync(faults)
      process.env['ATOMFS_TEST_FAULTS'] = faults
      const held: number[] = []
      try {
        const { mount, runDir } = scene
        const reader = await mount(life.image, 'reader')
        const place = join(scene.folder, 'victim-changes')
        const victim = await mount(life.image, 'victim', '--persist', place)
        writeFileSync(join(victim, 'kept'), 'k')
        for (let i = 0; i < 20; i++) {
          held.push(openSync(join(victim, `f${i}`), 'w'))
          writeFileSync(join(victim, `f${i}`), 'x')
        }
        const other = await mount(life.image, 'other', '--writable')
        const pid = await onlyServer(scene, [reader, victim, other])
        writeFileSync(join(other, 'before'), 'x')
        const isOfVictim = (path: string): boolean => path.startsWith(place)
        expect(descriptorsOf(pid).filter(isOfVictim).length).toBeGreaterThanOrEqual(20)
        writeFileSync(join(faults, 'dispatcher'), 'throw poison')
        expect((await shell('echo x >"$1/poison"', victim)).status).not.toBe(0)
        await until(() => !isMounted(victim), 'the end of the mount')
        await until(() => !descriptorsOf(pid).some(isOfVictim), 'the end of its descriptors')
        writeFileSync(join(other, 'after'), 'y')
        expect(readdirSync(other).sort()).toContain('before')
        expect(readFileSync(join(other, 'after'), 'utf8')).toBe('y')
        expect((await run('cat', [join(reader, 'etc/motd')])).stdout).toBe('hello\n')
        const logs = entries(runDir).map((entry) => readFileSync(join(entry, 'log'), 'utf8'))
        expect(logs.filter((log) => log.includes('the dispatcher died'))).toHaveLength(1)
        // The upper directory was written back, and its locks are free.
        expect(logs.filter((log) => log.includes('sync'))).toEqual([])
        const again = await mount(life.image, 'victim', '--persist', place)
        expect(readFileSync(join(again, 'kept'), 'utf8')).toBe('k')
        await onlyServer(scene, [reader, again, other])
        expect(isGone(pid)).toBe(false)
      } finally {
        for (const fd of held) closeSync(fd)
        delete process.env['ATOMFS_TEST_FAULTS']
      }
    })
  })

  test('an upper directory whose disk stops holds up its mount only', async () => {
    await withShared(async (scene) => {
      const { mount, atomfs, pidOf, target } = scene
      const reader = await mount(life.image, 'reader')
      const disk = await mount(life.image, 'disk', '--writable', '-o', 'server=own,dev,suid')
      const stuck = await mount(life.image, 'stuck', '--upper', join(disk, 'upper'))
      const other = await mount(life.image, 'other', '--persist', join(scene.folder, 'other-changes'))
      const pid = await onlyServer(scene, [reader, stuck, other])
      const diskServer = await pidOf(disk)
      expect(diskServer).not.toBe(pid)
      process.kill(diskServer, 'SIGSTOP')
      const writer = shell('mkdir "$1/new" && echo written >"$1/new/file"', stuck)
      try {
        const quick = { timeout: 10_000 }
        await run(
          'sh',
          ['-c', 'echo x >"$1/file" && cat "$1/file" "$2/big" >/dev/null', 'sh', other, reader],
          quick,
        )
        const further = await mount(life.image, 'further', '--writable')
        await run('sh', ['-c', 'echo x >"$1/file"', 'sh', further], quick)
        await run('umount', [further], quick)
        expect((await atomfs('umount', other)).status).toBe(0)
        expect(await pidOf(reader)).toBe(pid)
        await mount(life.image, 'other', '--persist', join(scene.folder, 'other-changes'))
        expect(readFileSync(join(target('other'), 'file'), 'utf8')).toBe('x\n')
      } finally {
        process.kill(diskServer, 'SIGCONT')
      }
      expect(await writer).toMatchObject({ status: 0 })
      expect(readFileSync(join(stuck, 'new/file'), 'utf8')).toBe('written\n')
      await run('umount', [stuck])
      expect(readFileSync(join(disk, 'upper/new/file'), 'utf8')).toBe('written\n')
      // Its descriptors of that file system are closed.
      await until(() => !descriptorsOf(pid).some((path) => path.startsWith(disk)), 'the disk to be free')
      await run('umount', [disk])
    })
  })

  test('an upper directory in use is refused with the name of its mount, and free after the end', async () => {
    await withShared(async (scene) => {
      const { mount, atomfs, target, folder } = scene
      const place = join(folder, 'changes')
      const first = await mount(life.image, 'a', '--persist', place)
      const second = await mount(life.image, 'b', '--writable')
      // Again at once: the server has forgotten the mount when its client says why there is none.
      for (let time = 1; time <= 5; time++) {
        const { status, stderr } = await atomfs('mount', '--persist', place, life.image, target('c'))
        expect(status).toBe(1)
        expect(stderr).toContain(`in use by the mount on ${first}`)
      }
      const same = await atomfs('mount', '--upper', join(place, 'persist'), life.image, target('c'))
      expect(same.stderr).toContain(`in use by the mount on ${first}`)
      writeFileSync(join(first, 'new'), 'x')
      await run('umount', [first])
      const third = await mount(life.image, 'c', '--persist', place)
      expect(readFileSync(join(third, 'new'), 'utf8')).toBe('x')
      await onlyServer(scene, [second, third])
    })
  })

  test('directories of the machine are shown and merged by it, and refused where they overlap', async () => {
    await withShared(async (scene) => {
      const { folder, mount, atomfs, target } = scene
      const [top, bottom] = ['top', 'bottom'].map((name) => join(folder, name)) as [string, string]
      for (const path of [top, bottom, join(folder, 'upper'), join(folder, 'work')]) mkdirSync(path)
      writeFileSync(join(top, 'both'), 'top')
      for (const name of ['both', 'one']) writeFileSync(join(bottom, name), 'bottom')
      const plain = await mount(bottom, 'plain')
      const options = (upper: string) =>
        `lowerdir=${top}:${bottom},upperdir=${upper},workdir=${join(folder, 'work')}`
      const place = target('merged')
      expect(await atomfs('overlay', '-o', options(join(folder, 'upper')), place)).toMatchObject(SILENT)
      await onlyServer(scene, [plain, place])
      expect((await shell('cd "$1" && cat both one && rm both && echo new >one', place)).stdout).toBe(
        'topbottom',
      )
      expect(readdirSync(place)).toEqual(['one'])
      expect(readFileSync(join(plain, 'one'), 'utf8')).toBe('bottom')
      const overlapping = await atomfs('overlay', '-o', options(top), target('other'))
      expect(overlapping).toMatchObject({ status: 1, stderr: expect.stringContaining('the same directory') })
      const inside = await atomfs('mount', folder, target('other'))
      expect(inside).toMatchObject({ status: 1, stderr: expect.stringContaining('part of the mount') })
      await run('umount', [place])
      expect(readFileSync(join(folder, 'upper/one'), 'utf8')).toBe('new\n')
    })
  })

  test('a server that is killed leaves upper directories that mount again', async () => {
    await withShared(async (scene) => {
      const { mount, folder, servers } = scene
      const places = ['a', 'b', 'c'].map((name) => ({ name, place: join(folder, `changes-${name}`) }))
      const args = ({ place }: { readonly place: string }) => ['--persist', place]
      for (const one of places) {
        const target = await mount(life.image, one.name, ...args(one))
        await shell('cd "$1" && echo "$2" >new && rm etc/motd && mv big moved && sync -f .', target, one.name)
      }
      const [pid = 0] = servers()
      process.kill(pid, 'SIGKILL')
      await until(() => isGone(pid), 'its end')
      for (const one of places) {
        const target = await mount(life.image, `${one.name}-again`, ...args(one))
        expect(readFileSync(join(target, 'new'), 'utf8')).toBe(`${one.name}\n`)
        expect([existsSync(join(target, 'etc/motd')), existsSync(join(target, 'big'))]).toEqual([
          false,
          false,
        ])
        expect((await shell('ls "$1/etc"', target)).status).toBe(0)
      }
    })
  })

  test('temporary changes of a server that was killed are removed by the client of the next one', async () => {
    await withShared(async ({ mount, servers, runDir }) => {
      const target = await mount(life.image, 'a', '--writable')
      writeFileSync(join(target, 'new'), 'x')
      const [pid = 0] = servers()
      process.kill(pid, 'SIGKILL')
      await until(() => isGone(pid), 'its end')
      await run('umount', ['-l', target])
      await mount(life.image, 'a', '--writable')
      await untilSwept(runDir)
      expect(entries(runDir)).toHaveLength(1)
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
