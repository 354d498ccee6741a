import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeTempDir, needs, removeTempDir, run, titled, withTempDir } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import {
  type ApptainerImage,
  CALLERS,
  type CallerName,
  callOf,
  type End,
  makeApptainerImage,
  makePlace,
  needsNamespaces,
  type Place,
  play,
  type Report,
  startCaller,
  withDevice,
} from '../library/scenes/apptainer.ts'
import {
  EVERY_WAY,
  REFUSED,
  ROOT,
  ROWS,
  type Row,
  rowsAs,
  STACK,
  THE_USER,
} from '../library/scenes/apptainer-rows.ts'
import { entries } from '../library/scenes/life.ts'

/**
 * The command lines of Apptainer and SingularityCE, literally, with the rights with which each runs them: what is mounted,
 * what their callers get to see, and how it ends.
 */

const PROGRAMS = ['root', 'fuse', 'mksquashfs', 'mke2fs', 'perl', 'setpriv']
const need = needs(...PROGRAMS)
const withNamespaces = needs(...PROGRAMS, 'userns-of-users')
const withKernel = needs(...PROGRAMS, 'userns-of-users', 'kernel-overlayfs')

let images: ApptainerImage
beforeAll(async () => {
  if (need.ok) images = await makeApptainerImage(makeTempDir())
})

/** Reported, not asserted: machines are busy. */
const times: string[] = []
afterAll(() => {
  if (need.ok) removeTempDir(images.folder)
  for (const line of times) console.log(line)
})

async function inPlace(caller: CallerName, play: (place: Place) => Promise<void>): Promise<void> {
  await withTempDir(async (folder) => {
    const place = makePlace(folder, caller, images)
    await play(place)
    await until(() => entries(place.runDir).length === 0, 'the end of what is in the background')
  })
}

function note(title: string, { rounds, readyMs, endMs }: Report): void {
  const [ready, end] = [readyMs, endMs].map((ms) => ms.toFixed(0).padStart(5))
  times.push(`ready ${ready} ms, ${String(rounds).padStart(3)} looks; end ${end} ms: ${title}`)
}

const GROUPS = [...new Set(ROWS.map(({ by }) => by))].map((by) => ({
  by,
  rows: ROWS.filter((row) => row.by === by),
}))

describe.skipIf(!need.ok)(titled('the command lines of Apptainer and SingularityCE', need), () => {
  for (const { by, rows } of GROUPS) {
    const needed = needsNamespaces(by) ? withNamespaces : need
    test.skipIf(!needed.ok)(titled(`calls as ${by}`, needed), () => expectRows(by, rows))
  }
})

/** All of them with each of the rights: a minute. */
const STRESS = process.env['ATOMFS_STRESS'] === '1'

describe.runIf(need.ok && STRESS)('every command line of Apptainer with all rights (ATOMFS_STRESS=1)', () => {
  for (const by of EVERY_WAY) {
    const needed = needsNamespaces(by) ? withNamespaces : need
    test.skipIf(!needed.ok)(
      titled(`all calls as ${by}`, needed),
      async () => {
        // As many as a session of Apptainer has, and not a machine full of them.
        const rows = rowsAs(by)
        for (let at = 0; at < rows.length; at += 6) await expectRows(by, rows.slice(at, at + 6))
      },
      300_000,
    )
  }
})

const isInUse = (end: End): boolean => end === 'umount while in use, then SIGTERM'

async function expectRows(by: CallerName, rows: readonly Row[]): Promise<void> {
  await inPlace(by, async (place) => {
    const calls = rows.map(({ line, end, isPreloaded }) => callOf(line, place, { end, isPreloaded }))
    const reports = await play(place, { calls })
    expect(reports.length).toBe(rows.length)
    for (const [i, { line, since, owner, writable = false, end = 'umount' }] of rows.entries()) {
      const { seen, exit, stdout, stderr, group, pid } = reports[i]!
      note(`${line.replace('stdbuf -oL ', '').split(' ')[0]}, ${since}, ${by}, ${end}`, reports[i]!)
      expect({ line, ...seen, exit, stdout, stderr }).toMatchObject({
        line,
        owner,
        text: 'hello\n',
        canWrite: writable,
        exit: 0,
        stdout: '',
        stderr: isInUse(end) ? expect.stringMatching(/^$|^\S+ warn: still in use/) : '',
      })
      // fuse-overlayfs of root lets all users in by itself.
      const lets = line.includes('allow_other') || (line.startsWith('fuse-overlayfs') && owner === ROOT)
      expect([line, seen?.options.includes('allow_other')]).toEqual([line, lets])
      expect([line, seen?.options.includes('ro')]).toEqual([line, !writable])
      // Apptainer before 1.4.5 starts programs in its own group, where Ctrl-C reaches all.
      if (line.includes(' -f ')) expect([line, group]).toEqual([line, pid])
    }
  })
}

