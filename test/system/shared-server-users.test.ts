import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  mountsBelow,
  needs,
  type RunResult,
  removeTempDir,
  run,
  titled,
  unmount,
  withTempDir,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { type LifeImage, makeLifeImage } from '../library/scenes/life.ts'
import { descriptorsOf, serversWith } from '../library/scenes/shared.ts'

/** Many users of one machine, in one mount namespace, each with a shared server of his own. */

const COUNT = 16

/** fusermount3 serves nobody who has no name. */
const USERS = [
  ...new Set(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => Number(line.split(':')[2])),
  ),
]
  .filter((uid) => uid > 0)
  .slice(0, COUNT)

const tools = needs('root', 'fuse', 'mksquashfs', 'setpriv', 'fusermount3')
const need =
  USERS.length === COUNT ? tools : { ...tools, ok: false, reason: `needs ${COUNT} users in /etc/passwd` }

let life: LifeImage

beforeAll(async () => {
  if (need.ok) life = await makeLifeImage()
})

afterAll(() => {
  if (need.ok) removeTempDir(life.folder)
})

interface User {
  readonly uid: number
  /** His HOME, and the folder for his runtime data, which everybody may look into. */
  readonly home: string
  /** Runs a program as him. */
  as(...words: string[]): Promise<RunResult>
  /** The same with these variables; it may fail. */
  with(env: Readonly<Record<string, string>>, ...words: string[]): Promise<RunResult>
  /** A mount by his shared server. @returns the target */
  mount(name: string): Promise<string>
}

function user(uid: number, folder: string): User {
  const home = join(folder, `${uid}`)
  mkdirSync(home)
  chownSync(home, uid, uid)
  const env = {
    ...{ ATOMFS_SERVER: 'shared', HOME: home, XDG_RUNTIME_DIR: home },
    ...{ XDG_CACHE_HOME: undefined, XDG_DATA_HOME: undefined, ATOMFS_TEST_RUN_DIR: undefined },
  }
  const ids = ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups']
  const as = (...words: string[]): Promise<RunResult> => run('setpriv', [...ids, ...words], { env, cwd: '/' })
  return {
    uid,
    home,
    as,
    with: (more, ...words) =>
      run('setpriv', [...ids, ...words], { env: { ...env, ...more }, cwd: '/', allowFailure: true }),
    async mount(name) {
      const target = join(home, name)
      const { stderr } = await as(
        'sh',
        '-c',
        'mkdir "$2" && "$0" mount "$1" "$2"',
        ATOMFS_FUSE,
        life.image,
        target,
      )
      expect(stderr).toBe('')
      return target
    },
  }
}

/** Shared servers of a user. */
function serversOf({ uid, home }: User): number[] {
  return serversWith(`XDG_RUNTIME_DIR=${home}`, uid)
}

function socketOf({ home }: User): string {
  const servers = join(home, 'atomfs/servers')
  return join(servers, readdirSync(servers)[0] ?? '', 'socket')
}

/**
 * What a user tries with the servers of others: looks into their folder, plants something there, connects, reads their
 * mount, looks at their process, signals it. Says what was not refused.
 */
const TRIES = `
  const fs = require('fs')
  const tried = []
  const attempt = (what, action) => {
    try {
      action()
      tried.push(what)
    } catch (error) {
      if (!['EACCES', 'EPERM'].includes(error.code)) tried.push(what + ': ' + error.code)
    }
  }
  const others = JSON.parse(process.argv[1])
  let left = others.length
  for (const { pid, home, socket } of others) {
    const of = (what) => what + ' of ' + home
    const servers = home + '/atomfs/servers'
    attempt(of('folder'), () => fs.readdirSync(servers))
    attempt(of('planted'), () => fs.mkdirSync(servers + '/planted'))
    attempt(of('moved'), () => fs.renameSync(servers, servers + '.old'))
    attempt(of('planted beside'), () => fs.writeFileSync(home + '/atomfs/planted', ''))
    attempt(of('mount'), () => fs.readFileSync(home + '/a/etc/motd'))
    attempt(of('descriptors'), () => fs.readdirSync('/proc/' + pid + '/fd'))
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGSTOP', 'SIGURG', 'SIGUSR1', 'SIGQUIT'])
      attempt(of(signal), () => process.kill(pid, signal))
    const done = (code) => {
      if (code !== 'EACCES') tried.push(of('socket: ' + code))
      if (--left === 0) process.stdout.write(tried.join('\\n'))
    }
    const client = require('net').connect(socket)
    client.once('error', ({ code }) => done(code))
    client.once('connect', () => { client.destroy(); done('connected') })
  }
`

