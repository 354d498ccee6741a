import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { hasSelinux } from '../../src/sys/plain/rights.ts'
import {
  ATOMFS_FUSE,
  findProgram,
  isMounted,
  mksquashfs,
  mountKernelOverlay,
  needs,
  type RunResult,
  run,
  titled,
  unmount,
} from '../library/index.ts'
import { setXattr } from '../library/programs/native.ts'
import { entries, inScene, type Scene, SILENT } from '../library/scenes/life.ts'

/** The command `overlay`, also under the name fuse-overlayfs, as its clients call it. */

const need = needs('root', 'fuse', 'mksquashfs')
const withOther = needs('root', 'fuse', 'fuse-overlayfs')
const withKernel = needs('root', 'fuse', 'kernel-overlayfs')

interface OverlayScene extends Scene {
  /** `fuse-overlayfs ARGS` in the folder of the scene. */
  readonly overlay: (...args: string[]) => Promise<RunResult>
}

/** Two lower directories, `a` above `b`, and places for changes. */
function inOverlayScene(play: (scene: OverlayScene) => Promise<void>): Promise<void> {
  return inScene(async (scene) => {
    const { folder, runDir } = scene
    for (const path of ['a/both', 'b/both', 'b/below', 'u', 'w'])
      mkdirSync(join(folder, path), { recursive: true })
    writeFileSync(join(folder, 'a/both/a'), 'from a')
    writeFileSync(join(folder, 'b/both/b'), 'from b')
    writeFileSync(join(folder, 'b/below/file'), 'below')
    symlinkSync(ATOMFS_FUSE, join(folder, 'fuse-overlayfs'))
    await play({
      ...scene,
      overlay: (...args) =>
        run(join(folder, 'fuse-overlayfs'), args, {
          cwd: folder,
          env: { ATOMFS_TEST_RUN_DIR: runDir },
          timeout: 60_000,
          allowFailure: true,
        }),
    })
  })
}

async function succeed(result: Promise<RunResult>): Promise<void> {
  expect(await result).toMatchObject(SILENT)
}

const WRITABLE = 'lowerdir=a:b,upperdir=u,workdir=w'

