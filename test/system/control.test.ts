import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { libcFunction } from '../../src/sys/ffi/libc.ts'
import { encodeUnixAddress } from '../../src/sys/process/unix-datagram.ts'
import { ATOMFS_FUSE, appendVerity, daemonPid, isMounted, removeTempDir, run } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { entries, inScene, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'

/** What a mount tells: to `status` and `verify`, to a service manager, and to its log. */

let life: LifeImage
let rootHash: string

beforeAll(async () => {
  life = await makeLifeImage()
  ;({ rootHash } = await appendVerity(life.image))
})

afterAll(() => removeTempDir(life.folder))

describe('status', () => {
  test('status answers the owner of a mount only, and tells another user who owns it', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      await atomfs('mount', life.image, target)
      const [entry] = entries(runDir)
      expect(statSync(join(entry!, 'control.sock')).mode & 0o777).toBe(0o600)
      chmodSync(folder, 0o755)
      const other = await run(
        'setpriv',
        ['--reuid=65534', '--regid=65534', '--clear-groups', ATOMFS_FUSE, 'status', target],
        {
          env: { ATOMFS_TEST_RUN_DIR: runDir },
          allowFailure: true,
        },
      )
      expect(other).toMatchObject({ status: 1, stdout: '' })
      expect(other.stderr).toMatch(
        /^Error: [^\n]* is mounted by another user: ask as that user or as root\n$/,
      )
      await atomfs('umount', target)
      expect((await atomfs('status', target)).stderr).toMatch(/^Error: .* is not a mount of atomfs-fuse/)
    })
  })

  test('status shows one mount or all, as text and JSON, with names of any length', async () => {
    await inScene(async ({ folder, runDir, atomfs }) => {
      const long = join(folder, 'x'.repeat(200), 'y'.repeat(200))
      const short = join(folder, 's')
      for (const target of [long, short]) {
        mkdirSync(target, { recursive: true })
        expect(await atomfs('mount', '--root-hash', rootHash, life.image, target)).toMatchObject(SILENT)
      }
      const all = JSON.parse((await atomfs('status', '--json')).stdout)
      expect(all.map((one: { target: string }) => one.target).sort()).toEqual([short, long].sort())
      const one = JSON.parse((await atomfs('status', '--json', long)).stdout)
      expect(one).toMatchObject({
        target: long,
        source: life.image,
        layers: [{ state: 'verified', failures: 0 }],
        pending: { reads: 0, oldestMs: 0 },
      })
      const text = (await atomfs('status')).stdout
      expect(text).toMatch(/^TARGET +STATE +/)
      expect(text.trim().split('\n')).toHaveLength(3)
      for (const target of [long, short]) await atomfs('umount', target)
      expect((await atomfs('status', '--json')).stdout).toBe('[]\n')
      expect(entries(runDir)).toEqual([])
    })
  })
})

describe('verify of a target', () => {
  test('verify of a target exits with 0 for a good image, and with 1 for an unverified or damaged one', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      await atomfs('mount', '--root-hash', rootHash, life.image, target)
      expect(await atomfs('verify', target)).toMatchObject({ status: 0, stdout: `${life.image}: OK\n` })
      await atomfs('umount', target)

      await atomfs('mount', life.image, target)
      expect(await atomfs('verify', target)).toMatchObject({
        status: 1,
        stdout: expect.stringContaining('not verified'),
      })
      await atomfs('umount', target)

      const damaged = join(folder, 'damaged')
      copyFileSync(life.image, damaged)
      const fd = openSync(damaged, 'r+')
      writeSync(fd, 'damage', 1_000_000)
      closeSync(fd)
      await atomfs('mount', '--verify=lazy', '--root-hash', rootHash, damaged, target)
      expect((await run('cat', [join(target, 'big')], { allowFailure: true })).stderr).toMatch(
        /Input\/output error/,
      )
      expect(await atomfs('verify', target)).toMatchObject({
        status: 1,
        stdout: `${damaged}: CORRUPTION FOUND\n`,
      })
      await atomfs('umount', target)
    })
  })
})

