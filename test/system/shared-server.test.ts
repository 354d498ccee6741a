import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { atomfsFuse, isMounted, removeTempDir, run } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'
import { descriptorsOf, withShared } from '../library/scenes/shared.ts'

/** Several mounts by one server (docs/shared-server.md), as users see it: by the command line. */

let life: LifeImage

beforeAll(async () => {
  life = await makeLifeImage()
})

afterAll(() => removeTempDir(life.folder))

/** A second image with other bytes in the same places. */
function otherImage(): string {
  return join(life.folder, 'other.sqfs')
}

beforeAll(async () => {
  const tree = join(life.folder, 'other')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/motd'), 'bonjour\n')
  await run('mksquashfs', [tree, otherImage(), '-quiet', '-no-progress'])
})

async function readMotd(target: string): Promise<string> {
  return (await run('cat', [join(target, 'etc/motd')])).stdout
}

/** The error of reading the root of a mount. */
async function complaint(target: string): Promise<string> {
  return (await run('stat', ['-f', target], { allowFailure: true, timeout: 10_000 })).stderr
}

describe('a shared server', () => {
  test('serves all mounts of a user, each with what it shows', async () => {
    await withShared(async ({ mount, pidOf, servers }) => {
      const first = await mount(life.image, 'a')
      const second = await mount(life.image, 'b')
      const third = await mount(otherImage(), 'c')
      const pids = await Promise.all([first, second, third].map(pidOf))
      expect(new Set(pids)).toEqual(new Set(servers()))
      expect(new Set(pids).size).toBe(1)
      expect(await Promise.all([first, second, third].map(readMotd))).toEqual([
        'hello\n',
        'hello\n',
        'bonjour\n',
      ])
      await run('cmp', [join(first, 'big'), join(second, 'big')])
      const images = descriptorsOf(pids[0] ?? 0).filter((path) => path === life.image)
      expect(images.length).toBe(1)
    })
  })

  test('knows relative paths of its clients', async () => {
    await withShared(async ({ folder, runDir, env, servers, pidOf, target }) => {
      const place = target('m')
      for (const name of ['low', 'up', 'work']) mkdirSync(join(folder, name))
      writeFileSync(join(folder, 'low/a'), 'a\n')
      const words = ['overlay', '-o', 'lowerdir=low,upperdir=up,workdir=work', 'm']
      expect(await atomfsFuse(words, { cwd: folder, runDir, env })).toMatchObject(SILENT)
      expect((await run('sh', ['-c', 'cat "$0/a" && echo b >"$0/b"', place])).stdout).toBe('a\n')
      expect(readFileSync(join(folder, 'up/b'), 'utf8')).toBe('b\n')
      expect([await pidOf(place)]).toEqual(servers())
    })
  })

  test('goes on with the others when one is unmounted, in every way', async () => {
    await withShared(async ({ mount, atomfs, runDir, servers }) => {
      const stays = await mount(life.image, 'stays')
      const [pid = 0] = servers()
      const ways: ((target: string) => Promise<unknown>)[] = [
        async (target) => expect(await atomfs('umount', target)).toMatchObject(SILENT),
        (target) => run('umount', [target]),
        (target) => run('fusermount3', ['-u', target]),
        (target) => run('umount', ['-l', target]),
      ]
      for (const [number, way] of ways.entries()) {
        const target = await mount(otherImage(), `goes${number}`)
        expect(await readMotd(target)).toBe('bonjour\n')
        await way(target)
        expect(isMounted(target)).toBe(false)
        await until(() => entries(runDir).length === 1, 'the end of the entry')
        expect(await readMotd(stays)).toBe('hello\n')
      }
      await until(() => !descriptorsOf(pid).includes(otherImage()), 'the image to be let go')
      expect(servers()).toEqual([pid])
    })
  })

  test('tells of each mount by itself', async () => {
    await withShared(async ({ mount, atomfs, runDir }) => {
      const first = await mount(life.image, 'a', '-o', 'debug')
      const second = await mount(otherImage(), 'b')
      await readMotd(first)
      await readMotd(first)
      const status = async (target: string) =>
        JSON.parse((await atomfs('status', '--json', target)).stdout) as Record<string, unknown>
      expect(await status(first)).toMatchObject({ target: first, source: life.image })
      expect(await status(second)).toMatchObject({ target: second, source: otherImage() })
      const logs = entries(runDir).map((entry) => readFileSync(join(entry, 'log'), 'utf8'))
      expect(logs.filter((log) => log.includes('LOOKUP')).length).toBe(1)
    })
  })

  test('ends all mounts at SIGTERM, and leaves nothing', async () => {
    await withShared(async ({ mount, runDir, servers }) => {
      const targets = [await mount(life.image, 'a'), await mount(otherImage(), 'b')]
      const [pid = 0] = servers()
      process.kill(pid, 'SIGTERM')
      await until(() => isGone(pid), 'its end')
      expect(targets.filter(isMounted)).toEqual([])
      expect(entries(runDir)).toEqual([])
      expect(readdirSync(join(runDir, 'servers'))).toEqual([])
    })
  })

  test('ends some seconds after its last mount, and leaves nothing', async () => {
    await withShared(async ({ mount, atomfs, runDir, servers }) => {
      const target = await mount(life.image, 'a')
      const [pid = 0] = servers()
      await atomfs('umount', target)
      expect(isGone(pid)).toBe(false)
      await until(() => isGone(pid), 'its end', 30_000)
      expect(entries(runDir)).toEqual([])
      expect(readdirSync(join(runDir, 'servers'))).toEqual([])
      await mount(life.image, 'a')
      expect(servers()).not.toEqual([pid])
    })
  })

  test('that is killed leaves errors, which umount cleans up, and the next mount has another', async () => {
    await withShared(async ({ mount, atomfs, runDir, servers }) => {
      const targets: string[] = []
      for (let i = 0; i < 10; i++) targets.push(await mount(i % 2 ? life.image : otherImage(), `m${i}`))
      const [pid = 0] = servers()
      process.kill(pid, 'SIGKILL')
      await until(() => isGone(pid), 'its end')
      for (const target of targets) expect(await complaint(target)).toMatch(/not connected|connection abort/)
      const next = await mount(life.image, 'next')
      expect(await readMotd(next)).toBe('hello\n')
      expect(servers()).not.toEqual([pid])
      for (const target of targets.slice(1)) expect(await atomfs('umount', target)).toMatchObject(SILENT)
      const [again = ''] = targets
      expect(await atomfs('mount', life.image, again)).toMatchObject(SILENT)
      expect(await readMotd(again)).toBe('hello\n')
      expect(entries(runDir).length).toBe(2)
    })
  })

  test('is one, however many clients start at once', async () => {
    await withShared(async ({ mount, servers, pidOf }) => {
      const targets = await Promise.all(Array.from({ length: 10 }, (_, i) => mount(life.image, `m${i}`)))
      const pids = await Promise.all(targets.map(pidOf))
      expect(new Set(pids)).toEqual(new Set(servers()))
      expect(servers().length).toBe(1)
    })
  })

  test('refuses the second mount on a target, and the first goes on', async () => {
    await withShared(async ({ mount, atomfs, target }) => {
      const first = await mount(life.image, 'a')
      const results = await Promise.all([1, 2].map(() => atomfs('mount', otherImage(), target('b'))))
      expect(results.map(({ status }) => status).sort()).toEqual([0, 1])
      const again = await atomfs('mount', otherImage(), first)
      expect(again.status).toBe(1)
      expect(again.stderr).toContain('is mounted already')
      expect(await readMotd(first)).toBe('hello\n')
    })
  })

  test('leaves to an own server what it does not do', async () => {
    await withShared(async ({ mount, servers, pidOf, folder }) => {
      const shared = await mount(life.image, 'shared')
      const [pid] = servers()
      const own: [string, ...string[]][] = [
        ['threads', '-o', 'threads=1'],
        ['log', '--log', join(folder, 'log.txt')],
        ['own', '-o', 'server=own'],
      ]
      for (const [name, ...args] of own) {
        const target = await mount(life.image, name, ...args)
        expect(await readMotd(target)).toBe('hello\n')
        expect(await pidOf(target)).not.toBe(pid)
      }
      // Its image lies in a mount of the server itself.
      const tree = join(folder, 'tree')
      mkdirSync(tree)
      await run('cp', [life.image, join(tree, 'inner')])
      await run('mksquashfs', [tree, join(folder, 'outer.sqfs'), '-quiet', '-no-progress'])
      const outer = await mount(join(folder, 'outer.sqfs'), 'outer')
      const inner = await mount(join(outer, 'inner'), 'inner')
      expect(await readMotd(inner)).toBe('hello\n')
      expect([await pidOf(shared), await pidOf(outer)]).toEqual([pid, pid])
      expect(await pidOf(inner)).not.toBe(pid)
      await run('umount', [inner])
    })
  })
})
