import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  daemonPid,
  dropCaches,
  isMounted,
  makeTempDir,
  mksquashfs,
  needs,
  type RunResult,
  removeTempDir,
  run,
  titled,
  unmount,
} from '../library/index.ts'
import { makeNode, readXattrs, setXattr } from '../library/programs/native.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, inScene, readLog, type Scene, SILENT } from '../library/scenes/life.ts'

/** Writable mounts as users see them: where changes go, how long they stay, and what is refused. */

const need = needs('root', 'fuse', 'mksquashfs')

let folder: string
let image: string

beforeAll(async () => {
  folder = makeTempDir()
  chmodSync(folder, 0o755)
  const lower = join(folder, 'lower')
  mkdirSync(join(lower, 'etc'), { recursive: true })
  mkdirSync(join(lower, 'sub'))
  writeFileSync(join(lower, 'etc/motd'), 'hello\n')
  writeFileSync(join(lower, 'sub/one'), 'one')
  linkSync(join(lower, 'sub/one'), join(lower, 'sub/two'))
  writeFileSync(join(lower, 'big'), Buffer.alloc(4 << 20, 'x'))
  chmodSync(lower, 0o711)
  utimesSync(lower, 1_500_000_000, 1_500_000_000)
  chownSync(lower, 7, 8)
  image = await mksquashfs(lower, join(folder, 'lower.sqfs'))
})

afterAll(() => removeTempDir(folder))

const mountOn =
  ({ atomfs, target }: Scene) =>
  (...args: string[]): Promise<RunResult> =>
    atomfs('mount', ...args, image, target)

async function succeed(result: Promise<RunResult>): Promise<void> {
  expect(await result).toMatchObject(SILENT)
}

/** One line of error, and nothing of the mount left. */
async function fail(attempt: Promise<RunResult>, message: RegExp, scene: Scene): Promise<void> {
  const result = await attempt
  expect(result.stderr).toMatch(message)
  expect(result.stderr).toMatch(/^Error: [^\n]+\n$/)
  expect({ status: result.status, stdout: result.stdout }).toEqual({ status: 1, stdout: '' })
  expect(isMounted(scene.target)).toBe(false)
  expect(entries(scene.runDir)).toEqual([])
}

function configOf(runDir: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(entries(runDir)[0]!, 'config.json'), 'utf8'))
}