describe.skipIf(!need.ok)(titled('an overlay', need), () => {
  test('an overlay merges, stores changes in the upper directory, and shows them at the next mount', async () => {
    await inOverlayScene(async ({ overlay, target, folder, runDir }) => {
      for (const round of [1, 2]) {
        await succeed(overlay('-o', WRITABLE, 'mnt'))
        expect(readdirSync(join(target, 'both')).sort()).toEqual(round === 1 ? ['a', 'b'] : ['a', 'new'])
        if (round === 1) {
          rmSync(join(target, 'both/b'))
          writeFileSync(join(target, 'both/new'), 'new')
        }
        expect(() => renameSync(join(target, 'below'), join(target, 'moved'))).toThrow(/EXDEV/)
        await run('umount', [target])
        await expect.poll(() => entries(runDir), { timeout: 10_000 }).toEqual([])
      }
      const whiteout = lstatSync(join(folder, 'u/both/b'))
      expect([whiteout.isCharacterDevice(), whiteout.rdev]).toEqual([true, 0])
      expect(readdirSync(join(folder, 'w')).sort()).toEqual(['work'])
    })
  })

  test('an overlay keeps data of each name of a hard link and the inode numbers of all files', async () => {
    await inOverlayScene(async ({ overlay, target, folder }) => {
      const at = (path: string) => join(folder, path)
      writeFileSync(at('b/one'), 'old')
      for (const name of ['two', 'three', 'four']) linkSync(at('b/one'), at(`b/${name}`))
      mkdirSync(at('b/again'))
      await run('mount', ['--bind', at('b/below'), at('b/again')])
      try {
        const names = ['one', 'two', 'three', 'below/file', 'again/file']
        const show = (root: string) =>
          names.map((name) => {
            const { uid, mode } = statSync(join(root, name))
            return `${readFileSync(join(root, name))} ${uid} ${(mode & 0o777).toString(8)}`
          })
        const changed = ['old+ 0 644', 'old 7 644', 'old 0 600', 'new 0 644', 'below 7 644']
        await succeed(overlay('-o', WRITABLE, 'mnt'))
        for (const name of names) statSync(join(target, name))
        appendFileSync(join(target, 'one'), '+')
        chownSync(join(target, 'two'), 7, 7)
        chmodSync(join(target, 'three'), 0o600)
        rmSync(join(target, 'four'))
        writeFileSync(join(target, 'below/file'), 'new')
        chownSync(join(target, 'again/file'), 7, 7)
        expect(show(target)).toEqual(changed)
        await run('sync', ['-f', target])
        const numbers = () => [...names, 'both/a', 'both/b'].map((name) => statSync(join(target, name)).ino)
        chmodSync(join(target, 'both/b'), 0o600)
        const before = numbers()
        await unmount(target)
        await succeed(overlay('-o', WRITABLE, 'mnt'))
        expect(show(target)).toEqual(changed)
        expect(existsSync(join(target, 'four'))).toBe(false)
        // Met in another order than before.
        readdirSync(join(target, 'below'))
        expect(numbers()).toEqual(before)
        await unmount(target)
        await succeed(overlay('-o', 'lowerdir=u:b', 'mnt'))
        expect(show(target)).toEqual(changed)
        await unmount(target)
        if (!withKernel.ok) return
        await run('mount', ['-t', 'overlay', '-o', 'lowerdir=u:a:b,userxattr', 'overlay', 'mnt'], {
          cwd: folder,
        })
        expect(show(target).slice(0, 4)).toEqual(changed.slice(0, 4))
      } finally {
        await unmount(target)
        await unmount(at('b/again'))
      }
    })
  })

  test.skipIf(!withKernel.ok)(
    titled('inode numbers beyond 2^53 work in an overlay', withKernel),
    async () => {
      await inOverlayScene(async ({ overlay, target, folder }) => {
        const at = (path: string) => join(folder, path)
        for (const path of ['t', 'x', 'y', 'k']) mkdirSync(at(path))
        await run('mount', ['-t', 'tmpfs', 'tmpfs', at('t')])
        try {
          for (const path of ['t/u', 't/w']) mkdirSync(at(path))
          // With `xino` overlayfs has the number of the layer in the highest bits.
          const layers = `lowerdir=${at('t')},upperdir=${at('x')},workdir=${at('y')},xino=on`
          await run('mount', ['-t', 'overlay', '-o', layers, 'overlay', at('k')])
          expect(Number((await run('stat', ['-c', '%i', at('k/u')])).stdout)).toBeGreaterThan(2 ** 53)
          for (const round of [1, 2]) {
            await succeed(overlay('-o', 'lowerdir=a:b,upperdir=k/u,workdir=k/w', 'mnt'))
            if (round === 1) {
              for (let i = 0; i < 20; i += 1) writeFileSync(join(target, `${i}`), `${i}`)
              appendFileSync(join(target, 'both/a'), '+')
            }
            for (let i = 0; i < 20; i += 1) expect(readFileSync(join(target, `${i}`), 'utf8')).toBe(`${i}`)
            expect(readFileSync(join(target, 'both/a'), 'utf8')).toBe('from a+')
            const numbers = readdirSync(target).map((name) => statSync(join(target, name)).ino)
            expect(new Set(numbers).size).toBe(22)
            await run('umount', [target])
          }
        } finally {
          for (const path of [target, at('k'), at('t')]) await unmount(path)
        }
      })
    },
  )

  test.skipIf(!withKernel.ok)(
    titled(
      'an upper directory whose files have devices of their own is refused before the mount',
      withKernel,
    ),
    async () => {
      await inOverlayScene(async ({ overlay, target, folder }) => {
        const at = (path: string) => join(folder, path)
        for (const path of ['t', 'k']) mkdirSync(at(path))
        await run('mount', ['-t', 'tmpfs', 'tmpfs', at('t')])
        try {
          for (const path of ['t/x', 't/y']) mkdirSync(at(path))
          const layers = `lowerdir=${at('b')},upperdir=${at('t/x')},workdir=${at('t/y')},xino=off`
          await run('mount', ['-t', 'overlay', '-o', layers, 'overlay', at('k')])
          for (const path of ['k/u', 'k/w']) mkdirSync(at(path))
          const result = await overlay('-o', 'lowerdir=a,upperdir=k/u,workdir=k/w', 'mnt')
          expect(result).toMatchObject({ status: 1, stderr: expect.stringMatching(/^Error: .*xino=on.*\n$/) })
          expect([isMounted(target), readdirSync(at('k/u'))]).toEqual([false, []])
        } finally {
          for (const path of [target, at('k'), at('t')]) await unmount(path)
        }
      })
    },
  )

  test('the verb overlay of the command mounts too, and directories are renamed with redirect_dir=on', async () => {
    await inOverlayScene(async ({ atomfs, target, folder }) => {
      const at = (path: string) => join(folder, path)
      const options = `lowerdir=${at('a')}:${at('b')},upperdir=${at('u')},workdir=${at('w')}`
      await succeed(atomfs('overlay', '-o', options, '-o', 'redirect_dir=on', target))
      renameSync(join(target, 'below'), join(target, 'moved'))
      expect(readFileSync(join(target, 'moved/file'), 'utf8')).toBe('below')
      const status = JSON.parse((await atomfs('status', '--json', target)).stdout)
      expect(status).toMatchObject({
        source: 'overlay',
        writable: true,
        upper: { path: at('u') },
        layers: [
          { label: at('b'), state: 'unverified' },
          { label: at('a'), state: 'unverified' },
        ],
      })
    })
  })

  test('an overlay is read-only without an upper directory, and with ro', async () => {
    await inOverlayScene(async ({ overlay, target, folder }) => {
      writeFileSync(join(folder, 'u/changed'), 'changed')
      await succeed(overlay('-o', 'lowerdir=a:b', target))
      expect(readdirSync(target)).toEqual(['below', 'both'])
      expect(() => writeFileSync(join(target, 'x'), '')).toThrow(/EROFS/)
      await unmount(target)
      await succeed(overlay('-o', 'ro,lowerdir=a:b,upperdir=u', target))
      expect(readdirSync(target).sort()).toEqual(['below', 'both', 'changed'])
      expect(() => writeFileSync(join(target, 'x'), '')).toThrow(/EROFS/)
    })
  })

  test('the overlay command accepts the arguments of its clients: source, mappings, flags and unknown options', async () => {
    await inOverlayScene(async ({ overlay, target, folder }) => {
      chownSync(join(folder, 'b/below/file'), 3, 4)
      const options = `${WRITABLE},uidmapping=:0:1000:10,gidmapping=:0:2000:10,lazytime,dev,suid,xino=on,frob=1`
      expect(await overlay('overlay', target, '-o', options, '-o', 'nits')).toMatchObject({
        status: 0,
        stdout: '',
        stderr: 'unknown argument ignored: frob=1\nunknown argument ignored: nits\n',
      })
      expect(statSync(join(target, 'below/file'))).toMatchObject({ uid: 1003, gid: 2004 })
      const line = (await run('grep', ['-F', target, '/proc/self/mountinfo'])).stdout
      expect(line).toMatch(/ rw,relatime (?:\S+ )*- fuse\.atomfs-fuse overlay /)
    })
  })

  test('fuse-overlayfs ignores long options that nobody knows, allow_root, and a label where there is no SELinux', async () => {
    await inOverlayScene(async ({ overlay, target, folder }) => {
      const label = 'context="system_u:object_r:container_file_t:s0:c1,c2"'
      // A kernel with SELinux takes the label itself, or refuses it.
      const labels = hasSelinux() ? '' : `,${label}`
      const log = join(folder, 'debug.log')
      const result = await run(
        join(folder, 'fuse-overlayfs'),
        ['-s', '--foo', '-o', `lowerdir=a:b,allow_root${labels}`, '--bar=1', 'mnt'],
        {
          cwd: folder,
          env: { ATOMFS_TEST_RUN_DIR: join(folder, 'run'), FUSE_OVERLAYFS_DEBUG_LOG: log },
        },
      )
      expect(result).toMatchObject({
        status: 0,
        stdout: '',
        stderr: 'unknown argument ignored: --foo\nunknown argument ignored: --bar=1\n',
      })
      expect(readdirSync(target)).toEqual(['below', 'both'])
      // The magic number of FUSE and a type of its own: engines look for both.
      expect((await run('stat', ['-f', '-c', '%t', target])).stdout).toBe('65735546\n')
      expect((await run('findmnt', ['-n', '-o', 'FSTYPE', target])).stdout).toBe('fuse.atomfs-fuse\n')
      expect(readFileSync(log, 'utf8')).toMatch(/debug/)
      await unmount(target)
      expect(await overlay('--foo')).toMatchObject({ status: 1 })
    })
  })

  test.each(['', ',upperdir=u,workdir=w'])(
    'an overlay is mounted onto its own lowest layer, as SingularityCE does it%s',
    async (changes) => {
      await inOverlayScene(async ({ overlay, folder }) => {
        const root = join(folder, 'b')
        await succeed(overlay('-o', `lowerdir=a:b${changes}`, root))
        expect(readdirSync(join(root, 'both')).sort()).toEqual(['a', 'b'])
        expect(readFileSync(join(root, 'below/file'), 'utf8')).toBe('below')
        if (changes !== '') writeFileSync(join(root, 'below/file'), 'changed')
        await unmount(root)
        expect(readFileSync(join(root, 'below/file'), 'utf8')).toBe('below')
        expect(existsSync(join(folder, 'u/below/file'))).toBe(changes !== '')
      })
    },
  )

  test
    .skipIf(!withOther.ok)
    .each(['uidmapping=0:1000:10:20:5000:1,gidmapping=0:2000:10', 'squash_to_root', 'squash_to_uid=7'])(
    'an overlay shows and stores owners as fuse-overlayfs does: %s',
    async (mapping) => {
      const owners = (root: string) =>
        readdirSync(root, { recursive: true, encoding: 'utf8' })
          .filter((path) => !path.includes('.wh.'))
          .sort()
          .map((path) => [path, lstatSync(join(root, path))] as const)
          .map(([path, { uid, gid }]) => `${path} ${uid}:${gid}`)
      const seen: string[][] = []
      for (const program of [undefined, 'fuse-overlayfs']) {
        await inOverlayScene(async ({ overlay, target, folder }) => {
          chownSync(join(folder, 'b/below/file'), 3, 4)
          chownSync(join(folder, 'a/both/a'), 20, 8)
          const options = ['-o', `${WRITABLE},${mapping}`, 'mnt']
          if (program === undefined) await succeed(overlay(...options))
          else await run(program, options, { cwd: folder })
          try {
            const script = `
              chmod 755 "$1" "$1"/below
              setpriv --reuid=1005 --regid=2005 --clear-groups touch "$1"/new || true
              touch "$1"/roots 2>"$1".errors || true
              chmod 640 "$1"/below/file "$1"/both/a
              touch "$1"/given && chown 1002:2002 "$1"/given || true
              mkdir -m 777 "$1"/group && chown 1001:2009 "$1"/group && touch "$1"/group/file || true`
            await run('sh', ['-c', script, 'sh', target], { allowFailure: true })
            seen.push(owners(target), owners(join(folder, 'u')))
          } finally {
            await run('umount', [target])
          }
        })
      }
      expect(seen.slice(0, 2)).toEqual(seen.slice(2))
      expect(seen[1]?.length).toBeGreaterThan(3)
    },
  )

  test('-V and --version print what clients look for', async () => {
    await inOverlayScene(async ({ overlay }) => {
      for (const word of ['-V', '--version']) {
        const { status, stdout } = await overlay(word)
        expect({ status, stdout }).toEqual({
          status: 0,
          stdout: expect.stringMatching(/^fuse-overlayfs: version 1\./),
        })
      }
    })
  })

  test('an overlay may cover the folder that holds its directories', async () => {
    await inOverlayScene(async ({ overlay, folder }) => {
      const rootfs = join(folder, 'rootfs')
      mkdirSync(rootfs)
      for (const name of ['a', 'u', 'w']) renameSync(join(folder, name), join(rootfs, name))
      const at = (path: string) => join(rootfs, path)
      await succeed(overlay('-o', `lowerdir=${at('a')},upperdir=${at('u')},workdir=${at('w')}`, rootfs))
      expect(readdirSync(rootfs)).toEqual(['both'])
      writeFileSync(join(rootfs, 'new'), 'new')
      mkdirSync(join(rootfs, 'both/dir'))
      await unmount(rootfs)
      expect(readdirSync(at('u')).sort()).toEqual(['both', 'new'])
    })
  })

  test.each([
    [['-o', 'upperdir=u,workdir=w', 'mnt'], /no lower directory/],
    [['-o', 'lowerdir=a:none', 'mnt'], /lower directory .*\/none cannot be opened: ENOENT/],
    [['-o', 'lowerdir=a,upperdir=u', 'mnt'], /needs workdir=/],
    [['-o', 'lowerdir=a,upperdir=u,workdir=u', 'mnt'], /the same directory/],
    [['-o', 'lowerdir=a,upperdir=u,workdir=u/x', 'mnt'], /work directory .*u\/x cannot be opened: ENOENT/],
    [['-o', 'lowerdir=a', 'a/both'], /target .*a\/both lies in .*\/a, which is part of the mount/],
    [['-o', 'lowerdir=a', 'x', 'y', 'z'], /one directory to mount on/],
    [['-o', 'lowerdir=a'], /missing required argument/],
  ])('the overlay command refuses %j in one line', async (args, message) => {
    await inOverlayScene(async ({ overlay, target, folder, runDir }) => {
      const result = await overlay(...args)
      expect(result.stderr).toMatch(/^Error: [^\n]+\n$/)
      expect(result.stderr).toMatch(message)
      expect(result.status).toBe(1)
      expect(isMounted(target)).toBe(false)
      expect(entries(runDir)).toEqual([])
      expect([...readdirSync(join(folder, 'u')), ...readdirSync(join(folder, 'w'))]).toEqual([])
    })
  })
})

