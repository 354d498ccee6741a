import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  atomfsFuse,
  daemonPid,
  isMounted,
  makeTempDir,
  mksquashfs,
  mountsBelow,
  type RunResult,
  removeTempDir,
  run,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, inScene, type Scene, SILENT } from '../library/scenes/life.ts'

/** The life of a mount as users see it: by the command line only, with a small image. */

let images: string
let image: string

beforeAll(async () => {
  images = makeTempDir()
  // Plain users of the tests read the image too.
  chmodSync(images, 0o755)
  const tree = join(images, 'tree')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/motd'), 'hello\n')
  image = await mksquashfs(tree, join(images, 'image.sqfs'))
})

afterAll(() => removeTempDir(images))

interface MountScene extends Scene {
  readonly mount: (...args: string[]) => Promise<RunResult>
}

/** A scene with the image of this file at hand. */
function played(play: (scene: MountScene) => Promise<void>): Promise<void> {
  return inScene((scene) =>
    play({ ...scene, mount: (...args) => scene.atomfs('mount', ...args, image, scene.target) }),
  )
}

/** One line of error, and nothing of the mount left. */
function expectFailure(result: RunResult, message: RegExp, scene: Scene): void {
  expect(result.stderr).toMatch(/^Error: [^\n]+\n$/)
  expect(result.stderr).toMatch(message)
  expect({ status: result.status, stdout: result.stdout }).toEqual({ status: 1, stdout: '' })
  expect(isMounted(scene.target)).toBe(false)
  expect(entries(scene.runDir)).toEqual([])
}