describe('sixteen users', () => {
  /** Runs `play` with users who have a mount each, and their servers. */
  async function withUsers(
    play: (users: readonly User[], servers: readonly number[]) => Promise<void>,
  ): Promise<void> {
    await withTempDir(async (folder) => {
      chmodSync(folder, 0o755)
      const users = USERS.map((uid) => user(uid, folder))
      try {
        await Promise.all(users.map((one) => one.mount('a')))
        const servers = users.map(serversOf)
        expect(servers.map((pids) => pids.length)).toEqual(users.map(() => 1))
        await play(users, servers.flat())
      } finally {
        for (const point of mountsBelow(folder).toReversed()) await unmount(point)
        const left = users.flatMap(serversOf)
        for (const pid of left) process.kill(pid, 'SIGTERM')
        await until(() => left.every(isGone), 'the end of the servers')
      }
    })
  }

  async function readsAll(one: User, name: string): Promise<void> {
    const { stdout } = await one.as(
      'sh',
      '-c',
      'cat "$0/etc/motd" && cat "$0/big" | wc -c',
      join(one.home, name),
    )
    expect(stdout).toBe(`hello\n${3 << 20}\n`)
  }

  test.skipIf(!need.ok)(
    titled('have a server each, which no other one reaches, stops or holds up', need),
    async () => {
      await withUsers(async (users, servers) => {
        expect(new Set(servers).size).toBe(users.length)
        await Promise.all(users.map((one) => readsAll(one, 'a')))
        // Nobody is let in.
        const known = users.map((one, i) => ({ pid: servers[i], home: one.home, socket: socketOf(one) }))
        await Promise.all(
          users.map(async (one) => {
            const others = known.filter(({ home }) => home !== one.home)
            expect((await one.as(process.execPath, '-e', TRIES, JSON.stringify(others))).stdout).toBe('')
          }),
        )
        // Nor by the program itself, with the places of somebody else.
        const [first, second, third] = users
        const env = { XDG_RUNTIME_DIR: second!.home, ATOMFS_TEST_RUN_DIR: join(second!.home, 'atomfs') }
        await first!.as('mkdir', join(first!.home, 'c'))
        const asked = await first!.with(env, ATOMFS_FUSE, 'mount', life.image, join(first!.home, 'c'))
        expect(asked).toMatchObject({ status: 1, stdout: '' })
        expect(asked.stderr).toContain(`belongs to user ${second!.uid}`)
        const unmounted = await first!.with(env, ATOMFS_FUSE, 'umount', join(second!.home, 'a'))
        expect(unmounted.status).not.toBe(0)
        expect(users.flatMap(serversOf)).toEqual(servers)

        // A server that does nothing holds up its user alone.
        const others = users.filter((one) => one !== third)
        process.kill(servers[2]!, 'SIGSTOP')
        try {
          await Promise.all(others.map((one) => one.mount('b')))
          await Promise.all(others.map((one) => readsAll(one, 'b')))
        } finally {
          process.kill(servers[2]!, 'SIGCONT')
        }
        await readsAll(third!, 'a')
        const devices = servers.map((pid) => descriptorsOf(pid).filter((path) => path === '/dev/fuse').length)
        expect(devices).toEqual(users.map((one) => (one === third ? 1 : 2)))

        // One that is killed ends the mounts of its user alone, who gets a new one.
        process.kill(servers[2]!, 'SIGKILL')
        await until(() => isGone(servers[2]!), 'its end')
        await Promise.all(others.map((one) => readsAll(one, 'a')))
        const dead = await third!.with({}, 'stat', '-f', join(third!.home, 'a'))
        expect(dead.stderr).toMatch(/not connected|connection abort/)
        await third!.mount('b')
        await readsAll(third!, 'b')
        expect(others.flatMap(serversOf)).toEqual(servers.filter((pid) => pid !== servers[2]))
        expect(serversOf(third!)).toHaveLength(1)
      })
    },
    120_000,
  )
})
