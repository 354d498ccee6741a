import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  makeTempDir,
  mksquashfs,
  needs,
  type RunResult,
  removeTempDir,
  run,
  titled,
  withTempDir,
} from '../library/index.ts'
import { SWAP } from '../library/scenes/swapper.ts'

/** Places for changes and runtime data that somebody else has prepared, or that cannot take anything. */

const NEED = needs('root', 'fuse', 'mksquashfs')
const STRANGER = 54_321
/** Each is a whole mount; `test/daemon/runtime/swapped-places.test.ts` does the same many times without one. */
const SWAPS = Number(process.env['ATOMFS_SWAPPED_MOUNTS'] ?? 3)
/** What they take on a busy machine. */
const SWAPS_MS = 120_000 + SWAPS * 10_000

let base: string
let image: string

beforeAll(async () => {
  base = makeTempDir()
  chmodSync(base, 0o755)
  mkdirSync(join(base, 'tree'))
  writeFileSync(join(base, 'tree/a'), 'hi')
  image = join(base, 'i.sqfs')
  if (NEED.ok) await mksquashfs(join(base, 'tree'), image)
})

afterAll(() => removeTempDir(base))

/** Runs a script in a mount namespace of its own, so that nothing it mounts stays. `$0` is the program, `$1` the image. */
function inOwn(
  folder: string,
  script: string,
  env: Record<string, string | undefined> = {},
  timeout = 120_000,
): Promise<RunResult> {
  return run('unshare', ['-m', '--propagation', 'private', 'sh', '-c', script, ATOMFS_FUSE, image], {
    cwd: folder,
    env: { ATOMFS_TEST_RUN_DIR: undefined, XDG_RUNTIME_DIR: undefined, ...env },
    allowFailure: true,
    timeout,
  })
}

/** What a stranger wants to be emptied: a folder of root. */
function makeVictim(folder: string): string {
  const victim = join(folder, 'victim')
  mkdirSync(join(victim, 'work'), { recursive: true })
  writeFileSync(join(victim, 'work/keep'), 'safe')
  writeFileSync(join(victim, 'keep'), 'safe')
  return victim
}

function assertSafe(victim: string): void {
  expect(readdirSync(victim).sort()).toEqual(['keep', 'work'])
  expect(readdirSync(join(victim, 'work'))).toEqual(['keep'])
}

/** Of a stranger, with all the folders that lead there from `above`. */
function give(above: string, path: string): void {
  mkdirSync(join(above, path), { recursive: true })
  let at = above
  for (const name of path.split('/')) {
    at = join(at, name)
    chownSync(at, STRANGER, STRANGER)
  }
}

const OWN_RUN = 'mount -t tmpfs -o mode=755 none /run;'

