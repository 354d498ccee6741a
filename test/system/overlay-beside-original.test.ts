import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, findProgram, needs, run, titled } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { entries, inScene } from '../library/scenes/life.ts'

/** The examples of fuse-overlayfs' README, and words that it does not know, beside the program itself. */

const need = needs('root', 'fuse', 'fuse-overlayfs', 'setfattr', 'getfattr')

/**
 * $0 the program, and its words. Prints what it says, what the mount shows, what changes do, and what is in the upper
 * directory afterwards. Every version of the program names an option of its own, `lazytime`, as unknown.
 */
const PLAY = `
  mkdir -p a/both b/both b/below u w merged
  echo A >a/both/a; echo B >b/both/b; echo C >b/below/c
  chown 3:4 b/below/c; chown 20:21 a/both/a; chmod 640 a/both/a
  listed() { (cd "$1" && find . -mindepth 1 ! -name '.wh.*' -printf '%P %y %U:%G %m\\n' | sort); }
  "$0" "$@" merged 2>said
  echo "exit code $?"
  grep -v lazytime said | sort
  listed merged
  stat -f -c '%t' merged
  {
    echo new >merged/new; chown 5:6 merged/new
    chmod 600 merged/below/c; rm merged/both/b; echo more >>merged/both/a
    mkdir merged/dir; mv merged/dir merged/dir2; mv merged/below merged/moved
    ln merged/new merged/link; ln -s new merged/symlink
    setfattr -n user.x -v y merged/new; getfattr --only-values -n user.x merged/new
  } 2>&1 | sed 's/^[a-z]*: //'
  echo
  listed merged
  cat merged/both/a merged/moved/c
  umount merged
  listed u`

const BOTH = 'lowerdir=a:b,upperdir=u,workdir=w'
const MAPPED = 'uidmapping=0:10:100:100:10000:2000,gidmapping=0:10:100:100:10000:2000'

describe.skipIf(!need.ok)(titled('fuse-overlayfs and our program of that name', need), () => {
  test.each([
    ['directories', ['-o', BOTH], 0],
    ['other ids', ['-o', `${MAPPED},${BOTH}`], 0],
    ['unknown words', ['--foo', '-o', `${BOTH},frobnicate,x=y,allow_root`, '--bar=1'], 4],
  ])('both show, say and store the same: %s', async (_, words, unknown) => {
    const seen: string[] = []
    for (const isOurs of [false, true]) {
      await inScene(async ({ folder, runDir }) => {
        const place = join(folder, 'place')
        mkdirSync(place)
        symlinkSync(ATOMFS_FUSE, join(folder, 'fuse-overlayfs'))
        const program = isOurs ? join(folder, 'fuse-overlayfs') : (findProgram('fuse-overlayfs') ?? '')
        const { stdout } = await run('sh', ['-c', PLAY, program, ...words], {
          cwd: place,
          env: { ATOMFS_TEST_RUN_DIR: runDir },
        })
        seen.push(stdout)
        await until(() => entries(runDir).length === 0, 'the end of the daemon')
      })
    }
    const [theirs, ours] = seen
    expect(ours).toBe(theirs)
    expect(ours?.split('\n').filter((line) => line.startsWith('unknown argument ignored'))).toHaveLength(
      unknown,
    )
    expect(ours).toMatch(/^exit code 0\n/)
    expect(ours).toContain('\nboth/a f ')
  })
})
