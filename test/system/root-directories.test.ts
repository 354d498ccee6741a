import { chmodSync, chownSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  addBusybox,
  appendVerity,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
} from '../library/index.ts'
import { entries, inScene } from '../library/scenes/life.ts'

/** Programs that make a mount the root directory of others. */

const NOBODY = 65_534
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] as const
const NEEDS = ['root', 'fuse', 'mksquashfs', 'veritysetup', 'busybox', 'unshare', 'bwrap'] as const

let folder = ''
let image = ''
let rootHash = ''

const DEVICE = '/dev/fuse'
/** Absent where it stays as it is. */
let deviceMode: number | undefined

beforeAll(async () => {
  if (process.geteuid?.() === 0 && needs('fuse').ok) {
    // fusermount3 opens it as its caller.
    deviceMode = statSync(DEVICE).mode & 0o7777
    chmodSync(DEVICE, 0o666)
  }
  folder = makeTempDir()
  chmodSync(folder, 0o755)
  const tree = join(folder, 'tree')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/motd'), 'hello\n')
  addBusybox(tree, 'cat', 'mkdir', 'mv', 'rm')
  image = await mksquashfs(tree, join(folder, 'image'))
  ;({ rootHash } = await appendVerity(image))
})

afterAll(() => {
  if (deviceMode !== undefined) chmodSync(DEVICE, deviceMode)
  removeTempDir(folder)
})

interface Caller {
  readonly name: string
  readonly need: ReturnType<typeof needs>
  readonly as: readonly string[]
  /** Options with which the caller may write. */
  readonly owner: readonly string[]
  /** What stands before the directory, with what stands behind it. */
  readonly programs: readonly (readonly [before: string, behind: string])[]
}

const CALLERS: readonly Caller[] = [
  {
    name: 'root',
    need: needs(...NEEDS),
    as: [],
    owner: [],
    programs: [
      ['chroot', ''],
      ['unshare --root', ''],
      ['unshare -m --propagation private --root', ''],
      ['bwrap --bind', '/'],
    ],
  },
  {
    name: 'a plain user',
    need: needs(...NEEDS, 'userns', 'setpriv', 'fusermount3'),
    as: AS_NOBODY,
    owner: ['-o', 'uid=me,gid=me'],
    programs: [
      ['unshare -Ur --root', ''],
      ['bwrap --unshare-all --bind', '/'],
    ],
  },
]

const CHANGE =
  'echo more >>/etc/motd || exit 3; mkdir /new && mv /etc/motd /new && cat /new/motd && mv /new/motd /etc && rm -r /new'

for (const { name, need, as, owner, programs } of CALLERS) {
  for (const writable of [false, true]) {
    const kind = writable ? 'writable' : 'read-only'
    test.skipIf(!need.ok)(titled(`${name} runs programs in a ${kind} mount`, need), async () => {
      await inScene(async ({ folder: own, target, runDir }) => {
        mkdirSync(runDir)
        if (as.length > 0) for (const path of [own, target, runDir]) chownSync(path, NOBODY, NOBODY)
        const options = { cwd: own, env: { ATOMFS_TEST_RUN_DIR: runDir, HOME: own }, allowFailure: true }
        const asCaller = (...words: readonly string[]) => {
          const [program = '', ...args] = [...as, ...words]
          return run(program, args, options)
        }
        const flags = ['--root-hash', rootHash, ...(writable ? ['--writeable', ...owner] : [])]
        expect(await asCaller(ATOMFS_FUSE, 'mount', ...flags, image, target)).toMatchObject({ stderr: '' })
        let motd = 'hello\n'
        for (const [before, behind] of programs) {
          const words = [...before.split(' '), target, ...(behind === '' ? [] : [behind])]
          const read = await asCaller(...words, '/bin/sh', '-c', 'cat /etc/motd')
          expect(read, before).toMatchObject({ status: 0, stdout: motd, stderr: '' })
          const change = await asCaller(...words, '/bin/sh', '-c', CHANGE)
          if (writable) {
            motd += 'more\n'
            expect(change, before).toMatchObject({ status: 0, stdout: motd, stderr: '' })
          } else {
            expect(change, before).toMatchObject({ status: 3, stdout: '' })
            expect(change.stderr, before).toContain('Read-only file system')
          }
        }
        expect(await asCaller(ATOMFS_FUSE, 'umount', target)).toMatchObject({ status: 0, stderr: '' })
        expect(entries(runDir)).toEqual([])
      })
    })
  }
}
