import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isInitialUserNamespace } from '../../src/sys/plain/namespaces.ts'
import {
  ATOMFS_FUSE,
  compareTrees,
  isMounted,
  mksquashfs,
  needs,
  type RunResult,
  removeTempDir,
  run,
  titled,
  unmount,
  walkTree,
} from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import {
  entries,
  inScene,
  type LifeImage,
  makeLifeImage,
  type Scene,
  SILENT,
} from '../library/scenes/life.ts'

/** The names squashfuse and squashfuse_ll, as Apptainer, SingularityCE and atomfs call them, and beside the originals. */

const need = needs('root', 'fuse', 'mksquashfs')
const withOther = needs('root', 'fuse', 'mksquashfs', 'squashfuse')
const NAMES = ['squashfuse', 'squashfuse_ll'] as const
type Name = (typeof NAMES)[number]

let life: LifeImage
let links = ''
beforeAll(async () => {
  life = await makeLifeImage()
  links = life.folder
  await run(ATOMFS_FUSE, ['install-links', links, ...NAMES])
})
afterAll(() => removeTempDir(life.folder))

/** Calls our program by that name. */
function called(name: Name, { runDir, folder }: Scene, args: readonly string[]): Promise<RunResult> {
  return run(join(links, name), args, {
    cwd: folder,
    env: { ATOMFS_TEST_RUN_DIR: runDir },
    timeout: 60_000,
    allowFailure: true,
  })
}

describe.skipIf(!need.ok)(titled('squashfuse', need), () => {
  test.each(NAMES)('%s mounts in the background, prints nothing, and ends with the mount', async (name) => {
    await inScene(async (scene) => {
      for (const options of [[], ['-o', ''], ['-s', '-o', 'rw,allow_root,auto_unmount,subtype=x']]) {
        expect(await called(name, scene, [...options, life.image, scene.target])).toMatchObject(SILENT)
        expect(readFileSync(join(scene.target, 'etc/motd'), 'utf8')).toBe('hello\n')
        await run('umount', [scene.target])
        await until(() => entries(scene.runDir).length === 0, 'the end of the process')
      }
    })
  })

  test.each(NAMES)('%s does not take a directory for an image', async (name) => {
    await inScene(async (scene) => {
      const result = await called(name, scene, [scene.folder, scene.target])
      expect(result).toMatchObject({
        status: 255,
        stderr: expect.stringMatching(/^Error: .* is no image file: .*\n$/),
      })
      expect(isMounted(scene.target)).toBe(false)
    })
  })

  test('uid=0 is owner 0 for squashfuse, and the owner in the image for squashfuse_ll', async () => {
    await inScene(async (scene) => {
      const owners: unknown[] = []
      const image = join(scene.folder, 'owned.sqfs')
      await run('mksquashfs', [
        join(life.folder, 'tree'),
        image,
        '-force-uid',
        '7',
        '-force-gid',
        '8',
        '-quiet',
      ])
      for (const name of NAMES) {
        for (const ids of ['uid=0,gid=0', 'uid=5000,gid=5001']) {
          expect(await called(name, scene, ['-o', ids, image, scene.target])).toMatchObject(SILENT)
          const { uid, gid } = lstatSync(join(scene.target, 'etc/motd'))
          owners.push([name, uid, gid])
          await unmount(scene.target)
        }
      }
      expect(owners).toEqual([
        ['squashfuse', 0, 0],
        ['squashfuse', 5000, 5001],
        ['squashfuse_ll', 7, 8],
        ['squashfuse_ll', 5000, 5001],
      ])
    })
  })

  test('squashfuse_ll serves the words of Apptainer in the foreground, from a descriptor at an offset', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      const image = join(folder, 'at-8192')
      writeFileSync(image, Buffer.concat([Buffer.alloc(8192), readFileSync(life.image)]))
      const fd = openSync(image, 'r')
      const args = ['-f', '-o', 'allow_other,ro,uid=5000,gid=5000,offset=8192', '/proc/self/fd/3', target]
      const child = spawn(join(links, 'squashfuse_ll'), args, {
        stdio: ['ignore', 'pipe', 'pipe', fd],
        env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir },
      })
      closeSync(fd)
      let output = ''
      child.stdout?.on('data', (text) => (output += text))
      child.stderr?.on('data', (text) => (output += text))
      try {
        await until(() => isMounted(target), 'the mount')
        expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
        const closed = once(child, 'close')
        await run('umount', [target])
        expect([await closed, output]).toEqual([[0, null], ''])
      } finally {
        child.kill('SIGKILL')
      }
    })
  })

  test.each(NAMES)('%s writes s or f to notify_pipe', async (name) => {
    await inScene(async (scene) => {
      const { folder, target } = scene
      const fifo = join(folder, 'fifo')
      await run('mkfifo', [fifo])
      const cases = [
        [life.image, '', 's'],
        [join(folder, 'missing'), '', 'f'],
        [fifo, '', 'f'],
        [life.image, ',subdir=missing', 'f'],
        [life.image, ',nix', 'f'],
      ] as const
      for (const [archive, more, expected] of cases) {
        const reader = run('head', ['-c', '1', fifo], { timeout: 60_000 })
        await called(name, scene, ['-o', `notify_pipe=${fifo}${more}`, archive, target])
        expect([archive, more, (await reader).stdout]).toEqual([archive, more, expected])
      }
    })
  })

  test.each(NAMES)('%s shows its usage with the version in the first line and exits with 2', async (name) => {
    await inScene(async (scene) => {
      for (const args of [[], ['-h'], ['-V'], [life.image], [life.image, scene.target, 'x'], ['-o']]) {
        const { status, stdout, stderr } = await called(name, scene, args)
        expect([args, status, stdout]).toEqual([args, 2, ''])
        expect(stderr).toMatch(/^squashfuse 0\.6\.2 \(atomfs-fuse \S+\)\n\n/)
        expect(stderr).toContain(' -o uid=N')
      }
    })
  })
})

