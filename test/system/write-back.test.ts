import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fchmodSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addressOf } from '../../src/sys/ffi/ffi.ts'
import { copyRange, fallocateFd, seekFd } from '../../src/sys/files/file-io.ts'
import { writeMapped } from '../library/changes/mapping.ts'
import {
  dropCaches,
  makeTempDir,
  mksquashfs,
  needs,
  type RunResult,
  removeTempDir,
  run,
  titled,
  withTempDir,
} from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { inScene, type Scene, SILENT } from '../library/scenes/life.ts'

/**
 * What is different while the kernel collects what is written (`writeback`, the default): when the data come, when
 * errors do, and who keeps size and mtime. Everything must hold without it as well, but where a test says so.
 */

const need = needs('root', 'fuse', 'mksquashfs')
const { O_CREAT, O_DIRECT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants
const [KEEP_SIZE, PUNCH_HOLE] = [1, 2]
const NOBODY = 65_534

let folder: string
let image: string

beforeAll(async () => {
  folder = makeTempDir()
  const lower = join(folder, 'lower')
  mkdirSync(lower)
  for (const name of ['low', 'low2', 'low3']) writeFileSync(join(lower, name), 'l'.repeat(20_000))
  writeFileSync(join(lower, 'secret'), 's'.repeat(20_000), { mode: 0o200 })
  for (const name of ['secret', 'low2']) chownSync(join(lower, name), NOBODY, NOBODY)
  writeFileSync(join(lower, 'big'), Buffer.alloc(4 << 20, 'x'))
  image = await mksquashfs(lower, join(folder, 'lower.sqfs'))
})
afterAll(() => removeTempDir(folder))

async function mount({ atomfs, target }: Scene, ...args: string[]): Promise<void> {
  expect(await atomfs('mount', ...args, image, target)).toMatchObject(SILENT)
}

async function umount({ atomfs, target }: Scene): Promise<void> {
  expect(await atomfs('umount', target)).toMatchObject(SILENT)
}

/** `use` with a mount of its own. */
async function withUpper(
  writeback: boolean,
  use: (target: string, upper: string, scene: Scene) => Promise<void> | void,
): Promise<void> {
  await inScene(async (scene) => {
    chmodSync(scene.folder, 0o755)
    const upper = join(scene.folder, 'upper')
    await mount(scene, '--upper', upper, ...(writeback ? [] : ['-o', 'writeback=0']))
    await use(scene.target, upper, scene)
    await umount(scene)
  })
}

function withFd<T>(path: string, flags: number, use: (fd: number) => T): T {
  const fd = openSync(path, flags)
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}

const AS_NOBODY = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']

const asNobody = (...command: string[]): Promise<RunResult> => run('setpriv', [...AS_NOBODY, ...command])

/** Has written to a file and keeps it open until its input ends. */
const STAYS_OPEN = 'exec 3<> "$1"; printf changed >&3; echo done; read -r line'

/** Lets a tick of the kernel's clock pass. */
const pause = (): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 12)
}

function fill(fd: number, size: number): void {
  writeSync(fd, Buffer.alloc(size, 'data'), 0, size, 0)
}

const mtimeOf = (path: string): bigint => statSync(path, { bigint: true }).mtimeNs

const MODES = [
  ['with', true],
  ['without', false],
] as const

type Change = (path: string) => void

