import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  daemonPid,
  isMounted,
  needs,
  type RunResult,
  removeTempDir,
  run,
  titled,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import {
  entries,
  inScene,
  type LifeImage,
  makeLifeImage,
  type Scene,
  SILENT,
} from '../library/scenes/life.ts'

/** What the surroundings of a mount may lack when one process that the launcher waits for makes it. */

const need = needs('root', 'fuse', 'mksquashfs', 'unshare', 'setsid', 'script')

let life: LifeImage
beforeAll(async () => {
  if (need.ok) life = await makeLifeImage()
})
afterAll(() => {
  if (need.ok) removeTempDir(life.folder)
})

/** Runs a shell with the launcher as `$0`, and image and target as `$1` and `$2`. */
function inShell(
  scene: Scene,
  script: string,
  env: Readonly<Record<string, string>> = {},
): Promise<RunResult> {
  return run('sh', ['-c', script, ATOMFS_FUSE, life.image, scene.target], {
    env: { ATOMFS_TEST_RUN_DIR: scene.runDir, XDG_CACHE_HOME: join(scene.folder, 'cache'), ...env },
    allowFailure: true,
  })
}

async function expectServing({ target, runDir, atomfs }: Scene): Promise<void> {
  expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
  const pid = daemonPid(runDir)
  expect((await atomfs('status', target)).stdout).toMatch(new RegExp(`process: +${pid},`))
  // Nothing but /dev/null, and no descriptor of the caller.
  for (const fd of [0, 1, 2]) expect(readlinkSync(`/proc/${pid}/fd/${fd}`)).toBe('/dev/null')
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
  expect(links.filter((link) => link === life.folder || link.startsWith('/dev/pts/'))).toEqual([])
  expect(await atomfs('umount', target)).toMatchObject(SILENT)
}