const withNamespace = needs('root', 'fuse', 'mksquashfs', 'userns', 'unshare', 'setpriv')

describe.skipIf(!withNamespace.ok)(titled('permissions', withNamespace), () => {
  /** An image with `other/file`, which nobody but user 7 may read. */
  async function privateImage({ folder }: Scene): Promise<string> {
    const tree = join(folder, 'private')
    mkdirSync(join(tree, 'other'), { recursive: true })
    writeFileSync(join(tree, 'other/file'), 'private\n')
    chownSync(join(tree, 'other'), 7, 7)
    chmodSync(join(tree, 'other'), 0o700)
    for (const path of [folder, tree]) chmodSync(path, 0o755)
    return await mksquashfs(tree, join(folder, 'private.sqfs'))
  }

  /** What root of a user namespace that does not have user 7 reads. */
  const inNamespace = (program: string, image: string, { target, runDir }: Scene, options: string) =>
    run(
      'unshare',
      ['-Urm', 'sh', '-c', '"$0" -o "$3" "$1" "$2" && cat "$2/other/file"', program, image, target, options],
      { env: { ATOMFS_TEST_RUN_DIR: runDir }, allowFailure: true },
    )

  test('a caller in a user namespace reads what his namespace has no owner for, as with the original', async () => {
    await inScene(async (scene) => {
      const image = await privateImage(scene)
      const program = join(links, 'squashfuse_ll')
      const read = { status: 0, stdout: 'private\n', stderr: '' }
      expect(await inNamespace(program, image, scene, 'allow_other,ro')).toMatchObject(read)
      if (withOther.ok) expect(await inNamespace('squashfuse_ll', image, scene, 'ro')).toMatchObject(read)
      expect(await inNamespace(program, image, scene, 'allow_other,default_permissions')).toMatchObject({
        status: 1,
        stdout: '',
        stderr: expect.stringContaining('Permission denied'),
      })
    })
  })

  test.skipIf(!isInitialUserNamespace())(
    titled('users whom root lets in are bound by permissions', {
      ...withNamespace,
      ok: isInitialUserNamespace(),
      reason: 'needs the initial user namespace',
    }),
    async () => {
      await inScene(async (scene) => {
        const { target } = scene
        const image = await privateImage(scene)
        expect(await called('squashfuse', scene, ['-o', 'allow_other', image, target])).toMatchObject(SILENT)
        const as = (user: number) =>
          run('setpriv', [`--reuid=${user}`, '--clear-groups', 'cat', join(target, 'other/file')], {
            allowFailure: true,
          })
        expect(await as(8)).toMatchObject({ status: 1, stderr: expect.stringContaining('Permission denied') })
        expect(await as(7)).toMatchObject({ status: 0, stdout: 'private\n' })
      })
    },
  )
})