describe.skipIf(!need.ok)(titled('the layouts', need), () => {
  test('--persist DIR makes DIR/persist and DIR/work if missing, and uses them again', async () => {
    await inScene(async (scene) => {
      const { target, runDir, atomfs } = scene
      const place = join(scene.folder, 'new/place')
      await succeed(mountOn(scene)('--persist', place))
      expect(configOf(runDir)).toMatchObject({ AddWriteableOverlay: true, WriteableOverlayPath: place })
      writeFileSync(join(target, 'etc/hostname'), 'box\n')
      rmSync(join(target, 'sub/one'))
      await succeed(atomfs('umount', target))
      expect(readdirSync(place).sort()).toEqual(['persist', 'work'])
      expect(readFileSync(join(place, 'persist/etc/hostname'), 'utf8')).toBe('box\n')
      expect(existsSync(join(place, 'persist/etc/motd'))).toBe(false)
      expect(entries(runDir)).toEqual([])
      await succeed(mountOn(scene)('--persist', place))
      expect(readFileSync(join(target, 'etc/hostname'), 'utf8')).toBe('box\n')
      expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('hello\n')
      expect(readdirSync(join(target, 'sub'))).toEqual(['two'])
      await succeed(atomfs('umount', target))
    })
  })

  test('--upper DIR puts changes into DIR, and the work directory beside the folder it resolves to', async () => {
    await inScene(async (scene) => {
      const { target, runDir, atomfs } = scene
      mkdirSync(join(scene.folder, 'real'))
      symlinkSync('real', join(scene.folder, 'link'))
      await succeed(mountOn(scene)('--upper', `${join(scene.folder, 'link')}/`))
      expect(configOf(runDir)).toMatchObject({ AddWriteableOverlay: true })
      const { st_ino } = { st_ino: statSync(join(target, 'etc/motd')).ino }
      writeFileSync(join(target, 'etc/motd'), 'bye\n')
      expect(statSync(join(target, 'etc/motd')).ino).toBe(st_ino)
      await succeed(atomfs('umount', target))
      expect(readFileSync(join(scene.folder, 'real/etc/motd'), 'utf8')).toBe('bye\n')
      expect(readdirSync(scene.folder).sort()).toEqual(['link', 'mnt', 'real', 'real.atomfs-work', 'run'])
    })
  })

  test.each(['--writeable', '--writable'])(
    '%s puts changes into the runtime folder, and they are gone with the mount',
    async (word) => {
      await inScene(async (scene) => {
        const { target, runDir, atomfs } = scene
        await succeed(mountOn(scene)(word))
        expect(configOf(runDir)).toMatchObject({ AddWriteableOverlay: true, WriteableOverlayPath: '' })
        // Deeper than a path may be long, and with names that are no text.
        const deep = `cd "$1"; for i in $(seq 60); do mkdir ${'d'.repeat(200)}; cd ${'d'.repeat(200)}; done; touch "$(printf 'a\\377')"`
        await run('sh', ['-c', deep, 'sh', target])
        mkdirSync(join(target, 'sticky'))
        chmodSync(join(target, 'sticky'), 0o1700)
        const changes = join(entries(runDir)[0]!, 'changes')
        expect(readdirSync(changes).sort()).toEqual(['persist', 'work'])
        expect(statSync(changes).mode & 0o077).toBe(0)
        await succeed(atomfs('umount', target))
        expect(entries(runDir)).toEqual([])
        // A shared server goes on for a while.
        const lasting = ['meta', 'changes', 'servers']
        expect(readdirSync(runDir).filter((name) => !lasting.includes(name))).toEqual([])
        expect(leftAside(runDir)).toEqual([])
        await succeed(mountOn(scene)(word))
        expect(readdirSync(target).sort()).toEqual(['big', 'etc', 'sub'])
      })
    },
  )

  test('a new upper directory has the root attributes of the image, and a given one keeps its own', async () => {
    await inScene(async (scene) => {
      const { target, atomfs } = scene
      await succeed(mountOn(scene)('--persist', join(scene.folder, 'p')))
      expect(statSync(target)).toMatchObject({ mode: 0o40711, uid: 7, gid: 8, mtimeMs: 1_500_000_000_000 })
      await succeed(atomfs('umount', target))
      const own = join(scene.folder, 'own')
      mkdirSync(own)
      chmodSync(own, 0o750)
      await succeed(mountOn(scene)('--upper', own))
      expect(statSync(target)).toMatchObject({ mode: 0o40750, uid: 0, gid: 0 })
    })
  })
})

/** Temporary changes that wait for their removal. */
function leftAside(runDir: string): string[] {
  const aside = join(runDir, 'changes')
  return existsSync(aside) ? readdirSync(aside) : []
}

