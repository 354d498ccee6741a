import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { removeTempDir, run, withTempDir } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { type LifeImage, makeLifeImage } from '../library/scenes/life.ts'
import { besideNuisance, type Nuisance } from '../library/scenes/nuisance.ts'
import { descriptorsOf, type SharedScene, withShared } from '../library/scenes/shared.ts'

/** Who is not the user of a shared server, and clients that are none, change nothing for its mounts. */

const STRANGER = 1234
const AS_STRANGER = ['--reuid', `${STRANGER}`, '--regid', `${STRANGER}`, '--clear-groups']
/** Connections at once. */
const CROWD = 1000

let life: LifeImage

beforeAll(async () => {
  life = await makeLifeImage()
})

afterAll(() => removeTempDir(life.folder))

async function readMotd(target: string): Promise<string> {
  return (await run('cat', [join(target, 'etc/motd')])).stdout
}

/** What a server has of clients. */
function connections(pid: number): number {
  return descriptorsOf(pid).filter((path) => path.startsWith('socket:')).length
}

/** The socket of the one server of a scene. */
function socketOf(runDir: string): string {
  const [name = ''] = readdirSync(join(runDir, 'servers'))
  return join(runDir, 'servers', name, 'socket')
}

/** The answer of a server to the last of some connections of another user, one after the other; empty where there is none. */
async function ask(socket: string, count: number): Promise<string> {
  const script = `
    const [, socket, count] = process.argv
    const ask = (left, last) => {
      if (left === 0) return process.stdout.write(last)
      let said = ''
      const client = require('net').connect(socket)
      client.on('data', (data) => { said += data })
      client.on('error', () => undefined)
      client.on('close', () => ask(left - 1, said))
    }
    ask(Number(count), '')`
  const words = [...AS_STRANGER, process.execPath, '-e', script, socket, `${count}`]
  return (await run('setpriv', words, { cwd: '/' })).stdout
}

/** Lets everybody reach a file. @returns undoes it for the folders */
function open(path: string): () => void {
  chmodSync(path, 0o777)
  const modes = new Map<string, number>()
  for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) {
    modes.set(folder, statSync(folder).mode)
    chmodSync(folder, statSync(folder).mode | 0o011)
  }
  return () => {
    for (const [folder, mode] of modes) chmodSync(folder, mode)
  }
}