describe.skipIf(!need.ok)(titled('timeout=', need), () => {
  const mountFor = async (scene: Scene, seconds: number) => {
    const args = ['-o', `timeout=${seconds}`, life.image, scene.target]
    expect(await called('squashfuse_ll', scene, args)).toMatchObject(SILENT)
  }
  const endOf = ({ target, runDir }: Scene) =>
    until(() => !isMounted(target) && entries(runDir).length === 0, 'the end of the idle mount')

  test('a mount that nobody uses ends', async () => {
    await inScene(async (scene) => {
      await mountFor(scene, 1)
      await endOf(scene)
    })
  })

  // At once, because each waits most of the time.
  test.concurrent.each([
    ['an open file', 'exec sleep 60 <etc/motd'],
    ['an open directory', 'exec sleep 60 <etc'],
    ['a working directory', 'exec sleep 60'],
  ])('%s keeps a mount, which ends after it', async (what, script) => {
    await inScene(async (scene) => {
      const { target } = scene
      await mountFor(scene, 3)
      const held = what === 'a working directory' ? script : `${script.replace('<', `<${target}/`)}`
      const cwd = what === 'a working directory' ? target : '/'
      const user = spawn('sh', ['-c', held], { cwd, stdio: 'ignore' })
      try {
        // Longer than it takes without a user.
        await new Promise((resolve) => setTimeout(resolve, 8000))
        expect(isMounted(target)).toBe(true)
      } finally {
        const closed = once(user, 'close')
        user.kill('SIGKILL')
        await closed
      }
      await endOf(scene)
    })
  })

  test('a mount without timeout=, or with 0, does not count what is open', async () => {
    await inScene(async (scene) => {
      await mountFor(scene, 0)
      const fd = openSync(join(scene.target, 'etc/motd'), 'r')
      const { stdout } = await scene.atomfs('status', '--json', scene.target)
      closeSync(fd)
      expect(JSON.parse(stdout)).toMatchObject({ counters: { openFiles: 0 } })
    })
  })
})

describe.skipIf(!withOther.ok)(titled('beside squashfuse of this machine', withOther), () => {
  /** What the original of an older version exits with for usage. */
  const OLD_USAGE = 254

  test.each(NAMES)('%s exits with the code of the original', async (name) => {
    await inScene(async (scene) => {
      const { folder, target } = scene
      writeFileSync(join(folder, 'bad'), Buffer.alloc(8192))
      const behind = Buffer.concat([Buffer.alloc(8192), readFileSync(life.image)])
      writeFileSync(join(folder, 'behind'), behind)
      const calls = [
        [],
        ['-h'],
        [life.image],
        [life.image, target],
        [life.image, target, 'x'],
        ['bad', target],
        ['missing', target],
        [life.image, 'missing'],
        ['-z', life.image, target],
        ['--foo', life.image, target],
        ['-o', 'nix', life.image, target],
        ['-o', 'offset=x', life.image, target],
        ['-o', 'offset=10', life.image, target],
        ['-o', 'offset=8192', 'behind', target],
        ['-o', 'rw,dev,suid,noatime,fsname=x,subtype=y,clone_fd,max_idle_threads=2', life.image, target],
        ['-o', 'allow_root,auto_unmount', life.image, target],
      ]
      const codes = async (call: (args: readonly string[]) => Promise<RunResult>) => {
        const seen: unknown[] = []
        for (const args of calls) {
          const { status } = await call(args)
          const mounted = isMounted(target)
          if (mounted) await unmount(target)
          seen.push([args.join(' '), status === OLD_USAGE ? 2 : status, mounted])
        }
        return seen
      }
      const theirs = await codes((args) =>
        run(name, args, { cwd: folder, allowFailure: true, timeout: 20_000 }),
      )
      expect(await codes((args) => called(name, scene, args))).toEqual(theirs)
    })
  })

  test.each(NAMES)('%s shows the tree of the original', async (name) => {
    await inScene(async (scene) => {
      const { target } = scene
      const show = async (mounting: Promise<RunResult>) => {
        expect(await mounting).toMatchObject(SILENT)
        await until(() => isMounted(target), 'the mount')
        const tree = walkTree(target)
        await unmount(target)
        return tree
      }
      const theirs = await show(run(name, [life.image, target], { allowFailure: true, timeout: 20_000 }))
      const ours = await show(called(name, scene, [life.image, target]))
      expect(compareTrees(ours, theirs)).toEqual([])
    })
  })
})