/** Each makes or changes a file; names of the layer are those of files there. */
const CHANGES: Readonly<Record<string, Change>> = {
  created: (path) => writeFileSync(path, 'x'.repeat(5000)),
  'written again later': (path) => {
    writeFileSync(path, 'x'.repeat(5000))
    pause()
    withFd(path, O_RDWR, (fd) => {
      writeSync(fd, 'later', 17)
      pause()
    })
  },
  'written through a map': (path) => {
    writeFileSync(path, 'x'.repeat(200_000))
    pause()
    withFd(path, O_RDWR, (fd) => {
      writeMapped(fd, 5000, Buffer.from('map'), true)
      pause()
      writeMapped(fd, 100_000, Buffer.from('map'))
      pause()
    })
  },
  'given a time after much was written': (path) =>
    withFd(path, O_CREAT | O_RDWR, (fd) => {
      fill(fd, 3 << 20)
      futimesSync(fd, 1_000_000_000.25, 1_000_000_001.5)
    }),
  'given a time between two stores': (path) =>
    withFd(path, O_CREAT | O_RDWR, (fd) => {
      fill(fd, 200_000)
      writeMapped(fd, 5, Buffer.from('map'))
      futimesSync(fd, 1_000_000_000.25, 1_000_000_001.5)
      pause()
      writeMapped(fd, 150_000, Buffer.from('map'))
    }),
  'synced after every write': (path) =>
    withFd(path, O_CREAT | O_RDWR, (fd) => {
      for (let i = 0; i < 300; i++) {
        writeSync(fd, 'some bytes', i * 60)
        fdatasyncSync(fd)
      }
    }),
  'written directly': (path) => {
    writeFileSync(path, 'x'.repeat(20_000))
    pause()
    const room = new Uint8Array(8192)
    const page = room.subarray(4096 - (addressOf(room) % 4096)).subarray(0, 4096)
    withFd(path, O_RDWR | O_DIRECT, (fd) => {
      for (let i = 0; i < 100; i++) writeSync(fd, page, 0, 4096, 4096)
      pause()
    })
  },
  'made longer in advance': (path) =>
    withFd(path, O_CREAT | O_RDWR, (fd) => {
      fill(fd, 3)
      fsyncSync(fd)
      fallocateFd(fd, 0, 0, 10_000)
      pause()
      fallocateFd(fd, PUNCH_HOLE | KEEP_SIZE, 0, 8192)
      pause()
    }),
  'copied by the kernel': (path) => {
    writeFileSync(path, '')
    withFd(join(path, '../low'), O_RDONLY, (from) =>
      withFd(path, O_RDWR, (to) => {
        for (let i = 0; i < 3; i++) {
          expect(copyRange(from, 0, to, i * 2000, 2000)).toBeGreaterThan(0)
          pause()
        }
      }),
    )
  },
  'cut to the length it has': (path) => {
    writeFileSync(path, 'x'.repeat(5000))
    pause()
    truncateSync(path, 5000)
    pause()
  },
  'cut by truncate(2), and with dirty pages behind the cut': (path) => {
    withFd(path, O_CREAT | O_RDWR, (fd) => {
      fill(fd, 100_000)
      truncateSync(path, 50_000)
      pause()
      ftruncateSync(fd, 40_000)
      pause()
    })
  },
  'opened with O_TRUNC': (path) => {
    writeFileSync(path, 'x'.repeat(5000))
    pause()
    withFd(path, O_WRONLY | O_TRUNC, pause)
  },
  'renamed and given a mode with dirty pages': (path) =>
    withFd(path, O_CREAT | O_RDWR, (fd) => {
      fill(fd, 100_000)
      renameSync(path, `${path}-`)
      renameSync(`${path}-`, path)
      pause()
      fchmodSync(fd, 0o600)
      pause()
    }),
  low2: (path) =>
    withFd(path, O_RDWR, (fd) => {
      writeSync(fd, 'changed', 5)
      pause()
    }),
}