describe.skipIf(!need.ok)(titled('what callers do beside mounting', need), () => {
  test('the call without arguments ends although its reader stops at the line it looks for', async () => {
    await inPlace('a plain user', async ({ images }) => {
      const probe = '"$0" 2>&1 | grep -m 1 -e "-o uid="'
      const { stdout } = await run('bash', ['-c', probe, join(images.links, 'squashfuse_ll')])
      expect(stdout).toMatch(/^ +-o uid=N .*\n$/)
    })
  })

  test.each(['a plain user with ambient capabilities', 'the setuid program'] as const)(
    'an image that is cut off is an exit code and one line for %s, and leaves nothing',
    async (by) => {
      await inPlace(by, async (place) => {
        const target = by === 'the setuid program' ? '/dev/fd/4' : '$T'
        const line = `squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U,offset=$N /proc/self/fd/3 ${target}`
        const [report] = await play(place, { calls: [callOf(line, place, { isBroken: true })] })
        expect(report).toMatchObject({
          exit: 255,
          stdout: '',
          stderr: expect.stringMatching(/^Error: [^\n]*\n$/),
        })
        expect(report).not.toHaveProperty('seen')
      })
    },
  )

  test('an ext3 file system that is to be written is refused in one line', async () => {
    await inPlace('a plain user with ambient capabilities', async (place) => {
      const calls = REFUSED.map((line) => callOf(line, place))
      for (const [i, report] of (await play(place, { calls })).entries()) {
        expect({ line: REFUSED[i], ...report }).toMatchObject({
          line: REFUSED[i],
          exit: 1,
          stdout: '',
          stderr: expect.stringMatching(/^Error: this fuse2fs only reads: [^\n]*\n$/),
        })
        expect(report).not.toHaveProperty('seen')
      }
    })
  })

  test('an overlay without its lower directory is an exit code and one line', async () => {
    await inPlace('a plain user with ambient capabilities', async (place) => {
      const line = 'fuse-overlayfs -f -o allow_other,ro,lowerdir=$S/missing:$SANDBOX,noacl $T'
      const [report] = await play(place, { calls: [callOf(line, place)] })
      expect(report).toMatchObject({
        exit: 1,
        stdout: '',
        stderr: expect.stringMatching(/^Error: [^\n]*\n$/),
      })
      expect(report).not.toHaveProperty('seen')
    })
  })

  test('an overlay above the image ends before it, in one session', async () => {
    await inPlace('a plain user with ambient capabilities', async (place) => {
      const calls = STACK.map((line) => callOf(line, place, { in: 'session-1' }))
      const reports = await play(place, { calls, isStack: true })
      expect(reports.map(({ exit, stderr, seen }) => [exit, stderr, seen?.owner, seen?.canWrite])).toEqual([
        [0, '', THE_USER, false],
        [0, '', THE_USER, true],
      ])
    })
  })

  test.skipIf(!withKernel.ok)(
    titled('the kernel mounts an overlay above the image, twice as Apptainer does', withKernel),
    async () => {
      await inPlace('root of a user namespace', async (place) => {
        const { argv, target } = callOf(
          'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U,offset=$N $SIF $T',
          place,
        )
        const final = join(target, '../final')
        const script = `
          final=$1 rootfs=$2
          shift 2
          "$@" & program=$!
          until mountpoint -q "$rootfs"; do kill -0 "$program"; sleep 0.025; done
          for round in 1 2; do
            mount -t overlay overlay -o "lowerdir=$final/../overlay-lowerdir:$rootfs" "$final"
            stat -c %F "$final"
            cat "$final/etc/motd"
            umount "$final"
          done
          umount "$rootfs"
          wait "$program"`
        const words = [
          ...withDevice(place.images),
          ...CALLERS['root of a user namespace'].enter,
          'sh',
          '-ec',
          script,
          'sh',
          final,
          target,
          ...argv,
        ]
        const env = { ATOMFS_TEST_RUN_DIR: place.runDir }
        const { stdout, stderr } = await run('setsid', ['-w', ...words], { env })
        expect([stdout, stderr]).toEqual(['directory\nhello\n'.repeat(2), ''])
      })
    },
  )

  test.skipIf(!withNamespaces.ok)(
    titled(
      'the programs end when their caller is killed and nobody else is in its namespace',
      withNamespaces,
    ),
    async () => {
      await inPlace('a user namespace', async (place) => {
        const calls = STACK.map((line) => callOf(line, place, { in: 'session-1' }))
        const caller = await startCaller(place, { calls, isStack: true, stays: true })
        const pids: number[] = []
        try {
          caller.stdout?.on('data', (text) => pids.push(...String(text).trim().split(' ').map(Number)))
          await until(() => pids.length === calls.length, 'the mounts', 60_000)
          caller.kill('SIGKILL')
          const ms = await until(() => pids.every(isGone), 'the end of the programs')
          times.push(`all gone after ${ms.toFixed(0).padStart(5)} ms: the end of the caller`)
        } finally {
          caller.kill('SIGKILL')
          for (const pid of pids) if (!isGone(pid)) process.kill(pid, 'SIGKILL')
        }
      })
    },
  )
})