describe.skipIf(!need.ok)(titled('refused writable mounts', need), () => {
  test('a second mount of an upper directory in any layout is refused, and the error names the first', async () => {
    await inScene(async (scene) => {
      const { target, atomfs, folder: own } = scene
      const place = join(own, 'p')
      const other = join(own, 'other')
      mkdirSync(other)
      await succeed(mountOn(scene)('--persist', place))
      const pid = daemonPid(scene.runDir)
      for (const args of [
        ['--persist', place],
        ['--upper', join(place, 'persist')],
        ['-o', 'ro', '--upper', join(place, 'persist')],
      ]) {
        const result = await atomfs('mount', ...args, image, other)
        expect(result.stderr).toBe(
          `Error: upper directory ${place}/persist is in use by the mount on ${target} (process ${pid}): unmount that first\n`,
        )
        expect(result.status).toBe(1)
      }
      expect(isMounted(other)).toBe(false)
      // What the refused one would have made beside it is gone again.
      expect(readdirSync(place).sort()).toEqual(['persist', 'work'])
      expect(entries(scene.runDir)).toHaveLength(1)
      // umount(8) does not wait for the daemon, which lets go a little later.
      await run('umount', [target])
      await succeed(atomfs('mount', '--persist', place, image, other))
    })
  })

  test('a target that contains, is, or lies in the upper or work directory is refused', async () => {
    await inScene(async (scene) => {
      const { target, atomfs, folder: own } = scene
      mkdirSync(join(own, 'u/in/side'), { recursive: true })
      const cases: readonly (readonly [string, string])[] = [
        [join(target, 'upper'), target],
        [target, target],
        [join(own, 'u'), join(own, 'u/in/side')],
      ]
      for (const [upper, on] of cases) {
        await fail(atomfs('mount', '--upper', upper, image, on), /choose another one/, scene)
      }
      mkdirSync(join(own, 'u.atomfs-work/x'), { recursive: true })
      await fail(
        atomfs('mount', '--upper', join(own, 'u'), image, join(own, 'u.atomfs-work/x')),
        /lies in .*u\.atomfs-work/,
        scene,
      )
      expect(readdirSync(target)).toEqual([])
    })
  })

  test('an upper that is a file, in a file, or on another file system than its work directory is refused', async () => {
    await inScene(async (scene) => {
      const own = scene.folder
      writeFileSync(join(own, 'file'), '')
      await fail(
        mountOn(scene)('--upper', join(own, 'file')),
        /upper directory .*file.*(EEXIST|ENOTDIR)/,
        scene,
      )
      await fail(mountOn(scene)('--persist', join(own, 'file/x')), /ENOTDIR/, scene)
      const separate = join(own, 'separate')
      mkdirSync(separate)
      await run('mount', ['-t', 'tmpfs', 'none', separate])
      await fail(mountOn(scene)('--upper', separate), /must be in one file system/, scene)
      expect(existsSync(`${separate}.atomfs-work`)).toBe(false)
    })
  })

  test('options that do not fit each other are refused', async () => {
    await inScene(async (scene) => {
      const upper = join(scene.folder, 'u')
      const mount = mountOn(scene)
      await fail(mount('--upper', upper, '--persist', upper), /--persist and --upper/, scene)
      await fail(mount('--upper', ''), /--upper: .*empty/, scene)
      await fail(
        mount('--upper', upper, '-o', 'driver=fuse-native'),
        /driver=fuse-native is for read-only/,
        scene,
      )
      await fail(
        mount('--upper', upper, '-o', 'fsync=never'),
        /fsync=never: expected auto, strict, volatile/,
        scene,
      )
      await fail(mount('--upper', upper, '-o', 'redirect_dir=sometimes'), /redirect_dir=sometimes/, scene)
      await fail(mount('--upper', upper, '-o', 'xattr_permissions=3'), /xattr_permissions=3/, scene)
      await fail(mount('--upper', upper, '-o', 'xattr=system'), /xattr=system/, scene)
      await fail(mount('-o', 'ro', '--upper', upper), /upper directory .*u cannot be opened: ENOENT/, scene)
      expect(existsSync(upper)).toBe(false)
    })
  })

  test('a failed writable mount removes what it made and keeps what was there', async () => {
    await inScene(async (scene) => {
      const own = scene.folder
      const broken = ['-o', 'subdir=no/such']
      await fail(mountOn(scene)(...broken, '--persist', join(own, 'a/b')), /no\/such|subdir/, scene)
      expect(readdirSync(own).sort()).toEqual(['mnt', 'run'])
      mkdirSync(join(own, 'u'))
      writeFileSync(join(own, 'u/kept'), 'kept')
      await fail(
        mountOn(scene)(...broken, '-o', 'volatile', '--upper', join(own, 'u')),
        /no\/such|subdir/,
        scene,
      )
      expect(readdirSync(own).sort()).toEqual(['mnt', 'run', 'u'])
      expect(readdirSync(join(own, 'u'))).toEqual(['kept'])
      await fail(mountOn(scene)(...broken, '--writeable'), /no\/such|subdir/, scene)
      expect(leftAside(scene.runDir)).toEqual([])
    })
  })
})