describe.skipIf(!NEED.ok)(titled('places prepared by another user', NEED), () => {
  test('root does not delete files that another user has put into the folder of XDG_RUNTIME_DIR', async () => {
    await withTempDir(async (folder) => {
      chmodSync(folder, 0o755)
      const victim = makeVictim(folder)
      give(folder, 'xdg/atomfs/changes/x')
      mkdirSync(join(folder, 'm'))
      symlinkSync(victim, join(folder, 'xdg/atomfs/changes/x/work'))
      lchownSync(join(folder, 'xdg/atomfs/changes/x/work'), STRANGER, STRANGER)
      const script = `${OWN_RUN} "$0" mount "$1" m && cat m/a && "$0" umount m`
      const { stdout, stderr } = await inOwn(folder, script, { XDG_RUNTIME_DIR: join(folder, 'xdg') })
      expect(stdout + stderr).toBe('hi')
      assertSafe(victim)
      expect(existsSync(join(folder, 'xdg/atomfs/changes/x'))).toBe(true)
    })
  })

  test.each([
    ['--persist p', 'p/work'],
    ['--persist p', 'p/persist'],
    ['--upper p/u', 'p/u.atomfs-work'],
    ['--metadir p', 'p/meta'],
    ['--writeable --metadir p', 'p/changes'],
  ])('a folder of another user is refused with %s and a link as %s', async (options, link) => {
    await withTempDir(async (folder) => {
      chmodSync(folder, 0o755)
      const victim = makeVictim(folder)
      give(folder, 'p')
      mkdirSync(join(folder, 'm'))
      symlinkSync(victim, join(folder, link))
      lchownSync(join(folder, link), STRANGER, STRANGER)
      const metadir = options.includes('--metadir') ? '' : '--metadir run'
      const { status, stderr } = await inOwn(folder, `"$0" mount ${metadir} ${options} "$1" m`)
      expect(stderr).toMatch(new RegExp(`^Error: .*(can be changed by|belongs to) user ${STRANGER}.*\\n$`))
      expect(status).toBe(1)
      assertSafe(victim)
    })
  })

  test('a work directory of another user is refused, even in a safe folder', async () => {
    await withTempDir(async (folder) => {
      chmodSync(folder, 0o755)
      give(folder, 'p/work/work')
      chownSync(join(folder, 'p'), 0, 0)
      writeFileSync(join(folder, 'p/work/work/keep'), '')
      mkdirSync(join(folder, 'm'))
      const { stderr } = await inOwn(folder, '"$0" mount --metadir run --persist p "$1" m')
      expect(stderr).toMatch(/^Error: work directory .*belongs to user 54321.*\n$/)
      expect(readdirSync(join(folder, 'p/work/work'))).toEqual(['keep'])
    })
  })

  test(
    `a user who renames folders in a group folder cannot lead root to other places (${SWAPS} rounds)`,
    async () => {
      await withTempDir(async (folder) => {
        chmodSync(folder, 0o755)
        const victim = makeVictim(folder)
        const shared = join(folder, 'shared')
        mkdirSync(shared)
        chownSync(shared, 0, STRANGER)
        chmodSync(shared, 0o2770)
        mkdirSync(join(folder, 'm'))
        writeFileSync(join(folder, 'go'), '')
        const script = `
        cd shared
        setpriv --reuid ${STRANGER} --regid ${STRANGER} --clear-groups "$NODE" -e "$SWAP" &
        cd ..
        i=0; mounts=0
        while [ $i -lt ${SWAPS} ]; do
          i=$((i + 1))
          case $((i % 3)) in
            0) set -- "$0" "$1" --persist shared/p;;
            1) set -- "$0" "$1" --upper shared/u;;
            2) set -- "$0" "$1" --writeable;;
          esac
          program=$1 image=$2; shift 2
          # A server in the foreground is one start of the program instead of three; the rest is the same.
          if [ $((i % 4)) != 0 ]; then
            timeout 60 "$program" mount -f --metadir shared/run "$@" "$image" m & server=$!
            while [ ! -e m/a ] && kill -0 $server; do sleep 0.02; done
            [ ! -e m/a ] || { echo new > m/b && mounts=$((mounts + 1)); umount m; }
            wait $server
          elif timeout 60 "$program" mount --metadir shared/run "$@" "$image" m; then
            echo new > m/b && mounts=$((mounts + 1)); "$program" umount --metadir shared/run m
          fi
          set -- "$image"
        done
        rm go; wait; echo $mounts`
        const { stdout, stderr } = await inOwn(folder, script, { SWAP, NODE: process.execPath }, SWAPS_MS)
        assertSafe(victim)
        expect(`${stdout}${stderr}`).not.toContain('internal error')
        expect(stdout).toMatch(/^\d+\n$/)
        console.info(`${stdout.trim()} of ${SWAPS} mounted`)
      })
    },
    2 * SWAPS_MS,
  )
})

describe.skipIf(!NEED.ok)(titled('several users of one machine', NEED), () => {
  test('root and two users in user namespaces can mount one after another', async () => {
    await withTempDir(async (folder) => {
      chmodSync(folder, 0o755)
      mkdirSync(join(folder, 'tmp'))
      chmodSync(join(folder, 'tmp'), 0o1777)
      for (const [index, name] of ['m0', 'm1', 'm2'].entries()) {
        mkdirSync(join(folder, name))
        chownSync(join(folder, name), index === 0 ? 0 : STRANGER + index, 0)
      }
      const user = (n: number): string =>
        `setpriv --reuid ${STRANGER + n} --regid ${STRANGER + n} --clear-groups env HOME=/ TMPDIR="$PWD/tmp" FUSERMOUNT_PROG=/nonexistent unshare -Urm sh -c '"$0" mount "$1" m${n} && cat m${n}/a && "$0" doctor | grep "runtime data" && "$0" umount m${n}' "$0" "$1"`
      const script = `${OWN_RUN} chmod 666 /dev/fuse; "$0" mount "$1" m0 && "$0" umount m0; ${user(1)}; ${user(2)}`
      const { stdout, stderr } = await inOwn(folder, script)
      expect(stderr).toBe('')
      expect(stdout).toMatch(
        /^hi.*runtime data.*tmp\/atomfs-54322-\w{6}\n.*hi.*runtime data.*tmp\/atomfs-54323-\w{6}\n$/s,
      )
    })
  })

  test('two targets with the same dashed name can both be found', async () => {
    await withTempDir(async (folder) => {
      for (const name of ['a', 'a/b', 'a-b']) mkdirSync(join(folder, name))
      const each = (words: string): string => `for t in a/b a-b; do "$0" ${words} || exit 1; done`
      const script = `export ATOMFS_TEST_RUN_DIR=$PWD/run; ${each('mount --allow-missing-verity "$1" $t')}
        ${each('status $t >/dev/null')}; "$0" status --json | grep -c '"target"'; ${each('umount $t')}; ls run/meta/*`
      const { stdout, stderr } = await inOwn(folder, script)
      expect(stdout + stderr).toBe('2\n')
    })
  })
})

