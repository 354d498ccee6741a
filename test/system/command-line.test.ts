import { chownSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  appendVerity,
  daemonPid,
  isMounted,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  withTempDir,
  writeOciLayout,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, inScene, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'

/** What the caller hands to a mount beside an image: its environment, its options, its words. */

const need = needs('root', 'fuse', 'mksquashfs')

const needHelper = needs('root', 'fuse', 'mksquashfs', 'fusermount3', 'setpriv', 'unshare')
/** The number of nobody: the helper asks for the name of its caller. */
const uid = 65_534
/** What comes before a command that he runs, with a device that he may open. */
const asUser = (folder: string): readonly string[] => [
  ...['unshare', '-m', 'sh', '-c'],
  `[ -e "$0/fuse" ] || mknod -m 0666 "$0/fuse" c 10 229; mount --bind "$0/fuse" /dev/fuse
   exec setpriv --reuid=${uid} --regid=${uid} --clear-groups "$@"`,
  folder,
]

let life: LifeImage
beforeAll(async () => {
  if (need.ok) life = await makeLifeImage()
})
afterAll(() => {
  if (need.ok) removeTempDir(life.folder)
})

describe.skipIf(!need.ok)(titled('the environment of a daemon', need), () => {
  test('the environment of a daemon has the listed variables only, and none that loads code', async () => {
    await inScene(async ({ target, runDir, atomfs }) => {
      const env = {
        ATOMFS_TEST_RUN_DIR: runDir,
        TZ: 'UTC',
        LC_TIME: 'C',
        NODE_OPTIONS: '--no-deprecation',
        NODE_PATH: '/nowhere',
        NODE_EXTRA_CA_CERTS: '/dev/null',
        LD_LIBRARY_PATH: '/nowhere',
        LD_PRELOAD: '',
        NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere/driver.node',
        SECRET: 'x',
      }
      expect(await run(ATOMFS_FUSE, ['mount', life.image, target], { env })).toMatchObject(SILENT)
      const text = readFileSync(`/proc/${daemonPid(runDir)}/environ`, 'utf8')
      const names = text.split('\0').map((entry) => entry.split('=')[0] ?? '')
      expect(names).toEqual(expect.arrayContaining(['ATOMFS_TEST_RUN_DIR', 'TZ', 'LC_TIME', 'PATH']))
      expect(names.filter((name) => /^(NODE_|LD_|NAPI_|SECRET)/.test(name))).toEqual([])
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
    })
  })
})

/** The options of the mount and of its file system as the kernel shows them (proc_pid_mountinfo(5)). */
function shownOptions(target: string): readonly string[] {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((one) => one.split(' ')[4] === target)
  const fields = (line ?? '').split(' ')
  return [...(fields[5] ?? '').split(','), ...(fields.at(-1) ?? '').split(',')]
}

describe.skipIf(!need.ok)(titled('options of mount(8)', need), () => {
  test.each([
    ['noatime', ['noatime']],
    ['relatime,nodiratime', ['relatime', 'nodiratime']],
    ['sync,dirsync', ['sync', 'dirsync', 'relatime']],
    ['async,loop,iversion,defaults,_netdev,subtype=x', ['relatime']],
  ])('the mount has the options of mount(8): %s', async (list, shown) => {
    await inScene(async ({ target, atomfs }) => {
      expect(await atomfs('mount', '-o', `rw,${list}`, life.image, target)).toMatchObject(SILENT)
      const options = shownOptions(target)
      expect(options).toEqual(expect.arrayContaining([...shown, 'ro']))
      const others = ['noatime', 'relatime', 'nodiratime', 'sync', 'dirsync'].filter(
        (one) => !shown.includes(one),
      )
      expect(options.filter((one) => others.includes(one))).toEqual([])
    })
  })

  test('nosymfollow shows links and does not follow them', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const tree = join(folder, 'tree')
      mkdirSync(tree)
      writeFileSync(join(tree, 'file'), 'x')
      symlinkSync('file', join(tree, 'link'))
      const image = await mksquashfs(tree, join(folder, 'image'))
      expect(await atomfs('mount', '-o', 'nosymfollow', image, target)).toMatchObject(SILENT)
      expect((await run('readlink', [join(target, 'link')])).stdout).toBe('file\n')
      const followed = await run('cat', [join(target, 'link')], { allowFailure: true })
      expect(followed.stderr).toMatch(/Too many levels of symbolic links/)
    })
  })

  test('a call without a verb mounts', async () => {
    await inScene(async ({ target, atomfs }) => {
      expect(await atomfs(life.image, target, '-o', 'rw,nodev')).toMatchObject(SILENT)
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      expect(await atomfs('-o', 'ro', life.image, target)).toMatchObject(SILENT)
      const wrong = await atomfs('mout', life.image, target)
      expect(wrong).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/unknown command 'mout'.*mount/),
      })
    })
  })
})