const socket = libcFunction('int socket(int domain, int type, int protocol)')
const bind = libcFunction('int bind(int fd, const uint8_t *address, uint32_t size)')
const recv = libcFunction('int64_t recv(int fd, uint8_t *data, size_t length, int flags)')

/** A service manager's socket: Node has no datagrams over unix sockets. */
class Manager {
  readonly #fd: number

  constructor(address: string) {
    this.#fd = Number(socket(1, 2 | 0o2000000, 0))
    const bytes = encodeUnixAddress(address)
    expect(bind(this.#fd, bytes, bytes.length)).toBe(0)
  }

  async next(): Promise<string> {
    const data = Buffer.alloc(4096)
    let length = -1
    await until(() => {
      length = Number(recv(this.#fd, data, data.length, 0x40))
      return length >= 0
    }, 'a message to the service manager')
    return data.toString('utf8', 0, length)
  }

  close(): void {
    closeSync(this.#fd)
  }
}

describe('a service manager', () => {
  test.each(['a path', 'an abstract name'])(
    'the service manager is notified of start and end at %s, whichever process is the main one',
    async (kind) => {
      await inScene(async ({ folder, target, runDir }) => {
        const address = kind === 'a path' ? join(folder, 'notify') : `@${folder}`
        const manager = new Manager(address)
        const env = { ATOMFS_TEST_RUN_DIR: runDir, NOTIFY_SOCKET: address }
        try {
          await run(ATOMFS_FUSE, ['mount', life.image, target], { env })
          expect(await manager.next()).toBe(`READY=1\nMAINPID=${daemonPid(runDir)}`)
          await run('umount', [target])
          expect(await manager.next()).toBe('STOPPING=1')

          const child = spawn(ATOMFS_FUSE, ['mount', '-f', life.image, target], {
            stdio: 'inherit',
            env: { ...process.env, ...env },
          })
          try {
            expect(await manager.next()).toBe(`READY=1\nMAINPID=${child.pid}`)
            expect(isMounted(target)).toBe(true)
            const closed = once(child, 'close')
            child.kill('SIGTERM')
            expect(await manager.next()).toBe('STOPPING=1')
            expect(await closed).toEqual([0, null])
          } finally {
            child.kill('SIGKILL')
          }
        } finally {
          manager.close()
        }
      })
    },
  )

  test('--ready-fd gets its line only when the mount serves requests', async () => {
    await inScene(async ({ target, runDir, atomfs }) => {
      const script = '"$0" mount --ready-fd 30 "$1" "$2" 30>&1; echo "$?"'
      const env = { ATOMFS_TEST_RUN_DIR: runDir }
      // bash, because dash knows descriptors of one digit only.
      expect((await run('bash', ['-c', script, ATOMFS_FUSE, life.image, target], { env })).stdout).toBe(
        'ready\n0\n',
      )
      await atomfs('umount', target)
      expect((await run('bash', ['-c', script, ATOMFS_FUSE, '/none', target], { env })).stdout).toBe('1\n')
    })
  })
})

describe('--log', () => {
  test('--log writes to a file, at the given level, one line for each event', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      const log = join(folder, 'a log')
      const image = join(folder, 'image')
      copyFileSync(life.image, image)
      expect(await atomfs('mount', '--log', log, '--log-level', 'error', image, target)).toMatchObject(SILENT)
      truncateSync(image, 500_000)
      await run('cat', [join(target, 'big')], { allowFailure: true })
      process.kill(daemonPid(runDir), 'SIGUSR1')
      await until(() => readFileSync(log, 'utf8').includes('statistics'), 'the statistics')
      expect(readFileSync(log, 'utf8')).toMatch(
        /^(\S+Z error: [^\n]+\n)+\S+Z info: statistics: \{[^\n]+\}\n$/,
      )
      await atomfs('umount', target)
      const refused = await atomfs('mount', '--log', join(folder, 'none/log'), life.image, target)
      expect(refused).toMatchObject({ status: 1, stderr: expect.stringMatching(/^Error: --log .*ENOENT\n$/) })
      expect(isMounted(target)).toBe(false)
    })
  })
})