describe.skipIf(!NEED.ok)(titled('directories of one overlay', NEED), () => {
  const refused = [
    ['the same', 'lowerdir=l,upperdir=l,workdir=w'],
    ['the same by a link', 'lowerdir=l,upperdir=link,workdir=w'],
    ['the same by a bind mount', 'lowerdir=bound,upperdir=l,workdir=w'],
    ['an upper in a lower', 'lowerdir=l,upperdir=l/in,workdir=w'],
    ['an upper in a lower that is bound elsewhere', 'lowerdir=bound,upperdir=l/in,workdir=w'],
    ['a lower in an upper', 'lowerdir=l/in,upperdir=l,workdir=w'],
    ['a lower bound out of an upper', 'lowerdir=inbound,upperdir=l,workdir=w'],
    ['a work directory in a lower', 'lowerdir=l,upperdir=u,workdir=l/in'],
    ['a second lower', 'lowerdir=other:l,upperdir=l,workdir=w'],
    ['an upper in a work directory', 'lowerdir=other,upperdir=u/in,workdir=u'],
  ] as const

  test.each(refused)('overlapping directories of an overlay are refused: %s', async (name, options) => {
    await withTempDir(async (folder) => {
      for (const one of ['l', 'l/in', 'u', 'u/in', 'w', 'other', 'bound', 'inbound', 'm', 'k'])
        mkdirSync(join(folder, one))
      writeFileSync(join(folder, 'l/a'), 'keep')
      symlinkSync('l', join(folder, 'link'))
      const prepare = 'mount --bind l bound; mount --bind l/in inbound; export ATOMFS_TEST_RUN_DIR=$PWD/run;'
      const ours = await inOwn(folder, `${prepare} "$0" overlay -o ${options} m && rm m/a`)
      expect(ours.stderr).toMatch(/^Error: .*(the same directory|one contains the other).*\n$/)
      expect(readFileSync(join(folder, 'l/a'), 'utf8')).toBe('keep')
      expect(readdirSync(join(folder, 'w'))).toEqual([])
      expect(readdirSync(join(folder, 'l/in'))).toEqual([])
      const kernel = await inOwn(folder, `${prepare} mount -t overlay -o ${options} none k`)
      // The kernel takes an upper or work directory in a lower, where `chown -R` then finds its own copies for ever.
      expect(kernel.status === 0).toBe(/^(an upper|a work directory) in a lower/.test(name))
    })
  })

  test('directories of an overlay may lie apart in one folder, and on a mount inside of a lower', async () => {
    await withTempDir(async (folder) => {
      for (const name of ['l', 'l/in', 'lx', 'w', 'm']) mkdirSync(join(folder, name))
      writeFileSync(join(folder, 'l/a'), 'keep')
      const steps = (options: string): string => `"$0" overlay -o ${options} m && cat m/a && "$0" umount m`
      const script = `export ATOMFS_TEST_RUN_DIR=$PWD/run; ${steps('lowerdir=l,upperdir=lx,workdir=w')}
        mount -t tmpfs none l/in; mkdir l/in/u l/in/w; ${steps('lowerdir=l,upperdir=l/in/u,workdir=l/in/w')}`
      const { stdout, stderr } = await inOwn(folder, script)
      expect(stdout + stderr).toBe('keepkeep')
    })
  })
})

describe.skipIf(!NEED.ok)(titled('limits of processes and files', NEED), () => {
  /** Mounts and unmounts; on failure says in one line whether something is left. */
  const LEFT = `if [ $? = 0 ]; then cat m/a; "$0" umount m; else
    grep " $PWD/m " /proc/self/mountinfo; find run/meta -mindepth 2 2>/dev/null; fi`

  test.each([
    ['address space', 'ulimit -v 1500000;'],
    ['descriptors', 'ulimit -n 28;'],
    ['descriptors', 'ulimit -n 40;'],
    ['room for runtime data', 'mount -t tmpfs -o nr_inodes=6 none run;'],
    ['room for runtime data', 'mount -t tmpfs -o ro none run;'],
    ['a folder below /proc', 'export ATOMFS_TEST_RUN_DIR=/proc/nope;'],
    ['a folder below a file', 'export ATOMFS_TEST_RUN_DIR=$PWD/file/x;'],
  ])('a mount at the limit of %s fails in one line and leaves nothing behind: %s', async (_, limit) => {
    await withTempDir(async (folder) => {
      for (const name of ['m', 'run']) mkdirSync(join(folder, name))
      writeFileSync(join(folder, 'file'), '')
      const script = `export ATOMFS_TEST_RUN_DIR=$PWD/run; (${limit} timeout 60 "$0" mount "$1" m; ${LEFT})`
      const { stdout, stderr } = await inOwn(folder, script)
      // Where the limit does not keep this machine from mounting, it mounts.
      expect(stdout === 'hi' ? '' : stdout).toBe('')
      if (stdout === '') expect(stderr).toMatch(/^Error: (?!.*internal error).{20,}\n$/)
    })
  })
})