// mount(8) has a PATH of its own, in which the launcher must find a Node.
const needMount = needs('root', 'fuse', 'mksquashfs', 'mount.fuse3', 'node-in-place')

describe.skipIf(!needMount.ok)(titled('mount(8)', needMount), () => {
  test('mount(8) mounts through mount.fuse3, with the options that it adds', async () => {
    await inScene(async ({ target, runDir }) => {
      const env = { ATOMFS_TEST_RUN_DIR: runDir }
      const options = 'noatime,nosymfollow,_netdev,x-gvfs-hide'
      await run('mount', ['-t', 'fuse', '-o', options, `${ATOMFS_FUSE}#${life.image}`, target], { env })
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      expect(shownOptions(target)).toEqual(expect.arrayContaining(['ro', 'noatime', 'nosymfollow']))
      const pid = daemonPid(runDir)
      await run('umount', [target])
      await until(() => isGone(pid), 'the end of the daemon')
    })
  })
})

describe.skipIf(!need.ok)(titled('a mount that is bound to a second place', need), () => {
  test('a bind mount of a mount still works after the mount is unmounted, and the daemon ends with it', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      const other = join(folder, 'other')
      mkdirSync(other)
      await atomfs('mount', '--persist', join(folder, 'changes'), life.image, target)
      const pid = daemonPid(runDir)
      await run('mount', ['--bind', target, other])
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      expect(isMounted(target)).toBe(false)
      await run('sh', ['-c', `echo changed >${other}/etc/motd`])
      expect(isGone(pid)).toBe(false)
      expect((await atomfs('status', other)).stdout).toContain(`process:   ${pid},`)
      expect(await atomfs('umount', other)).toMatchObject(SILENT)
      await until(() => isGone(pid), 'the end of the daemon')
      expect(entries(runDir)).toEqual([])
      expect(readFileSync(join(folder, 'changes/persist/etc/motd'), 'utf8')).toBe('changed\n')
    })
  })
})

describe.skipIf(!need.ok)(titled('the name of an image', need), () => {
  test('every command accepts a layout without a tag and an image by its digest', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const layout = join(folder, 'layout')
      await writeOciLayout(layout, [{ layers: [{ file: life.image }] }])
      const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))
      const { digest } = index.manifests[0]
      for (const source of [
        layout,
        `oci:${layout}`,
        `${layout}:`,
        `${layout}@${digest}`,
        `${layout}:${digest}`,
      ]) {
        const report = await atomfs('inspect', '--json', source)
        expect([source, JSON.parse(report.stdout).manifestDigest]).toEqual([source, digest])
      }
      expect(await atomfs('mount', '--allow-missing-verity', `${layout}@${digest}`, target)).toMatchObject(
        SILENT,
      )
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      const verdict = await atomfs('verify', layout)
      expect(verdict.stdout).toMatch(/^sha256:[0-9a-f]{64}: not verified \(no root hash\)\n$/)
    })
  })

  test('every command that names an image accepts --offset', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const file = join(folder, 'with-head')
      writeFileSync(file, Buffer.concat([Buffer.alloc(8192, 7), readFileSync(life.image)]))
      expect(await atomfs('mount', '--offset', '8K', file, target)).toMatchObject(SILENT)
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      expect((await atomfs('inspect', '--offset', '8192', file)).status).toBe(0)
      expect((await atomfs('verify', '--offset', '8192', file)).stdout).toMatch(/not verified/)
      expect((await atomfs('mount', '--offset', '-1', file, target)).stderr).toMatch(
        /^Error: option --offset=-1/,
      )
    })
  })

  test('a malformed root hash is an error, and is not reported as corruption', async () => {
    await withTempDir(async (folder) => {
      const file = join(folder, 'image')
      writeFileSync(file, readFileSync(life.image))
      const { rootHash } = await appendVerity(file)
      await inScene(async ({ atomfs }) => {
        expect((await atomfs('verify', '--root-hash', rootHash, file)).status).toBe(0)
        for (const wrong of ['00', 'zz', rootHash.slice(1), rootHash.slice(24), `${rootHash}${rootHash}`]) {
          const { status, stdout, stderr } = await atomfs('verify', '--root-hash', wrong, file)
          expect([wrong, status, stdout]).toEqual([wrong, 1, ''])
          expect(stderr).toMatch(/^Error: .*(hex digit|root hash has (20|64) bytes)/)
        }
        const other = `${rootHash.slice(2)}00`
        expect((await atomfs('verify', '--root-hash', other, file)).stdout).toMatch(/CORRUPTION FOUND/)
      })
    })
  })
})