describe.skipIf(!need.ok)(titled('squashfs files as lower directories', need), () => {
  test('squashfs files are lower directories by name, and as X.squash beside a missing or empty X', async () => {
    await inOverlayScene(async ({ overlay, target, folder }) => {
      await mksquashfs(join(folder, 'a'), join(folder, 'a.sqfs'))
      await mksquashfs(join(folder, 'b'), join(folder, 'gone.squash'))
      rmSync(join(folder, 'b'), { recursive: true })
      // As links of containers/storage, with an image beside the link.
      mkdirSync(join(folder, 'c'))
      symlinkSync('c', join(folder, 'l'))
      mkdirSync(join(folder, 'cc'))
      writeFileSync(join(folder, 'cc/from-c'), 'c')
      await mksquashfs(join(folder, 'cc'), join(folder, 'l.squash'))
      // One that is not empty counts itself.
      mkdirSync(join(folder, 'full'))
      writeFileSync(join(folder, 'full/file'), 'full')
      writeFileSync(join(folder, 'full.squash'), 'no image')
      await succeed(overlay('-o', 'lowerdir=a.sqfs:full:l:gone,upperdir=u,workdir=w', target))
      expect(readdirSync(target).sort()).toEqual(['below', 'both', 'file', 'from-c'])
      expect(readdirSync(join(target, 'both')).sort()).toEqual(['a', 'b'])
      writeFileSync(join(target, 'both/b'), 'changed')
      await unmount(target)
      expect(readFileSync(join(folder, 'u/both/b'), 'utf8')).toBe('changed')
    })
  })
})