describe('mount', () => {
  test('mount prints nothing and serves when it returns, and umount removes the mount and its runtime entry', async () => {
    await played(async ({ target, runDir, mount, atomfs }) => {
      expect(await mount('-o', 'server=own')).toMatchObject(SILENT)
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      const pid = daemonPid(runDir)
      expect(isGone(pid)).toBe(false)
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      expect(isMounted(target)).toBe(false)
      expect(isGone(pid)).toBe(true)
      expect(entries(runDir)).toEqual([])
    })
  })

  test('mount writes the config.json of atomfs to its usual place', async () => {
    await played(async ({ target, runDir, mount }) => {
      await mount('--allow-missing-verity')
      const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/mnt'))![0]
      const folder = join(runDir, 'meta', namespace, target.slice(1).replaceAll('/', '-'))
      expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))).toEqual({
        OCIDir: '',
        Tag: image,
        Target: target,
        AddWriteableOverlay: false,
        WriteableOverlayPath: '',
        AllowMissingVerityData: true,
        MetadataDir: '',
      })
    })
  })

  test('mount leaves a daemon with its own session, no terminal, and no descriptors or folder of the caller', async () => {
    await played(async ({ folder, runDir, target }) => {
      const secret = join(folder, 'secret')
      writeFileSync(secret, '')
      await run(
        // dash knows descriptors of one digit only.
        'bash',
        ['-c', `exec "$0" mount "$1" "$2" 7<"$3" 25<"$3"`, ATOMFS_FUSE, image, target, secret],
        {
          env: { ATOMFS_TEST_RUN_DIR: runDir },
        },
      )
      const pid = daemonPid(runDir)
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const [, , , session, terminal] = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number)
      expect({ session, terminal }).toEqual({ session: pid, terminal: 0 })
      expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(`/proc/${pid}/fd`)
      const open = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
      for (const fd of [0, 1, 2]) expect(readlinkSync(`/proc/${pid}/fd/${fd}`)).toBe('/dev/null')
      expect(open).not.toContain(secret)
    })
  })

  test('mount sets type, flags and name from the options', async () => {
    await played(async ({ target, mount, atomfs }) => {
      const line = () =>
        readFileSync('/proc/self/mountinfo', 'utf8')
          .split('\n')
          .find((one) => one.includes(target))
      await mount()
      expect(line()).toContain(` - fuse.atomfs-fuse ${image} ro,`)
      expect(line()).toMatch(/ ro,nosuid,nodev,relatime /)
      await atomfs('umount', target)
      await mount('-o', 'noexec,fsname=a\\,b', '-o', 'dev,suid,max_read=65536,x-foo')
      expect(line()).toContain(' ro,noexec,relatime ')
      expect(line()).toMatch(/ - fuse\.atomfs-fuse a,b ro,.*default_permissions,.*max_read=65536/)
    })
  })

  test('mount accepts options before, between and after the names', async () => {
    await played(async ({ target, atomfs }) => {
      for (const args of [
        ['--debug', 'mount', '-o', 'ro', image, target],
        ['mount', image, '-o', 'ro', target, '--debug'],
        ['mount', image, target, '-oro,noatime'],
      ]) {
        expect(await atomfs(...args)).toMatchObject(SILENT)
        expect(await atomfs('umount', target)).toMatchObject(SILENT)
      }
    })
  })

  test('mount resolves relative names and links, and accepts paths longer than a file name', async () => {
    await played(async ({ folder, runDir }) => {
      const long = join(folder, 'x'.repeat(200), 'y'.repeat(200))
      mkdirSync(long, { recursive: true })
      symlinkSync(long, join(folder, 'link'))
      symlinkSync(image, join(folder, 'image'))
      const options = { runDir, cwd: folder }
      expect(await atomfsFuse(['mount', 'image', 'link'], options)).toMatchObject(SILENT)
      expect(isMounted(long)).toBe(true)
      expect(entries(runDir)).toHaveLength(1)
      expect(await atomfsFuse(['umount', './link'], options)).toMatchObject(SILENT)
      expect(entries(runDir)).toEqual([])
    })
  })

  test('mount accepts the image as a descriptor of the caller', async () => {
    await played(async ({ target, runDir }) => {
      for (const name of ['/proc/self/fd/9', '/dev/fd/9']) {
        await run('sh', ['-c', 'exec "$0" mount "$1" "$2" 9<"$3"', ATOMFS_FUSE, name, target, image], {
          env: { ATOMFS_TEST_RUN_DIR: runDir },
        })
        expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
        await atomfsFuse(['umount', target], { runDir })
      }
    })
  })

  test('mount reports success or failure to a FIFO', async () => {
    await played(async ({ folder, target, mount, atomfs }) => {
      const fifo = join(folder, 'fifo')
      await run('mkfifo', [fifo])
      const good = run('cat', [fifo], { timeout: 20_000 })
      expect(await mount('-o', `notify_pipe=${fifo}`)).toMatchObject(SILENT)
      expect((await good).stdout).toBe('s')
      await atomfs('umount', target)
      const bad = run('cat', [fifo], { timeout: 20_000 })
      const broken = join(folder, 'broken')
      writeFileSync(broken, 'x'.repeat(8192))
      await atomfs('mount', '-o', `notify_pipe=${fifo}`, broken, target)
      expect((await bad).stdout).toBe('f')
    })
  })
})

describe('failed mounts that leave nothing behind', () => {
  test('mount refuses a target that cannot be mounted on, in one line', async () => {
    await played(async (scene) => {
      const { folder, atomfs } = scene
      writeFileSync(join(folder, 'file'), '')
      expectFailure(await atomfs('mount', image, join(folder, 'none')), /none does not exist/, scene)
      expectFailure(await atomfs('mount', image, join(folder, 'none/none')), /none does not exist/, scene)
      expectFailure(await atomfs('mount', image, join(folder, 'file')), /file is not a directory/, scene)
      expectFailure(await atomfs('mount', image, images), /contains the image itself/, scene)
      expectFailure(await atomfs('mount', image, '/'), /contains the image itself/, scene)
    })
  })

  test('mount refuses a source that is no image, in one line', async () => {
    await played(async (scene) => {
      const { folder, target, atomfs } = scene
      const broken = join(folder, 'broken')
      writeFileSync(broken, 'not a squashfs image'.repeat(1000))
      expectFailure(await atomfs('mount', broken, target), /broken/, scene)
      expectFailure(await atomfs('mount', join(folder, 'none'), target), /no such file/, scene)
      expectFailure(await atomfs('mount', `${folder}:tag`, target), /oci-layout/, scene)
      expectFailure(await atomfs('mount', '/proc/self/fd/77', target), /descriptor/, scene)
    })
  })

  test('mount refuses a wrong command line, in one line', async () => {
    await played(async (scene) => {
      const { atomfs, mount, folder } = scene
      expectFailure(await atomfs(), /--help/, scene)
      expectFailure(await atomfs('mont'), /unknown command 'mont'.*mount/, scene)
      expectFailure(await atomfs('mount', image), /missing required argument 'target'/, scene)
      expectFailure(await mount('--foregroud'), /--foreground/, scene)
      expectFailure(await mount('-o', 'flubber'), /unknown option 'flubber'/, scene)
      expectFailure(await mount('--persist', folder, '--upper', folder), /give one of them/, scene)
    })
  })

  test('mount fails in one line if it cannot write runtime data', async () => {
    await played(async (scene) => {
      const file = join(scene.folder, 'file')
      writeFileSync(file, '')
      const args = ['mount', image, scene.target]
      const result = await atomfsFuse(args, { runDir: join(file, 'run'), allowFailure: true })
      expectFailure(result, /no folder for runtime data.*--metadir/, scene)
    })
  })
})