describe.skipIf(!need.ok)(titled('the surroundings of a mount', need), () => {
  test.each([
    ['nothing closed', 'exec "$0" mount "$1" "$2"'],
    ['closed standard input', 'exec "$0" mount "$1" "$2" <&-'],
    ['closed standard output', 'exec "$0" mount "$1" "$2" >&-'],
    ['closed standard error', 'exec "$0" mount "$1" "$2" 2>&-'],
    ['all three closed', 'exec "$0" mount "$1" "$2" <&- >&- 2>&-'],
    ['further descriptors', `exec 3>&1 5<"\${1%/*}" 8>&2; exec "$0" mount "$1" "$2"`],
    ['no hang-up', 'exec nohup "$0" mount "$1" "$2" </dev/null 2>/dev/null'],
    // As sshd starts a command: all three are sockets, and it waits for their other ends to close.
    ['a session without a terminal', 'exec setsid -w "$0" mount "$1" "$2"'],
    [
      'a terminal that closes',
      `export program="$0" image="$1" target="$2"
      exec script -qec 'exec "$program" mount "$image" "$target"' /dev/null </dev/null`,
    ],
    ['a parent that reads its output to the end', 'said=$("$0" mount "$1" "$2" 2>&1) && [ -z "$said" ]'],
    ['an address space of 4 GiB', 'ulimit -v 4194304; exec "$0" mount "$1" "$2"'],
    ['no HOME', 'unset HOME XDG_CACHE_HOME; exec "$0" mount "$1" "$2"'],
    [
      'an empty environment',
      'exec env -i PATH="$PATH" ATOMFS_TEST_RUN_DIR="$ATOMFS_TEST_RUN_DIR" "$0" mount "$1" "$2"',
    ],
    ['an alias', 'exec bash -c \'exec -a other "$0" "$@"\' "$0" mount "$1" "$2"'],
    ['a cache that is a file', 'XDG_CACHE_HOME=$1 exec "$0" mount "$1" "$2"'],
    ['hidden settings of Node', 'NODE_V8_COVERAGE=/nowhere NODE_DEBUG=fs exec "$0" mount "$1" "$2"'],
  ])('a mount serves, and prints nothing: %s', async (_, script) => {
    await inScene(async (scene) => {
      // Twice: with and without compiled code.
      for (const _round of [1, 2]) {
        expect(await inShell(scene, script)).toMatchObject(SILENT)
        await expectServing(scene)
      }
    })
  })

  test('a mount serves where PATH has no Node, by the one that was written down', async () => {
    await inScene(async (scene) => {
      const place = join(scene.folder, 'package')
      mkdirSync(join(place, 'bin'), { recursive: true })
      copyFileSync(ATOMFS_FUSE, join(place, 'bin/atomfs-fuse'))
      writeFileSync(join(place, 'bin/node-path'), `${process.execPath}\n`)
      for (const name of ['dist', 'node_modules', 'package.json'])
        symlinkSync(join(dirname(ATOMFS_FUSE), '..', name), join(place, name))
      const script = `PATH=/nonexistent exec "${place}/bin/atomfs-fuse" mount "$1" "$2"`
      expect(await inShell(scene, script)).toMatchObject(SILENT)
      await expectServing(scene)
    })
  })

  test('a mount serves where the root is read-only', async () => {
    await inScene(async (scene) => {
      mkdirSync(scene.runDir)
      const script = `
        mount --bind "$ATOMFS_TEST_RUN_DIR" "$ATOMFS_TEST_RUN_DIR"
        mount -o remount,ro,bind / || { mount --rbind / /mnt && mount -o remount,ro,bind /mnt && exit 9; }
        unset XDG_CACHE_HOME
        "$0" mount "$1" "$2" && cat "$2/etc/motd" && "$0" umount "$2"`
      const result = await run(
        'unshare',
        ['-m', '--propagation', 'private', 'sh', '-c', script, ATOMFS_FUSE, life.image, scene.target],
        { env: { ATOMFS_TEST_RUN_DIR: scene.runDir }, allowFailure: true },
      )
      expect(result).toMatchObject({ status: 0, stdout: 'hello\n', stderr: '' })
    })
  })

  test('without /proc there is one line, and no mount', async () => {
    await inScene(async (scene) => {
      const script = 'while umount -l /proc 2>/dev/null; do :; done; "$0" mount "$1" "$2"'
      const { status, stdout, stderr } = await run(
        'unshare',
        ['-m', '--propagation', 'private', 'sh', '-c', script, ATOMFS_FUSE, life.image, scene.target],
        { env: { ATOMFS_TEST_RUN_DIR: scene.runDir }, allowFailure: true },
      )
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
      expect(stderr).toMatch(/^Error: [^\n]*\/proc[^\n]*\n$/)
      expect(entries(scene.runDir)).toEqual([])
    })
  })

  test.each([20, 60, 120, 200, 300])('Ctrl-C after %i ms leaves a whole mount or nothing', async (delay) => {
    await inScene(async (scene) => {
      const child = spawn(ATOMFS_FUSE, ['mount', life.image, scene.target], {
        stdio: 'ignore',
        // A process group of its own, as a shell with job control makes it.
        detached: true,
        env: { ...process.env, ATOMFS_TEST_RUN_DIR: scene.runDir },
      })
      const end = once(child, 'close')
      await new Promise((resolve) => setTimeout(resolve, delay))
      try {
        process.kill(-child.pid!, 'SIGINT')
      } catch {
        // It was faster.
      }
      const [code] = await end
      if (code === 0) await expectServing(scene)
      else {
        await until(() => !isMounted(scene.target) && entries(scene.runDir).length === 0, 'nothing left')
      }
    })
  })

  test('a mount prints what the program prints, for warnings and for failures', async () => {
    await inScene(async (scene) => {
      const overlay =
        'exec "$(dirname "$0")/../link/fuse-overlayfs" -o lowerdir="$(dirname "$1")/tree,nonsense" --odd "$2"'
      const link = join(scene.folder, 'link')
      mkdirSync(link)
      await run(ATOMFS_FUSE, ['install-links', link])
      const said = await inShell(scene, overlay.replace('$(dirname "$0")/../link', link))
      expect(said).toMatchObject({ status: 0, stdout: '' })
      expect(said.stderr).toMatch(/^unknown argument ignored: --odd\n[^\n]*nonsense[^\n]*\n$/)
      await scene.atomfs('umount', scene.target)
      const failed = await inShell(scene, 'exec "$0" mount "$1.missing" "$2"')
      expect(failed).toMatchObject({ status: 1, stdout: '' })
      expect(failed.stderr).toMatch(/^Error: [^\n]*missing[^\n]*\n$/)
    })
  })

  test('the mount ends while it is young, and its process with it', async () => {
    await inScene(async (scene) => {
      expect(await inShell(scene, 'exec "$0" mount "$1" "$2"')).toMatchObject(SILENT)
      const pid = daemonPid(scene.runDir)
      await run('umount', [scene.target])
      await until(() => isGone(pid), 'the end of the daemon')
      expect(entries(scene.runDir)).toEqual([])
    })
  })

  test('compiled code is kept in the folder of the user', async () => {
    await inScene(async (scene) => {
      expect(await inShell(scene, 'exec "$0" mount "$1" "$2"')).toMatchObject(SILENT)
      const cache = join(scene.folder, 'cache/atomfs-fuse')
      const kept = (): string[] => readdirSync(cache).map((name) => name.split('-')[0]!)
      await until(() => kept().includes('mount') && kept().includes('dispatcher'), 'compiled code')
      // Held no longer: the file system of the cache can be unmounted.
      const pid = daemonPid(scene.runDir)
      const isHeld = (): boolean =>
        readdirSync(`/proc/${pid}/fd`).some((fd) => {
          try {
            return readlinkSync(`/proc/${pid}/fd/${fd}`) === cache
          } catch {
            return false
          }
        })
      await until(() => !isHeld(), 'the folder to be let go')
      expect(dirname(cache)).toBe(join(scene.folder, 'cache'))
      await scene.atomfs('umount', scene.target)
    })
  })
})