describe.skipIf(!need.ok)(titled('a lower directory with owners in attributes', need), () => {
  test('a lower directory with recorded owners is shown and copied with them', async () => {
    await inOverlayScene(async ({ overlay, target, folder }) => {
      const record = (path: string, text: string) =>
        setXattr(Buffer.from(join(folder, path)), 'user.containers.override_stat', Buffer.from(text))
      writeFileSync(join(folder, 'a/link'), 'both/a')
      writeFileSync(join(folder, 'a/null'), '')
      writeFileSync(join(folder, 'a/suid'), 'suid')
      record('a', '5:6:0755:dir')
      record('a/link', '7:8:0777:symlink')
      record('a/null', '0:0:0640:char-1-3')
      record('a/suid', '9:10:4711:file')
      await succeed(overlay('-o', WRITABLE, target))
      expect(readlinkSync(join(target, 'link'))).toBe('both/a')
      expect(lstatSync(join(target, 'link'))).toMatchObject({ uid: 7, gid: 8, mode: 0o120777, size: 6 })
      expect(statSync(join(target, 'null'))).toMatchObject({ mode: 0o020640, rdev: 259, size: 0 })
      expect(statSync(join(target, 'suid'))).toMatchObject({ uid: 9, gid: 10, mode: 0o104711 })
      chownSync(join(target, 'null'), 3, 3)
      chmodSync(join(target, 'suid'), 0o700)
      await unmount(target)
      // The upper directory itself keeps real owners.
      expect(statSync(join(folder, 'u/null'))).toMatchObject({ mode: 0o020640, rdev: 259, uid: 3, gid: 3 })
      expect(statSync(join(folder, 'u/suid'))).toMatchObject({ uid: 9, gid: 10, mode: 0o100700 })
    })
  })
})