describe('the end of a mount', () => {
  test.each([
    ['umount(8)', 'umount', []],
    ['fusermount3', 'fusermount3', ['-u']],
    ['a lazy umount(8)', 'umount', ['-l']],
  ])('the end of a mount by %s ends the daemon and its entry', async (_, program, args) => {
    await played(async ({ target, runDir, mount }) => {
      await mount()
      const pid = daemonPid(runDir)
      await run(program, [...args, target])
      await until(() => isGone(pid), 'the end of the daemon')
      expect(entries(runDir)).toEqual([])
    })
  })

  test('SIGTERM waits until open files are closed, and SIGHUP and SIGINT have no effect', async () => {
    await played(async ({ target, runDir, mount }) => {
      await mount()
      const pid = daemonPid(runDir)
      process.kill(pid, 'SIGHUP')
      process.kill(pid, 'SIGINT')
      const user = spawn('sh', ['-c', 'exec 3<etc/motd; echo open; read line; cat <&3'], { cwd: target })
      try {
        await once(user.stdout, 'data')
        process.kill(pid, 'SIGTERM')
        await until(() => !isMounted(target), 'the detach')
        await until(() => entries(runDir).length === 0, 'the end of the entry')
        expect(isGone(pid)).toBe(false)
        user.stdin.end('\n')
        const [text] = await once(user.stdout, 'data')
        expect(String(text)).toBe('hello\n')
        await until(() => isGone(pid), 'the end of the daemon')
      } finally {
        user.kill('SIGKILL')
      }
    })
  })

  test('umount is refused while files are open, unless it is lazy', async () => {
    await played(async ({ target, runDir, mount, atomfs }) => {
      await mount('-o', 'server=own')
      const pid = daemonPid(runDir)
      const user = spawn('sh', ['-c', 'echo open; read line'], { cwd: target })
      try {
        await once(user.stdout, 'data')
        const busy = await atomfs('umount', target)
        expect(busy.status).toBe(1)
        expect(busy.stderr).toMatch(/^Error: [^\n]* is busy: [^\n]*fuser[^\n]*--lazy[^\n]*\n$/)
        expect(isMounted(target)).toBe(true)
        expect(await atomfs('umount', '--lazy', target)).toMatchObject(SILENT)
        expect(isMounted(target)).toBe(false)
        expect(entries(runDir)).toEqual([])
        // The place is free while the old daemon still serves its last user.
        expect(isGone(pid)).toBe(false)
        expect(await mount()).toMatchObject(SILENT)
        user.stdin.end('\n')
        await until(() => isGone(pid), 'the end of the first daemon')
        expect(entries(runDir)).toHaveLength(1)
      } finally {
        user.kill('SIGKILL')
      }
    })
  })

  test('umount of another file system is refused', async () => {
    await played(async (scene) => {
      expectFailure(await scene.atomfs('umount', scene.target), /is not mounted/, scene)
      await run('mount', ['-t', 'tmpfs', 'none', scene.target])
      const result = await scene.atomfs('umount', scene.target)
      expect(result.stderr).toMatch(/^Error: .*not a mount of atomfs-fuse but of type tmpfs/)
      expect(isMounted(scene.target)).toBe(true)
    })
  })

  test('the next mount and umount clean up after a crash', async () => {
    await played(async ({ target, runDir, mount, atomfs }) => {
      await mount()
      for (const heal of [() => mount(), () => atomfs('umount', target)]) {
        const pid = daemonPid(runDir)
        process.kill(pid, 'SIGKILL')
        await until(() => isGone(pid), 'the end of the daemon')
        expect((await run('stat', ['-f', target], { allowFailure: true })).stderr).toMatch(
          /not connected|connection abort/,
        )
        expect(await heal()).toMatchObject(SILENT)
      }
      expect(isMounted(target)).toBe(false)
      expect(entries(runDir)).toEqual([])
    })
  })

  test('a second mount on the same target is refused, and the first one still works', async () => {
    await played(async ({ target, mount }) => {
      await mount()
      const second = await mount()
      expect(second.status).toBe(1)
      expect(second.stderr).toMatch(/^Error: .* is mounted already .*umount/)
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
    })
  })

  test('of two simultaneous mounts on one target exactly one is made', async () => {
    await played(async ({ target, runDir, mount }) => {
      const results = await Promise.all([mount(), mount(), mount()])
      expect(results.map((result) => result.status).sort()).toEqual([0, 1, 1])
      expect(mountsBelow(target)).toEqual([target])
      expect(entries(runDir)).toHaveLength(1)
    })
  })
})