describe.skipIf(!need.ok)(titled('the end of a writable mount', need), () => {
  test('a mount after SIGKILL cleans left-overs, replaces the old mount and shows its changes', async () => {
    await inScene(async (scene) => {
      const { target, runDir } = scene
      const place = join(scene.folder, 'p')
      await succeed(mountOn(scene)('--persist', place))
      writeFileSync(join(target, 'kept'), 'kept')
      process.kill(daemonPid(runDir), 'SIGKILL')
      // As a copy that was under way, with directories that nobody may enter.
      mkdirSync(join(place, 'work/work/#7/x/y'), { recursive: true })
      chmodSync(join(place, 'work/work/#7'), 0)
      writeFileSync(join(place, 'work/work/#8'), 'half')
      await succeed(mountOn(scene)('--persist', place))
      expect(readdirSync(join(place, 'work/work'))).toEqual([])
      expect(readFileSync(join(target, 'kept'), 'utf8')).toBe('kept')
    })
  })

  test.each([
    ['mount', false],
    ['umount', true],
  ])('temporary changes of a killed daemon are removed by %s', async (command, fails) => {
    await inScene(async (scene) => {
      const { target, runDir, atomfs } = scene
      await succeed(mountOn(scene)('--writeable'))
      writeFileSync(join(target, 'x'), 'x')
      const pid = daemonPid(runDir)
      process.kill(pid, 'SIGKILL')
      await until(() => isGone(pid), 'the daemon is gone')
      if (fails) await atomfs('umount', target)
      else {
        await succeed(mountOn(scene)('--writeable'))
        expect(existsSync(join(target, 'x'))).toBe(false)
        await succeed(atomfs('umount', target))
      }
      expect(command).not.toBe('')
      expect(entries(runDir)).toEqual([])
      expect(leftAside(runDir)).toEqual([])
    })
  })

  test('temporary changes of a daemon that ended with its container are removed by the next mount', async () => {
    await inScene(async (scene) => {
      const { runDir, target } = scene
      const inContainer = ['-m', '--propagation', 'private', '-p', '-f', '--kill-child', '--mount-proc']
      const script = '"$0" mount --writeable "$1" "$2" && echo x >"$2/x"'
      await run('unshare', [...inContainer, 'sh', '-c', script, ATOMFS_FUSE, image, target], {
        env: { ATOMFS_TEST_RUN_DIR: runDir },
      })
      expect(entries(runDir)).toHaveLength(1)
      await succeed(mountOn(scene)('--writeable'))
      expect(entries(runDir)).toHaveLength(1)
      expect(configOf(runDir)).toMatchObject({ Target: target })
      expect(existsSync(join(target, 'x'))).toBe(false)
      await succeed(scene.atomfs('umount', target))
      expect(entries(runDir)).toEqual([])
      expect(leftAside(runDir)).toEqual([])
    })
  })

  test.each(['SIGTERM', 'umount'])(
    'open files of temporary changes still work after %s, and then all is removed',
    async (how) => {
      await inScene(async (scene) => {
        const { target, runDir } = scene
        await succeed(mountOn(scene)('--writeable'))
        const pid = daemonPid(runDir)
        const go = join(scene.folder, 'go')
        const script =
          'exec 5<>"$1/new"; echo ready; while ! test -e "$2"; do sleep 0.05; done; echo text >&5; cat <"/proc/self/fd/5"'
        const user = run('sh', ['-c', script, 'sh', target, go], { timeout: 30_000 })
        await until(() => existsSync(join(target, 'new')), 'the file is open')
        if (how === 'SIGTERM') process.kill(pid, 'SIGTERM')
        else await run('umount', ['-l', target])
        await until(() => !isMounted(target), 'it is unmounted')
        await succeed(mountOn(scene)('--writeable'))
        expect(existsSync(join(target, 'new'))).toBe(false)
        writeFileSync(go, '')
        expect((await user).stdout).toBe('ready\ntext\n')
        await until(() => leftAside(runDir).length === 0, 'the changes of the first mount are gone')
        // A shared server has the second mount, too.
        if (daemonPid(runDir) !== pid) await until(() => isGone(pid), 'the first daemon ends')
        await succeed(scene.atomfs('umount', target))
        expect(leftAside(runDir)).toEqual([])
      })
    },
  )

  test('a foreground mount ends by SIGINT without output, and its temporary changes are gone', async () => {
    await inScene(async (scene) => {
      const { target, runDir } = scene
      const script = `
        "$0" mount -f --writable "$1" "$2" & pid=$!
        until grep -q "$2" /proc/self/mounts; do sleep 0.05; done
        cp "$2/big" "$2/copy"; rm -r "$2/etc"; echo x >> "$2/sub/one"; mv "$2/sub" "$2/moved"
        kill -INT "$pid"; wait "$pid"`
      const result = await run('sh', ['-c', script, ATOMFS_FUSE, image, target], {
        env: { ATOMFS_TEST_RUN_DIR: runDir },
        allowFailure: true,
      })
      expect(result).toMatchObject(SILENT)
      expect(entries(runDir)).toEqual([])
      expect(leftAside(runDir)).toEqual([])
    })
  })

  test('-o volatile leaves the sign of overlayfs, and the next mount is refused until it is removed', async () => {
    await inScene(async (scene) => {
      const { target, atomfs } = scene
      const upper = join(scene.folder, 'u')
      await succeed(mountOn(scene)('-o', 'volatile', '--upper', upper))
      writeFileSync(join(target, 'x'), 'x')
      await run('sync', ['-d', join(target, 'x')])
      await succeed(atomfs('umount', target))
      const sign = `${upper}.atomfs-work/work/incompat/volatile`
      expect(statSync(sign).isDirectory()).toBe(true)
      await fail(mountOn(scene)('--upper', upper), /incompat\/volatile exists.*remove that directory/, scene)
      rmdirSync(sign)
      await succeed(mountOn(scene)('-o', 'fsync=strict', '--upper', upper))
      expect(readFileSync(join(target, 'x'), 'utf8')).toBe('x')
    })
  })
})

