import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isMounted, makeTempDir, needs, removeTempDir, run, titled, withTempDir } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { type ApptainerImage, CALLERS, makeApptainerImage, makePlace } from '../library/scenes/apptainer.ts'
import { inScene } from '../library/scenes/life.ts'

/** The way in which enroot starts squashfuse and fuse-overlayfs, and how they end with it. */

const need = needs('root', 'fuse', 'mksquashfs', 'setpriv', 'setsid', 'bash', 'mountpoint', 'userns-of-users')

/**
 * What enroot starts in a process group of its own: the two programs in the foreground, and then it stops itself
 * (enroot: runtime.sh, `_mount_rootfs_shim`). enroot looks a hundred times at most.
 */
const SHIM = `
  trap 'kill -KILL 0' EXIT
  wait_for() {
    looks=0
    until mountpoint -q "$1"; do
      kill -0 "$!" || exit 1
      looks=$((looks + 1))
      sleep 0.001
    done
    echo "$looks" >>looks
  }
  squashfuse -f -o "uid=$EUID,gid=$(stat -c %g /proc/self/)" "$IMAGE" rootfs/lower &
  echo "$!" >pids
  wait_for rootfs/lower
  FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT=y fuse-overlayfs -f -o \
    "lowerdir=$PWD/rootfs/lower,upperdir=$PWD/rootfs/upper,workdir=$PWD/rootfs/work" "$PWD/rootfs" &
  echo "$!" >>pids
  wait_for "$PWD/rootfs"
  kill -STOP "$$"`

/** 147 is the status of a job that was stopped by SIGSTOP. */
const ENROOT = `
  mkdir -p rootfs/lower rootfs/upper rootfs/work
  set -m
  bash --norc -c "$SHIM" >output 2>&1 &
  wait "$!"
  echo "$?"
  set +m
  cat rootfs/etc/motd
  stat -c %u:%g rootfs/usr
  echo new >rootfs/etc/new
  rm rootfs/etc/motd
  ls -A rootfs/etc`

/** Whether all threads of a process are stopped. */
function isStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).every((id) => /^State:\s*T/m.test(readFileSync(`${tasks}/${id}/status`, 'utf8')))
}

describe.skipIf(!need.ok)(titled('enroot', need), () => {
  let images: ApptainerImage
  beforeAll(async () => {
    images = await makeApptainerImage(makeTempDir())
  })
  afterAll(() => removeTempDir(images.folder))

  test('the programs mount for enroot, say nothing, and end when the kernel hangs up their orphaned group', async () => {
    await withTempDir(async (folder) => {
      const { runDir } = makePlace(folder, 'root of a user namespace', images)
      const { enter } = CALLERS['root of a user namespace']
      // Without --norc bash reads ~/.bashrc where its input is a socket and no shell has started it. In a session of its own,
      // or the group has a relative in this one and does not count as orphaned.
      const { stdout } = await run('setsid', ['-w', ...enter, 'bash', '--norc', '-c', ENROOT], {
        cwd: folder,
        env: {
          PATH: `${images.links}:${process.env['PATH']}`,
          IMAGE: images.image,
          SHIM,
          ATOMFS_TEST_RUN_DIR: runDir,
        },
        timeout: 120_000,
      })
      const textOf = (name: string) => readFileSync(join(folder, name), 'utf8')
      const pids = textOf('pids').trim().split('\n').map(Number)
      try {
        expect([stdout, textOf('output')]).toEqual(['147\nhello\n0:0\nnew\n', ''])
        const ms = await until(() => pids.every(isGone), 'the end of the programs')
        console.log(`looks: ${textOf('looks').replaceAll('\n', ' ')}of 100; gone after ${ms.toFixed(0)} ms`)
        expect(existsSync(join(folder, 'rootfs/upper/etc/.wh.motd'))).toBe(true)
      } finally {
        for (const pid of pids) if (!isGone(pid)) process.kill(pid, 'SIGKILL')
      }
    })
  })

  // The kernel does not end a thread that waits for an answer: with its other threads dead, the program that is asked
  // by the overlay would stay for ever.
  test('the program of a layer ends without asking the overlay above the folder in which it is mounted', async () => {
    await inScene(async ({ folder, runDir }) => {
      const rootfs = join(folder, 'rootfs')
      for (const name of ['lower', 'upper', 'work']) mkdirSync(join(rootfs, name), { recursive: true })
      const start = (name: string, ...args: string[]) =>
        spawn(join(images.links, name), ['-f', ...args], {
          stdio: 'ignore',
          env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir },
        })
      const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => join(rootfs, name))
      const layer = start('squashfuse', images.image, lower!)
      const programs = [layer]
      try {
        await until(() => isMounted(lower!), 'the layer')
        const overlay = start(
          'fuse-overlayfs',
          '-o',
          `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
          rootfs,
        )
        programs.push(overlay)
        await until(() => isMounted(rootfs), 'the overlay')
        expect((await run('cat', [join(rootfs, 'etc/motd')])).stdout).toBe('hello\n')
        overlay.kill('SIGSTOP')
        await until(() => isStopped(overlay.pid!), 'the stop of the overlay')
        layer.kill('SIGTERM')
        await until(() => isGone(layer.pid!), 'the end of the program of the layer')
      } finally {
        for (const program of programs) {
          program.kill('SIGCONT')
          program.kill('SIGTERM')
        }
        await until(() => programs.every(({ pid }) => isGone(pid!)), 'the end of the programs')
      }
    })
  })
})