describe.skipIf(!need.ok)(titled('paths that are not UTF-8', need), () => {
  /** $1 is the program, $2 an image with etc/motd, $3 an image layout with one image. Ends at the first failure. */
  const SCRIPT = `
    set -e
    atomfs=$1; odd=$(printf 'x\\377\\376y'); other=$(printf 'x\\377\\375y')
    reads() { test "$(cat "$1/etc/motd")" = hello; }
    mkdir "$odd" "$other" "$odd/mnt" m
    cp "$2" "$odd.sqfs"; cp -r "$3" "$odd.oci"
    "$atomfs" mount "$odd.sqfs" m; reads m; "$atomfs" umount m
    "$atomfs" mount --allow-missing-verity "$odd.oci" m; reads m; "$atomfs" umount m
    "$atomfs" mount "$2" "./$odd"; "$atomfs" mount "$2" "$PWD/$other"
    reads "$odd"; reads "$other"
    "$atomfs" status --json "$odd" | grep -qF '"target": "'"$PWD"'/x\\udcff\\udcfey"'
    "$atomfs" status | grep -qF 'x\\xff\\xfey'
    "$atomfs" verify "$odd" | grep -q 'not verified'
    "$atomfs" umount "$other"; reads "$odd"; "$atomfs" umount "$odd"
    cd "$odd"; "$atomfs" mount "$2" mnt; reads mnt; "$atomfs" umount mnt; cd ..
    "$atomfs" verify "$odd.sqfs" | grep -qF 'x\\xff\\xfey.sqfs: not verified'
    mkdir "$odd/low" "$odd/low/etc" "$odd/up" "$odd/work"; echo hello >"$odd/low/etc/motd"
    "$atomfs" overlay -o "lowerdir=$odd/low,upperdir=$odd/up,workdir=$odd/work" m; reads m
    echo x >m/new; "$atomfs" umount m; test -e "$odd/up/new"
    "$atomfs" mount --upper "$odd/u2" --log "$odd/log" "$2" m; echo x >m/new; "$atomfs" umount m; test -e "$odd/u2/new"
    "$atomfs" mount --persist "$odd/p" "$2" m; echo x >m/new; "$atomfs" umount m; test -e "$odd/p/persist/new"
    unset ATOMFS_TEST_RUN_DIR
    "$atomfs" mount --metadir "$odd/meta" "$2" m; test -e "$odd/meta/meta"
    "$atomfs" status --metadir "$odd/meta" | grep -q "$PWD/m"; "$atomfs" umount --metadir "$odd/meta" m`

  async function inLayout(enter: (folder: string) => readonly string[], script: string): Promise<void> {
    await inScene(async ({ folder, runDir }) => {
      const layout = join(folder, 'layout')
      await writeOciLayout(layout, [{ layers: [{ file: life.image }] }])
      const [program = '', ...args] = [
        ...enter(folder),
        'bash',
        '--norc',
        '-c',
        script,
        'bash',
        ATOMFS_FUSE,
        life.image,
        layout,
      ]
      const env = { ATOMFS_TEST_RUN_DIR: runDir }
      const result = await run(program, args, { cwd: folder, env, allowFailure: true })
      expect(result).toMatchObject(SILENT)
      expect(entries(runDir)).toEqual([])
    })
  }

  test('every path on the command line may have bytes that are not UTF-8', async () => {
    await inLayout(() => [], SCRIPT)
  })

  test.skipIf(!needHelper.ok)(
    titled('fusermount3 gets a target that is not UTF-8 unchanged', needHelper),
    async () => {
      const script = `
      set -e; odd=$(printf 'x\\377\\376y'); mkdir "$odd"
      "$1" mount "$2" "$odd"; test "$(cat "$odd/etc/motd")" = hello; "$1" umount "$odd"; rmdir "$odd"`
      await inLayout((folder) => {
        chownSync(folder, uid, uid)
        return asUser(folder)
      }, script)
    },
  )
})

describe.skipIf(!needHelper.ok)(titled('a writable mount of a plain user', needHelper), () => {
  test('a plain user who mounts an image of root as writable is told that root owns it, and what helps', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      for (const path of [folder, target]) chownSync(path, uid, uid)
      const [program = '', ...words] = asUser(folder)
      const script =
        '"$0" mount $3 --writeable "$1" "$2" && touch "$2/new"; code=$?; "$0" umount "$2"; exit $code'
      const mount = (options: string) =>
        run(program, [...words, 'sh', '-c', script, ATOMFS_FUSE, life.image, target, options], {
          env: { ATOMFS_TEST_RUN_DIR: runDir },
          allowFailure: true,
        })
      const refused = await mount('')
      expect(refused.status).toBe(1)
      expect(refused.stderr).toMatch(
        /^Warning: the root directory of .* cannot be written to: with -o uid=me,gid=me .*\ntouch: .*denied\n$/,
      )
      expect(await mount('-o uid=me,gid=me')).toMatchObject(SILENT)
    })
  })
})