describe.skipIf(!need.ok).each(MODES)(titled('writes %s the cache', need), (_, writeback) => {
  test('mtime stays the same to the nanosecond after the kernel has forgotten the file, and in the upper', async () => {
    await withUpper(writeback, async (target, upper, scene) => {
      for (const [name, change] of Object.entries(CHANGES)) change(join(target, name))
      const open = openSync(join(target, 'open'), O_CREAT | O_RDWR)
      fill(open, 8 << 20)
      const seen = (root: string) =>
        Object.fromEntries([...Object.keys(CHANGES), 'open'].map((name) => [name, mtimeOf(join(root, name))]))
      const before = seen(target)
      expect(before['given a time between two stores']).not.toBe(
        before['given a time after much was written'],
      )
      expect(before['given a time after much was written']).toBe(1_000_000_001_500_000_000n)
      await run('sync', [])
      // The kernel may send the time of a file that is open before the last of its data.
      await until(() => mtimeOf(join(upper, 'open')) === before['open'], 'the time of the open file')
      expect(seen(upper)).toEqual(before)
      closeSync(open)
      await dropCaches()
      expect(seen(target)).toEqual(before)
      await umount(scene)
      expect(seen(upper)).toEqual(before)
      await mount(scene, '--upper', upper)
      expect(seen(target)).toEqual(before)
    })
  })

  test('lines appended by two processes are all whole', async () => {
    await withUpper(writeback, async (target, upper) => {
      const script = 'for i in $(seq 300); do echo "$1 $i" >> "$2"; done'
      const append = (name: string) => run('sh', ['-c', script, 'sh', name, join(target, 'log')])
      await Promise.all([append('one'), append('other')])
      const text = readFileSync(join(target, 'log'), 'utf8')
      const expected = ['one', 'other'].flatMap((name) =>
        Array.from({ length: 300 }, (_, i) => `${name} ${i + 1}`),
      )
      expect(text.trimEnd().split('\n').sort()).toEqual(expected.sort())
      expect(readFileSync(join(upper, 'log'), 'utf8')).toBe(text)
    })
  })

  test('a user who may write but not read a file can change a part of a page', async () => {
    await withUpper(writeback, async (target, upper) => {
      const change = (name: string) =>
        asNobody(
          'dd',
          'status=none',
          'conv=notrunc,nocreat',
          'bs=1',
          'seek=4090',
          'count=10',
          'if=/dev/zero',
          `of=${name}`,
        )
      const expected = Buffer.alloc(20_000, 's').fill(0, 4090, 4100)
      await change(join(target, 'secret'))
      await dropCaches()
      expect(readFileSync(join(target, 'secret')).equals(expected)).toBe(true)
      await change(join(target, 'secret'))
      expect(readFileSync(join(upper, 'secret')).equals(expected)).toBe(true)
      expect(statSync(join(upper, 'secret'))).toMatchObject({ mode: 0o100200, uid: NOBODY, gid: NOBODY })
    })
  })

  test('setuid is removed by the first write of another user', async () => {
    await withUpper(writeback, async (target, upper) => {
      const file = join(target, 'program')
      writeFileSync(file, 'x'.repeat(5000))
      chmodSync(file, 0o6777)
      await asNobody('dd', 'status=none', 'conv=notrunc', 'bs=3', 'count=1', 'if=/dev/zero', `of=${file}`)
      expect(statSync(file).mode & 0o7777).toBe(0o777)
      expect(statSync(join(upper, 'program')).mode & 0o7777).toBe(0o777)
      expect(readFileSync(file, 'latin1')).toBe(`\0\0\0${'x'.repeat(4997)}`)
      chmodSync(file, 0o4755)
      expect((await run('chown', [`:0`, file])).status).toBe(0)
      expect(statSync(file).mode & 0o7777).toBe(0o755)
    })
  })

  test('unwritten data is kept when a file is truncated, renamed, replaced, removed, or synced by another descriptor', async () => {
    await withUpper(writeback, async (target, upper) => {
      const at = (name: string) => join(target, name)
      withFd(at('cut'), O_CREAT | O_RDWR, (fd) => {
        fill(fd, 100_000)
        ftruncateSync(fd, 5)
        ftruncateSync(fd, 9000)
        fsyncSync(fd)
        expect(
          readFileSync(join(upper, 'cut')).equals(Buffer.concat([Buffer.from('datad'), Buffer.alloc(8995)])),
        ).toBe(true)
      })
      writeFileSync(at('replaced'), 'old')
      withFd(at('new'), O_CREAT | O_RDWR, (fd) => {
        fill(fd, 100_000)
        renameSync(at('new'), at('replaced'))
        withFd(at('replaced'), O_RDONLY, (other) => fsyncSync(other))
        expect(readFileSync(join(upper, 'replaced'))).toHaveLength(100_000)
      })
      const fd = openSync(at('removed'), O_CREAT | O_RDWR)
      fill(fd, 300_000)
      unlinkSync(at('removed'))
      await dropCaches()
      writeSync(fd, 'more', 299_998)
      const content = Buffer.alloc(300_010)
      expect(readSync(fd, content, 0, content.length, 0)).toBe(300_002)
      expect(content.toString('latin1', 299_996, 300_002)).toBe('damore')
      expect(fstatSync(fd)).toMatchObject({ size: 300_002, nlink: 0 })
      fsyncSync(fd)
      closeSync(fd)
      expect(existsSync(join(upper, 'removed'))).toBe(false)
    })
  })

  test('a write by the kernel without a calling process copies a file up and keeps its owner', async () => {
    await withUpper(writeback, async (target, upper) => {
      const writer = spawn('setpriv', [...AS_NOBODY, 'sh', '-c', STAYS_OPEN, 'sh', join(target, 'low2')])
      try {
        await once(writer.stdout, 'data')
        await run('sync', [])
        expect(readFileSync(join(upper, 'low2'), 'latin1')).toBe(`changed${'l'.repeat(19_993)}`)
        expect(statSync(join(upper, 'low2'))).toMatchObject({ uid: NOBODY, gid: NOBODY })
      } finally {
        const closed = once(writer, 'close')
        writer.stdin.end()
        await closed
      }
    })
  })

  test('a file with holes reads correctly, also while it is written', async () => {
    await withUpper(writeback, async (target) => {
      const file = join(target, 'sparse')
      withFd(file, O_CREAT | O_RDWR, (fd) => {
        writeSync(fd, 'island', 1 << 20)
        // Not synced: what the server knows is that there is nothing.
        expect(seekFd(fd, 0, 'data')).toBe(writeback ? 0 : 1 << 20)
        expect(seekFd(fd, 1 << 20, 'data')).toBe(1 << 20)
        expect(seekFd(fd, 1 << 20, 'hole')).toBe((1 << 20) + 6)
        expect(seekFd(fd, (1 << 20) + 6, 'data')).toBeUndefined()
        copyFileSync(file, join(target, 'copy'))
      })
      await run('cmp', [file, join(target, 'copy')])
      await run('cp', ['--sparse=auto', file, join(target, 'copy2')])
      expect(readFileSync(join(target, 'copy2')).equals(readFileSync(file))).toBe(true)
    })
  })
})