describe.skipIf(!need.ok)(titled('ro with an upper directory', need), () => {
  test('ro with an upper directory shows it on a read-only file system, and makes no work directory', async () => {
    await inScene(async (scene) => {
      const { target, atomfs, folder: own } = scene
      const disk = join(own, 'disk')
      mkdirSync(disk)
      await run('mount', ['-t', 'tmpfs', 'none', disk])
      const upper = join(disk, 'u')
      await succeed(mountOn(scene)('--upper', upper))
      writeFileSync(join(target, 'sub/one'), 'changed')
      rmSync(join(target, 'etc/motd'))
      renameSync(join(target, 'sub'), join(target, 'moved'))
      const inode = statSync(join(target, 'moved/two')).ino
      await succeed(atomfs('umount', target))
      await run('mount', ['-o', 'remount,ro', disk])
      const before = await run('find', [disk, '-printf', '%p %i %m %T@ %C@\n'])
      await succeed(mountOn(scene)('-o', 'ro', '--upper', upper))
      expect(readdirSync(target).sort()).toEqual(['big', 'etc', 'moved'])
      expect(readdirSync(join(target, 'etc'))).toEqual([])
      // Both names of a file with two, of which one was written to: from then on it is a file of its own.
      expect(readFileSync(join(target, 'moved/one'), 'utf8')).toBe('changed')
      expect(readFileSync(join(target, 'moved/two'), 'utf8')).toBe('one')
      expect(statSync(join(target, 'moved/two'))).toMatchObject({ ino: inode, nlink: 2 })
      expect(() => writeFileSync(join(target, 'x'), '')).toThrow(/EROFS/)
      const status = JSON.parse((await atomfs('status', '--json', target)).stdout)
      expect(status).toMatchObject({ writable: false, upper: { path: upper } })
      // Others may look at it at the same time.
      const second = join(own, 'second')
      mkdirSync(second)
      await succeed(atomfs('mount', '-o', 'ro', '--upper', upper, image, second))
      await succeed(atomfs('umount', second))
      await succeed(atomfs('umount', target))
      expect((await run('find', [disk, '-printf', '%p %i %m %T@ %C@\n'])).stdout).toBe(before.stdout)
    })
  })

  test('ro leaves an empty upper directory empty, and --writeable with ro mounts the image only', async () => {
    await inScene(async (scene) => {
      const upper = join(scene.folder, 'u')
      mkdirSync(upper)
      await succeed(mountOn(scene)('-o', 'ro', '--upper', upper))
      expect(readdirSync(scene.target)).toEqual(['big', 'etc', 'sub'])
      await succeed(scene.atomfs('umount', scene.target))
      expect(readXattrs(Buffer.from(upper))).toEqual({})
      expect(readdirSync(scene.folder).sort()).toEqual(['mnt', 'run', 'u'])
      await succeed(mountOn(scene)('-o', 'ro', '--writeable'))
      expect(() => writeFileSync(join(scene.target, 'x'), '')).toThrow(/EROFS/)
    })
  })
})