describe.skipIf(!withOther.ok)(titled('fuse-overlayfs and the overlay', withOther), () => {
  test.each(['real owners', 'owners that are written down'])(
    'fuse-overlayfs and our overlay continue on each other’s upper directory, with %s',
    async (how) => {
      await inOverlayScene(async ({ overlay, target, folder }) => {
        const options = how === 'real owners' ? WRITABLE : `${WRITABLE},xattr_permissions=2`
        const other = () => run(findProgram('fuse-overlayfs') ?? '', ['-o', options, target], { cwd: folder })
        // Versions write owners down in different attributes: the root of the upper directory says in which.
        await other()
        await unmount(target)
        await succeed(overlay('-o', options, target))
        rmSync(join(target, 'both'), { recursive: true })
        mkdirSync(join(target, 'both'))
        writeFileSync(join(target, 'below/file'), 'changed')
        chownSync(join(target, 'below/file'), 11, 12)
        chmodSync(join(target, 'below/file'), 0o4711)
        await unmount(target)
        await other()
        expect(readdirSync(join(target, 'both'))).toEqual([])
        expect(readFileSync(join(target, 'below/file'), 'utf8')).toBe('changed')
        expect(statSync(join(target, 'below/file'))).toMatchObject({ uid: 11, gid: 12, mode: 0o104711 })
        writeFileSync(join(target, 'both/theirs'), 'theirs')
        chownSync(join(target, 'both/theirs'), 13, 14)
        rmSync(join(target, 'below'), { recursive: true })
        await unmount(target)
        await succeed(overlay('-o', options, target))
        expect(readdirSync(target)).toEqual(['both'])
        expect(readFileSync(join(target, 'both/theirs'), 'utf8')).toBe('theirs')
        expect(statSync(join(target, 'both/theirs'))).toMatchObject({ uid: 13, gid: 14 })
      })
    },
  )
})

