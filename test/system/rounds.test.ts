import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  atomfsFuse,
  daemonPid,
  isMounted,
  mountsBelow,
  removeTempDir,
  run,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, inScene, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'

/** Many mounts, at once and one after another. More of them by ATOMFS_TEST_ROUNDS and ATOMFS_TEST_MOUNTS. */

const ROUNDS = Number(process.env['ATOMFS_TEST_ROUNDS'] ?? 10)
const MOUNTS = Number(process.env['ATOMFS_TEST_MOUNTS'] ?? 60)
/** Starts at the same time. */
const AT_ONCE = 8

let life: LifeImage

beforeAll(async () => {
  life = await makeLifeImage()
})

afterAll(() => removeTempDir(life.folder))

/** Processes that were started with this runtime folder: daemons and helpers, not the test itself. */
function processesOf(runDir: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(runDir) && !isGone(pid)
      } catch {
        return false
      }
    })
}

async function untilAllEnded(runDir: string): Promise<void> {
  await until(() => processesOf(runDir).length === 0, 'the end of all processes', 60_000)
}

async function forEach(count: number, action: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await action(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

const temporaries = (): string[] =>
  readdirSync(join(life.folder, '..')).filter((name) => /^atomfs-(?!test-|\d)/.test(name))

describe('many mounts', () => {
  test(`${MOUNTS} mounts of the same image work at the same time`, async () => {
    await inScene(async ({ folder, runDir }) => {
      const targets = Array.from({ length: MOUNTS }, (_, i) => join(folder, `m${i}`))
      for (const target of targets) mkdirSync(target)
      const mount = async (i: number): Promise<void> => {
        expect(
          await atomfsFuse(['mount', '-o', 'threads=1,cache_size=4M', life.image, targets[i]!], { runDir }),
        ).toMatchObject(SILENT)
      }
      await forEach(MOUNTS, mount)
      expect(mountsBelow(folder)).toHaveLength(MOUNTS)
      expect(entries(runDir)).toHaveLength(MOUNTS)
      const { stdout } = await run(ATOMFS_FUSE, ['status', '--json'], {
        env: { ATOMFS_TEST_RUN_DIR: runDir },
      })
      expect(JSON.parse(stdout)).toHaveLength(MOUNTS)
      const read = await run(
        'cat',
        targets.map((target) => join(target, 'etc/motd')),
      )
      expect(read.stdout).toBe('hello\n'.repeat(MOUNTS))
      // By umount(8): each daemon has to see the end of its own mount.
      await run('umount', targets)
      await untilAllEnded(runDir)
      expect(mountsBelow(folder)).toEqual([])
      expect(entries(runDir)).toEqual([])
    })
  })

  test('mounts on the same target in different mount namespaces are independent', async () => {
    await inScene(async ({ target, runDir, atomfs }) => {
      expect(await atomfs('mount', life.image, target)).toMatchObject(SILENT)
      const script =
        '"$0" umount "$2"; "$0" mount -o fsname=inner "$1" "$2"; cat "$2/etc/motd"; "$0" umount "$2"'
      // In a namespace of its own the outer mount is a copy that may go away.
      const inner = await run('unshare', ['-m', 'sh', '-c', script, ATOMFS_FUSE, life.image, target], {
        env: { ATOMFS_TEST_RUN_DIR: runDir },
      })
      expect(inner.stdout).toBe('hello\n')
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      await untilAllEnded(runDir)
      expect(entries(runDir)).toEqual([])
    })
  })

  test('a mount covers a directory that is not empty, and umount shows it again', async () => {
    await inScene(async ({ target, atomfs }) => {
      writeFileSync(join(target, 'own'), 'mine')
      await atomfs('mount', life.image, target)
      expect(readdirSync(target).sort()).toEqual(['big', 'etc'])
      await atomfs('umount', target)
      expect(readFileSync(join(target, 'own'), 'utf8')).toBe('mine')
    })
  })

  test(
    `${ROUNDS} mounts one after another leave nothing behind`,
    async () => {
      await inScene(async ({ target, runDir, atomfs }) => {
        const before = temporaries()
        const sizes: { fds: number; rss: number }[] = []
        for (let round = 0; round < ROUNDS; round++) {
          // What a server has of many mounts is looked at in shared-server-rounds.test.ts.
          expect(await atomfs('mount', '-o', 'server=own', life.image, target)).toMatchObject(SILENT)
          const pid = daemonPid(runDir)
          const rss = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
          sizes.push({ fds: readdirSync(`/proc/${pid}/fd`).length, rss })
          if (round % 2 === 0) await run('umount', [target])
          else expect(await atomfs('umount', target)).toMatchObject(SILENT)
        }
        await untilAllEnded(runDir)
        expect(isMounted(target)).toBe(false)
        expect(entries(runDir)).toEqual([])
        expect(temporaries()).toEqual(before)
        const namespaces = readdirSync(join(runDir, 'meta'))
        expect(namespaces).toEqual([/\d+/.exec(readlinkSync('/proc/self/ns/mnt'))![0]])
        const [first, last] = [sizes[0]!, sizes.at(-1)!]
        expect(last.fds).toBeLessThan(first.fds + 5)
        console.log(
          `${ROUNDS} rounds: descriptors ${first.fds} to ${last.fds}, RSS ${first.rss} to ${last.rss} KiB`,
        )
      })
    },
    2 * 3_600_000,
  )
})

describe('mounts that fail at some step', () => {
  interface Step {
    readonly name: string
    /** Sets the scene in a mount namespace of its own; $1 image, $2 target, $3 folder. */
    readonly before: string
    readonly error: RegExp
  }
  const STEPS: readonly Step[] = [
    { name: 'opening the image', before: 'set -- "$3/none" "$2" "$3"', error: /none/ },
    {
      name: 'reading the image',
      before: 'head -c 2000000 "$1" >"$3/short"; set -- "$3/short" "$2" "$3"',
      error: /short/,
    },
    {
      name: 'the runtime folder on a full disk',
      before:
        'mkdir -p "$ATOMFS_TEST_RUN_DIR"; mount -t tmpfs -o size=4k,nr_inodes=2 none "$ATOMFS_TEST_RUN_DIR"',
      error: /ENOSPC|no folder for runtime data/,
    },
    {
      name: 'the runtime folder without room for a file',
      before:
        'mkdir -p "$ATOMFS_TEST_RUN_DIR"; mount -t tmpfs -o size=64k,nr_inodes=6 none "$ATOMFS_TEST_RUN_DIR"',
      error: /ENOSPC/,
    },
    {
      name: 'a read-only runtime folder',
      before: 'mkdir -p "$ATOMFS_TEST_RUN_DIR"; mount -t tmpfs -o ro none "$ATOMFS_TEST_RUN_DIR"',
      error: /no folder for runtime data/,
    },
    { name: 'opening the device', before: 'mount --bind /dev/null /dev/fuse', error: /\S/ },
    { name: 'descriptors', before: 'ulimit -n 24', error: /\S/ },
    {
      name: 'the root of the image',
      before: 'set -- "$1" "$2" "$3" -o subdir=etc/motd',
      error: /subdir|motd|directory/,
    },
  ]

  test.each(STEPS)('a failed mount leaves nothing behind: $name', async ({ before, error }) => {
    await inScene(async ({ folder, target, runDir }) => {
      const script = `${before}
        image=$1 target=$2 folder=$3; shift 3
        "$0" mount "$@" "$image" "$target"; status=$?
        grep -cF " $target " /proc/self/mountinfo
        find "$ATOMFS_TEST_RUN_DIR" -path '*/servers' -prune -o \\( -type f -o -name control.sock \\) -print
        exit $status`
      const args = ['-m', 'sh', '-c', script, ATOMFS_FUSE, life.image, target, folder]
      const result = await run('unshare', args, {
        env: { ATOMFS_TEST_RUN_DIR: runDir },
        allowFailure: true,
        timeout: 30_000,
      })
      expect(result.stderr).toMatch(/^Error: [^\n]+\n/)
      expect(result.stderr).toMatch(error)
      expect({ status: result.status, left: result.stdout }).toEqual({ status: 1, left: '0\n' })
      await untilAllEnded(runDir)
      // A shared server waits for other mounts for a while.
      expect(existsSync(runDir) ? readdirSync(runDir, { recursive: true }) : []).not.toContainEqual(
        expect.stringMatching(/log$|sock/),
      )
    })
  })
})