describe.skipIf(!need.ok)(titled('failures of the file system of the upper', need), () => {
  test.each(['writeback=1', 'writeback=0'])(
    'a full file system, %s, gives ENOSPC, and earlier files stay whole',
    async (option) => {
      await inScene(async (scene) => {
        const { target, atomfs } = scene
        const disk = join(scene.folder, 'disk')
        mkdirSync(disk)
        await run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', disk])
        const place = join(disk, 'p')
        await succeed(mountOn(scene)('--persist', place, '-o', option))
        writeFileSync(join(target, 'small'), 'small')
        // Copy-up of 4 MiB into 2.
        expect(() => appendFileSync(join(target, 'big'), 'more')).toThrow(/ENOSPC/)
        const fill = await run('dd', ['if=/dev/zero', `of=${target}/zeros`, 'bs=64k', 'count=64'], {
          allowFailure: true,
        })
        expect(fill.stderr).toMatch(/No space left/)
        // What is collected keeps the length that was meant until the kernel asks again.
        await dropCaches()
        expect(statSync(join(target, 'big')).size).toBe(4 << 20)
        expect(existsSync(join(place, 'persist/big'))).toBe(false)
        expect(readdirSync(join(place, 'work/work'))).toEqual([])
        rmSync(join(target, 'zeros'))
        // The kernel may send a few requests before it forgets the file (fs/fuse/dev.c:fuse_dev_do_read, forget_batch).
        await until(() => statfsSync(disk).bavail > 0, 'room')
        writeFileSync(join(target, 'again'), 'again')
        await succeed(atomfs('umount', target))
        await succeed(mountOn(scene)('--persist', place))
        expect(readFileSync(join(target, 'small'), 'utf8')).toBe('small')
        expect(readFileSync(join(target, 'again'), 'utf8')).toBe('again')
        expect((await run('sha256sum', [join(target, 'big')])).stdout.slice(0, 64)).toBe(
          (await run('sha256sum', [join(folder, 'lower/big')])).stdout.slice(0, 64),
        )
      })
    },
  )

  test('an upper that becomes read-only gives EROFS, and reads still work', async () => {
    await inScene(async (scene) => {
      const { target } = scene
      const disk = join(scene.folder, 'disk')
      mkdirSync(disk)
      await run('mount', ['-t', 'tmpfs', 'none', disk])
      await succeed(mountOn(scene)('--persist', join(disk, 'p')))
      // An open file would keep the file system from becoming read-only.
      symlinkSync('there', join(target, 'x'))
      await run('mount', ['-o', 'remount,ro', disk])
      expect(() => mkdirSync(join(target, 'y'))).toThrow(/EROFS/)
      expect(() => rmSync(join(target, 'etc/motd'))).toThrow(/EROFS/)
      expect(readlinkSync(join(target, 'x'))).toBe('there')
      expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('hello\n')
      await fail(
        scene.atomfs('umount', target).then(() => mountOn(scene)('--persist', join(disk, 'p'))),
        /EROFS|read-only/i,
        scene,
      )
    })
  })

  test('an upper directory that is removed gives errors for its files and no hang', async () => {
    await inScene(async (scene) => {
      const { target, atomfs, runDir } = scene
      const place = join(scene.folder, 'p')
      await succeed(mountOn(scene)('--persist', place))
      mkdirSync(join(target, 'dir'))
      writeFileSync(join(target, 'dir/x'), 'x')
      rmSync(place, { recursive: true })
      expect(() => writeFileSync(join(target, 'new'), '')).toThrow(/ENOENT|ESTALE/)
      expect(() => mkdirSync(join(target, 'dir/y'))).toThrow(/ENOENT|ESTALE/)
      expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('hello\n')
      expect(readLog(runDir)).not.toMatch(/bug/)
      await succeed(atomfs('umount', target))
    })
  })
})