describe('--foreground', () => {
  const start = (target: string, runDir: string): ChildProcess =>
    spawn(ATOMFS_FUSE, ['mount', '-f', image, target], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir },
    })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'umount'] as const)(
    'a mount with --foreground serves and prints nothing until %s',
    async (end) => {
      await played(async ({ target, runDir }) => {
        const child = start(target, runDir)
        let output = ''
        child.stdout?.on('data', (text) => (output += text))
        child.stderr?.on('data', (text) => (output += text))
        try {
          await until(() => isMounted(target), 'the mount')
          expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
          const closed = once(child, 'close')
          if (end === 'umount') await run('umount', [target])
          else child.kill(end)
          expect(await closed).toEqual([0, null])
          expect(output).toBe('')
          expect(isMounted(target)).toBe(false)
          expect(entries(runDir)).toEqual([])
        } finally {
          child.kill('SIGKILL')
        }
      })
    },
  )

  test('a mount with --foreground fails like one in the background', async () => {
    await played(async (scene) => {
      expectFailure(await scene.mount('-f', '-o', 'subdir=no/such/folder'), /no\/such\/folder|subdir/, scene)
    })
  })
})

describe('mounts without root', () => {
  test('a plain user mounts and unmounts through fusermount3', async () => {
    await played(async ({ folder, target, runDir }) => {
      // fusermount3 wants a user that has a name.
      const uid = 65534
      chmodSync(folder, 0o755)
      mkdirSync(runDir)
      for (const path of [target, runDir]) chownSync(path, uid, uid)
      // The device may be closed to users on this machine: a mount namespace gets one that is not.
      const asUser = `
        set -e
        mknod -m 0666 "$4" c 10 229
        mount --bind "$4" /dev/fuse
        exec setpriv --reuid=${uid} --regid=${uid} --clear-groups sh -ec "$5" "$0" "$1" "$2" "$3"`
      const script = `
        "$0" mount -o 'fsname=a\\,b' "$1" "$2"
        cat "$2/etc/motd"
        grep -F "$2" /proc/self/mountinfo
        "$0" umount "$2"
        "$0" mount "$1" "$2"
        pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/' "$3"/meta/*/*/daemon.json)
        kill "$pid"
        running() { grep -q '^State:.[^Z]' "/proc/$pid/status" 2>/dev/null; }
        for i in $(seq 500); do running || break; sleep 0.02; done
        ! running
        ! grep -F "$2" /proc/self/mountinfo`
      const result = await run(
        'unshare',
        ['-m', 'sh', '-c', asUser, ATOMFS_FUSE, image, target, runDir, join(folder, 'fuse'), script],
        { env: { ATOMFS_TEST_RUN_DIR: runDir, HOME: folder } },
      )
      expect(result.stderr).toBe('')
      expect(result.stdout).toMatch(/^hello\n/)
      expect(result.stdout).toMatch(
        new RegExp(`${target} ro,nosuid,nodev,.* - fuse\\.atomfs-fuse a,b .*user_id=${uid},`),
      )
      expect(entries(runDir)).toEqual([])
    })
  })

  test('root of a user namespace mounts with mount(2)', async () => {
    await played(async ({ target, runDir }) => {
      const script =
        '"$0" mount "$1" "$2" && cat "$2/etc/motd" && grep -F "$2" /proc/self/mountinfo | grep -c fuse.atomfs-fuse && "$0" umount "$2"'
      const result = await run('unshare', ['-rm', 'sh', '-c', script, ATOMFS_FUSE, image, target], {
        env: { ATOMFS_TEST_RUN_DIR: runDir, FUSERMOUNT_PROG: '/nonexistent' },
      })
      expect(result.stdout).toBe('hello\n1\n')
      expect(entries(runDir)).toEqual([])
    })
  })

  test('a descriptor that the caller has mounted is served', async () => {
    await played(async ({ target, runDir }) => {
      const fuse = openSync('/dev/fuse', 'r+')
      await run('true', [])
      const mounter = spawn(
        'mount',
        [
          '-i',
          '-t',
          'fuse.test',
          '-o',
          'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other',
          'given',
          target,
        ],
        { stdio: ['ignore', 'ignore', 'ignore', fuse] },
      )
      expect(await once(mounter, 'close')).toEqual([0, null])
      const starter = spawn(ATOMFS_FUSE, ['mount', image, '/dev/fd/3'], {
        stdio: ['ignore', 'ignore', 'inherit', fuse],
        env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir },
      })
      expect(await once(starter, 'close')).toEqual([0, null])
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      const pid = daemonPid(runDir)
      await run('umount', [target])
      await until(() => isGone(pid), 'the end of the daemon')
      expect(entries(runDir)).toEqual([])
    })
  })
})