describe('a stranger', () => {
  const isRoot = process.getuid?.() === 0

  /** Where the server of a scene would be. */
  async function placeOf({ mount, runDir, servers, atomfs }: SharedScene): Promise<string> {
    const target = await mount(life.image, 'first')
    const [name = ''] = readdirSync(join(runDir, 'servers'))
    await atomfs('umount', target)
    const [pid = 0] = servers()
    process.kill(pid, 'SIGTERM')
    await until(() => isGone(pid), 'its end')
    return join(runDir, 'servers', name)
  }

  test.skipIf(!isRoot)(
    'who has planted the folder or the socket of a server is refused in one line',
    async () => {
      await withShared(async (scene) => {
        const { atomfs, target, servers } = scene
        const place = await placeOf(scene)
        const mountOwn = async (name: string): Promise<string> => {
          const { status, stderr } = await atomfs('mount', life.image, target(name))
          expect(status).toBe(0)
          expect(await readMotd(target(name))).toBe('hello\n')
          expect(servers()).toEqual([])
          expect(stderr).toMatch(/^Warning: no shared server, this mount has its own: .*\n$/)
          return stderr
        }
        mkdirSync(place, { mode: 0o700 })
        chmodSync(place, 0o777)
        expect(await mountOwn('open')).toContain('mode 777')
        chmodSync(place, 0o700)
        await run('chown', ['1234', place])
        expect(await mountOwn('foreign')).toContain('belongs to user 1234')
        await run('chown', ['0', place])
        // A server of somebody else at the very place.
        const socket = join(place, 'socket')
        const script = `require('net').createServer(() => undefined).listen(${JSON.stringify(socket)}, () => console.log('up'))`
        open(place)
        const stranger = spawn('setpriv', [...AS_STRANGER, process.execPath, '-e', script], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        try {
          await once(stranger.stdout, 'data')
          for (const path of [place, join(place, '..')]) chmodSync(path, 0o700)
          expect(await mountOwn('socket')).toContain('server of user 1234')
        } finally {
          stranger.kill()
        }
      })
    },
  )

  test.skipIf(!isRoot)('has a server of his own', async () => {
    await withShared(async ({ mount, servers, env, target }) => {
      await mount(life.image, 'root')
      const [pid = 0] = servers()
      await withTempDir(async (folder) => {
        chmodSync(folder, 0o777)
        const theirs = join(folder, 'mnt')
        mkdirSync(theirs)
        await run('chown', ['1234', theirs])
        const result = await run(
          'setpriv',
          [
            ...['--reuid', '1234', '--regid', '1234', '--clear-groups', 'unshare', '-Urm', 'sh', '-c'],
            '"$0" mount "$1" "$2" && cat "$2/etc/motd" && "$0" status --json "$2"; kill $(sed "s/.*\\"pid\\":\\([0-9]*\\).*/\\1/" "$3"/meta/*/*/daemon.json)',
            ...[join(import.meta.dirname, '../../bin/atomfs-fuse'), life.image, theirs, join(folder, 'run')],
          ],
          {
            env: { ...env, ATOMFS_TEST_RUN_DIR: join(folder, 'run'), HOME: folder, XDG_RUNTIME_DIR: folder },
            allowFailure: true,
          },
        )
        expect(result.stdout).toContain('hello')
        expect(Number(/"pid":\s*(\d+)/.exec(result.stdout)?.[1])).not.toBe(pid)
      })
      // And may not ask that of root.
      const socket = join(env['ATOMFS_TEST_RUN_DIR'] ?? '', 'servers')
      expect(statSync(socket).mode & 0o777).toBe(0o700)
      expect(existsSync(target('root'))).toBe(true)
    })
  })

  test.skipIf(!isRoot)('who reaches the socket is refused, however often, and keeps no server', async () => {
    await withShared(async ({ mount, atomfs, runDir, servers }) => {
      const first = await mount(life.image, 'first')
      const socket = socketOf(runDir)
      const [pid = 0] = servers()
      const log = (): string => readFileSync(join(dirname(socket), 'log'), 'utf8')
      const close = open(socket)
      const asked = await ask(socket, CROWD)
      expect(asked).toContain(`asked by user ${STRANGER}`)
      // The folder is refused as long as it is open; the server goes on.
      expect(await readMotd(first)).toBe('hello\n')
      close()
      await mount(life.image, 'second')
      expect(log().split(`asked by user ${STRANGER}`)).toHaveLength(2)
      expect(servers()).toEqual([pid])
      // Nor does it stay for them.
      open(socket)
      for (const name of ['first', 'second']) await atomfs('umount', join(runDir, '..', name))
      const asks = async (): Promise<void> => {
        while (!isGone(pid)) await ask(socket, 1)
      }
      await Promise.all([asks(), until(() => isGone(pid), 'its end', 30_000)])
    })
  })

  const planted: readonly [string, (path: string) => unknown][] = [
    ['a symbolic link to a folder', (path) => symlinkSync(life.folder, path)],
    ['a symbolic link to nothing', (path) => symlinkSync('nowhere', path)],
    ['a file', (path) => writeFileSync(path, '')],
    ['a FIFO', (path) => run('mkfifo', [path])],
    ['a folder', (path) => mkdirSync(path, { mode: 0o755 })],
  ]
  test.each(planted)(
    'who has planted %s in place of a folder or a socket stops nobody',
    async (what, plant) => {
      await withShared(async (scene) => {
        const { atomfs, target, servers } = scene
        const place = await placeOf(scene)
        const mounted = async (name: string): Promise<string> => {
          const { status, stderr } = await atomfs('mount', life.image, target(name))
          expect(status).toBe(0)
          expect(await readMotd(target(name))).toBe('hello\n')
          await atomfs('umount', target(name))
          return stderr
        }
        for (const folder of [place, dirname(place)]) {
          rmSync(folder, { recursive: true, force: true })
          await plant(folder)
          if (process.getuid?.() === 0 && what === 'a folder') chownSync(folder, STRANGER, STRANGER)
          expect(await mounted('folder')).toMatch(/^Warning: no shared server, this mount has its own: .*\n$/)
          expect(servers()).toEqual([])
          rmSync(folder, { recursive: true, force: true })
        }
        mkdirSync(place, { recursive: true })
        for (const folder of [dirname(place), place]) chmodSync(folder, 0o700)
        await plant(join(place, 'socket'))
        // In a folder that is ours alone it was no stranger.
        expect(await mounted('socket')).toBe('')
      })
    },
  )
})

describe('a client that is none', () => {
  const kinds: readonly [Nuisance, number][] = [
    ['silent', CROWD],
    ['half', 100],
    ['huge', 100],
    ['slow', 20],
    ['descriptors', 20],
    ['few', 20],
    ['nonsense', 60],
    ['early', CROWD],
  ]
  test.each(kinds)('(%s, %i at once) holds up nobody, and leaves nothing', async (kind, count) => {
    await withShared(async ({ mount, atomfs, runDir, servers }) => {
      const first = await mount(life.image, 'a')
      const [pid = 0] = servers()
      const before = connections(pid)
      await besideNuisance(socketOf(runDir), [kind, count], async () => {
        const target = await mount(life.image, 'b')
        expect(await readMotd(target)).toBe('hello\n')
        await atomfs('umount', target)
      })
      expect(await readMotd(first)).toBe('hello\n')
      await until(() => connections(pid) <= before, 'the end of their connections')
      expect(servers()).toEqual([pid])
    })
  })

  test('finds a server that accepts nobody: the next mount has its own', async () => {
    await withShared(async ({ mount, pidOf, runDir, servers }) => {
      await mount(life.image, 'a')
      const [pid = 0] = servers()
      process.kill(pid, 'SIGSTOP')
      try {
        await besideNuisance(socketOf(runDir), ['full', CROWD], async (present) => {
          expect(present).toBeLessThan(CROWD)
          const target = await mount(life.image, 'b')
          expect(await readMotd(target)).toBe('hello\n')
          expect(await pidOf(target)).not.toBe(pid)
        })
      } finally {
        process.kill(pid, 'SIGCONT')
      }
    })
  })
})