describe.skipIf(!need.ok)(titled('status', need), () => {
  test('status shows where changes go and how they are kept', async () => {
    await inScene(async (scene) => {
      const upper = join(scene.folder, 'u')
      await succeed(mountOn(scene)('--upper', upper, '-o', 'xattr=trusted,redirect_dir=off'))
      const status = JSON.parse((await scene.atomfs('status', '--json', scene.target)).stdout)
      expect(status).toMatchObject({
        writable: true,
        upper: {
          path: upper,
          work: `${upper}.atomfs-work`,
          temporary: false,
          policy: { owners: 'real', markers: 'trusted', whiteouts: 'device', fsync: 'auto' },
        },
      })
      expect((await scene.atomfs('status', scene.target)).stdout).toMatch(
        /^changes: {3}in .*\/u; real owners; attributes in trusted; deletions as devices 0:0; fsync auto$/m,
      )
      expect(() => renameSync(join(scene.target, 'sub'), join(scene.target, 'sub2'))).toThrow(/EXDEV/)
      rmSync(join(scene.target, 'sub'), { recursive: true })
      mkdirSync(join(scene.target, 'sub'))
      expect(readXattrs(Buffer.from(join(upper, 'sub')))).toMatchObject({ 'trusted.overlay.opaque': '79' })
    })
  })

  test('the daemon of a writable mount keeps only the capabilities that changes need', async () => {
    await inScene(async (scene) => {
      // The main thread of a shared server keeps what threads of other mounts will need.
      await succeed(mountOn(scene)('--writeable', '-o', 'server=own'))
      const pid = daemonPid(scene.runDir)
      readFileSync(join(scene.target, 'big'))
      const effective = readdirSync(`/proc/${pid}/task`).map(
        (task) => /^CapEff:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/task/${task}/status`, 'latin1'))?.[1],
      )
      const bits = (...numbers: number[]): string =>
        numbers
          .reduce((sum, bit) => sum + 2 ** bit, 0)
          .toString(16)
          .padStart(16, '0')
      // CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SYS_ADMIN, MKNOD, SETFCAP: the dispatcher alone.
      expect(effective.filter((mask) => mask === bits(0, 1, 2, 3, 4, 21, 27, 31))).toHaveLength(1)
      // DAC_OVERRIDE, FOWNER, SYS_CHROOT, SYS_PTRACE, SYS_ADMIN: the main thread.
      expect(effective).toContain(bits(1, 3, 18, 19, 21))
      expect(readFileSync(`/proc/${pid}/status`, 'latin1')).toMatch(/^Umask:\t0000$/m)
    })
  })
})

describe.skipIf(!need.ok)(titled('mounts without root', need), () => {
  test('a plain user makes all kinds of changes through fusermount3, and owners are recorded', async () => {
    await inScene(async (scene) => {
      const uid = 65534
      const { folder: own, target, runDir } = scene
      chmodSync(own, 0o755)
      mkdirSync(runDir)
      const place = join(own, 'p')
      mkdirSync(place)
      for (const path of [target, runDir, place]) chownSync(path, uid, uid)
      const asUser = `
        set -e
        mknod -m 0666 "$5" c 10 229
        mount --bind "$5" /dev/fuse
        exec setpriv --reuid=${uid} --regid=${uid} --clear-groups sh -ec "$6" "$0" "$1" "$2" "$3" "$4"`
      const script = `
        "$0" mount -o uid=${uid},gid=${uid} --persist "$4" "$1" "$2"
        cd "$2"
        echo text > new; chmod 4750 new; mkfifo pipe; ln -s new link; rm etc/motd; mv sub other; echo more >> other/one
        stat -c '%n %u %a %F' new pipe link other/one other/two
        cat other/one other/two; echo
        cd /
        "$0" umount "$2"
        "$0" mount -o uid=${uid},gid=${uid} --persist "$4" "$1" "$2"
        stat -c '%n %u %a %F' "$2/new" "$2/pipe"; readlink "$2/link"; ls "$2/etc"
        "$0" umount "$2"`
      const result = await run(
        'unshare',
        ['-m', 'sh', '-c', asUser, ATOMFS_FUSE, image, target, runDir, place, join(own, 'fuse'), script],
        { env: { ATOMFS_TEST_RUN_DIR: runDir, HOME: own }, allowFailure: true },
      )
      expect(result.stderr).toBe('')
      expect(result.stdout.replaceAll(`${target}/`, '')).toBe(
        `new ${uid} 4750 regular file\npipe ${uid} 644 fifo\nlink ${uid} 777 symbolic link\n` +
          `other/one ${uid} 644 regular file\nother/two ${uid} 644 regular file\nonemore\none\n` +
          `new ${uid} 4750 regular file\npipe ${uid} 644 fifo\nnew\n`,
      )
      const record = readXattrs(Buffer.from(join(place, 'persist/new')))['user.containers.override_stat']
      expect(Buffer.from(record ?? '', 'hex').toString()).toBe(`${uid}:${uid}:4750:file`)
      expect(lstatSync(join(place, 'persist/pipe')).isFile()).toBe(true)
      expect(entries(runDir)).toEqual([])
    })
  })

  test('root of a user namespace with a range of ids gets real owners', async () => {
    await inScene(async (scene) => {
      const { folder: own, target, runDir } = scene
      const [first, count] = [200_000, 65_536]
      const place = mkdtempSync(join(own, 'p'))
      chmodSync(own, 0o777)
      mkdirSync(runDir)
      for (const path of [place, target, runDir]) chownSync(path, first, first)
      const inside = `
        set -e
        "$0" mount -o "uidmapping=0:0:${count},gidmapping=0:0:${count}" --persist "$4" "$1" "$2"
        echo text > "$2/new"; chown 1000:1001 "$2/new"; rm "$2/etc/motd"; chown 33 "$2/sub/one"
        stat -c '%u:%g' "$2/new" "$2/sub/one" "$2/etc"
        "$0" umount "$2"`
      // Whoever joins a namespace from outside has all rights in it.
      const outer = `
        set -e
        mknod -m 0666 "$6" c 10 229
        mount --bind "$6" /dev/fuse
        unshare -U sleep 60 &
        until [ "$(readlink /proc/$!/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.02; done
        echo "0 ${first} ${count}" > /proc/$!/uid_map
        echo "0 ${first} ${count}" > /proc/$!/gid_map
        trap "kill $!" EXIT
        nsenter -U -t $! --setuid 0 --setgid 0 unshare -m sh -c "$5" "$0" "$1" "$2" "$3" "$4"`
      const args = [image, target, runDir, place, inside, join(own, 'fuse')]
      const result = await run('unshare', ['-m', 'sh', '-c', outer, ATOMFS_FUSE, ...args], {
        env: { ATOMFS_TEST_RUN_DIR: runDir, FUSERMOUNT_PROG: '/nonexistent' },
        allowFailure: true,
      })
      expect(result.stderr).toBe('')
      expect(result.stdout).toBe('1000:1001\n33:0\n0:0\n')
      expect(lstatSync(join(place, 'persist/new'))).toMatchObject({ uid: first + 1000, gid: first + 1001 })
      const whiteout = lstatSync(join(place, 'persist/etc/motd'))
      expect([whiteout.isCharacterDevice(), whiteout.rdev]).toEqual([true, 0])
    })
  })
})

describe.skipIf(!need.ok)(titled('device files', need), () => {
  test('device files in a writable mount keep their number and the requested mode', async () => {
    await inScene(async (scene) => {
      await succeed(mountOn(scene)('--writeable'))
      const null2 = join(scene.target, 'null')
      const mask = process.umask(0)
      try {
        makeNode(Buffer.from(null2), 0o020666, 1, 3)
      } finally {
        process.umask(mask)
      }
      expect(statSync(null2)).toMatchObject({ mode: 0o020666, rdev: 259 })
      setXattr(Buffer.from(join(scene.target, 'etc')), 'trusted.note', Buffer.from('n'))
      expect(readXattrs(Buffer.from(join(scene.target, 'etc')))).toEqual({ 'trusted.note': '6e' })
      expect(realpathSync(scene.target)).toBe(scene.target)
      await unmount(scene.target)
    })
  })
})