describe('doctor', () => {
  test('doctor finds a way to mount here, as text and JSON', async () => {
    const text = await atomfsFuse(['doctor'])
    expect(text.stdout).toMatch(/^way: mount\(2\) +ok +a mount was made and undone$/m)
    expect(text.stdout).toMatch(/^way: fusermount3 +ok /m)
    expect(text.stdout).toMatch(/^zstd +(system|node|portable) /m)
    const report = JSON.parse((await atomfsFuse(['doctor', '--json'])).stdout)
    expect(report.canMount).toBe(true)
    expect(report.checks.map((check: { name: string }) => check.name)).toContain('/dev/fuse')
  })

  test('doctor reports that mounts are impossible without a device', async () => {
    const script = 'mount -t tmpfs none /dev && exec "$0" doctor'
    const result = await run('unshare', ['-rm', 'sh', '-c', script, ATOMFS_FUSE], { allowFailure: true })
    expect(result.status).toBe(1)
    expect(result.stdout).toMatch(/^\/dev\/fuse +fail +\/dev\/fuse does not exist/m)
    expect(result.stdout).toContain('No way to mount works here.')
  })
})

describe('inspect', () => {
  test('inspect shows the layers of an image file', async () => {
    const report = JSON.parse((await atomfsFuse(['inspect', '--json', image])).stdout)
    expect(report.layers).toHaveLength(1)
    expect(report.layers[0]).toMatchObject({ label: image, inodes: 3, verity: 'no' })
    expect((await atomfsFuse(['inspect', image])).stdout).toContain(image)
  })

  test('inspect fails in one line', async () => {
    const result = await atomfsFuse(['inspect', '/nonexistent/image'], { allowFailure: true })
    expect(result.status).toBe(1)
    expect(result.stderr).toMatch(/^Error: [^\n]+\n$/)
  })
})