/** Calls with a file system of 6 MB, and an upper directory in it that is mounted. */
async function withSmallDisk(
  kind: 'tmpfs' | 'ext4',
  options: string,
  use: (target: string, upper: string, scene: Scene) => Promise<void>,
): Promise<void> {
  await withTempDir(async (temp) => {
    await inScene(async (scene) => {
      const disk = join(scene.folder, 'disk')
      mkdirSync(disk)
      if (kind === 'tmpfs') await run('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'none', disk])
      else {
        const file = join(temp, 'disk.img')
        await run('truncate', ['-s', '8M', file])
        await run('mkfs.ext4', ['-q', file])
        await run('mount', ['-o', 'loop', file, disk])
      }
      const upper = join(disk, 'upper')
      await mount(scene, '--upper', upper, '-o', options)
      await use(scene.target, upper, scene)
      await umount(scene)
    })
  })
}

/** @returns the errno of the call that failed first */
function firstError(...calls: readonly (readonly [string, () => void])[]): string {
  let first = 'none'
  for (const [name, call] of calls) {
    try {
      call()
    } catch (error) {
      if (first === 'none') first = `${name} ${(error as NodeJS.ErrnoException).code}`
    }
  }
  return first
}

const TOO_MUCH = 10 << 20

describe.skipIf(!need.ok).each([
  ['tmpfs', 'writeback=1'],
  ['ext4', 'writeback=1'],
  ['tmpfs', 'writeback=0'],
] as const)(titled('a full disk of %s, %s', need), (kind, options) => {
  const isDelayed = options === 'writeback=1'

  test('a full disk is reported in time, written data stays whole, and writes work again after room is made', async () => {
    await withSmallDisk(kind, options, async (target, upper, scene) => {
      const at = (name: string) => join(target, name)
      const small = 'small'.repeat(1000)
      writeFileSync(at('small'), small)

      const one = openSync(at('one'), O_CREAT | O_RDWR)
      const write = (fd: number) => () => {
        const piece = Buffer.alloc(1 << 16, 'a')
        for (let done = 0; done < TOO_MUCH; ) done += writeSync(fd, piece, 0, piece.length, done)
      }
      expect(firstError(['write', write(one)], ['close', () => closeSync(one)])).toBe(
        isDelayed ? 'close ENOSPC' : 'write ENOSPC',
      )
      const two = openSync(at('two'), O_CREAT | O_RDWR)
      expect(firstError(['write', write(two)], ['fsync', () => fsyncSync(two)])).toBe(
        isDelayed ? 'fsync ENOSPC' : 'write ENOSPC',
      )
      closeSync(two)
      // Neither descriptor is told twice.
      withFd(at('two'), O_RDWR, (fd) => fsyncSync(fd))
      // Copy-up of 4 MiB.
      const big = openSync(at('big'), O_RDWR)
      const append = () => writeSync(big, 'more', 4 << 20)
      expect(firstError(['write', append], ['close', () => closeSync(big)])).toBe(
        isDelayed ? 'close ENOSPC' : 'write ENOSPC',
      )
      expect(existsSync(join(upper, 'big'))).toBe(false)
      expect(readFileSync(at('small'), 'utf8')).toBe(small)
      // The kernel believes in the size that was meant until it asks again.
      await dropCaches()
      expect(statSync(at('big')).size).toBe(4 << 20)
      expect(statSync(at('one')).size).toBe(statSync(join(upper, 'one')).size)
      const rest = readFileSync(at('one'))
      expect(rest.equals(Buffer.alloc(rest.length, 'a'))).toBe(true)
      expect(rest.length).toBeGreaterThan(1 << 20)

      for (const name of ['one', 'two']) rmSync(at(name))
      // The kernel may send a few requests before it forgets the files (fs/fuse/dev.c:fuse_dev_do_read, forget_batch).
      await until(() => statfsSync(upper).bavail * statfsSync(upper).bsize > 5.2 * 2 ** 20, 'room')
      const whole = Buffer.alloc(1 << 20, 'whole')
      withFd(at('three'), O_CREAT | O_RDWR, (fd) => {
        writeSync(fd, whole)
        fsyncSync(fd)
      })
      withFd(at('big'), O_WRONLY, (fd) => writeSync(fd, 'more', 4 << 20))
      expect(statSync(join(upper, 'big')).size).toBe((4 << 20) + 4)
      await umount(scene)
      await mount(scene, '--upper', upper)
      expect(readFileSync(at('three')).equals(whole)).toBe(true)
      expect(readFileSync(at('small'), 'utf8')).toBe(small)
    })
  })
})