describe.skipIf(!withKernel.ok)(titled('the kernel and the overlay', withKernel), () => {
  test('the kernel and our overlay continue on each other’s upper directory', async () => {
    await inOverlayScene(async ({ overlay, target, folder }) => {
      const paths = { upper: join(folder, 'u'), work: join(folder, 'w') }
      const lowers = [join(folder, 'a'), join(folder, 'b')]
      await succeed(overlay('-o', WRITABLE, target))
      rmSync(join(target, 'both'), { recursive: true })
      mkdirSync(join(target, 'both'))
      writeFileSync(join(target, 'below/file'), 'changed')
      await unmount(target)
      await mountKernelOverlay(lowers, target, { userxattr: true, upper: paths })
      expect(readdirSync(join(target, 'both'))).toEqual([])
      expect(readFileSync(join(target, 'below/file'), 'utf8')).toBe('changed')
      writeFileSync(join(target, 'both/kernel'), 'kernel')
      rmSync(join(target, 'below'), { recursive: true })
      await unmount(target)
      await succeed(overlay('-o', WRITABLE, target))
      expect(readdirSync(target)).toEqual(['both'])
      expect(readFileSync(join(target, 'both/kernel'), 'utf8')).toBe('kernel')
      expect(existsSync(join(target, 'below'))).toBe(false)
    })
  })
})
