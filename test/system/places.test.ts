import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, appendVerity, daemonPid, mksquashfs, removeTempDir, run } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, inScene, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'

/** Every place where it must work: the same commands mount, read, verify and unmount, with the same output. */

/** $1 image, $2 target, $3 root hash */
const STEPS = `set -e
"$0" mount --root-hash "$3" "$1" "$2"
cat "$2/etc/motd"
cksum <"$2/big"
"$0" verify "$2" | sed 's/.*: //'
"$0" umount "$2"
if grep -qF " $2 " /proc/self/mountinfo; then echo still mounted; fi
echo done`

const USER = `atomfs-test-${process.pid}`
const SUBORDINATE = 700_000

let life: LifeImage
let rootHash: string
let expected: string
let uid: number
const deviceMode = statSync('/dev/fuse').mode & 0o7777

beforeAll(async () => {
  life = await makeLifeImage()
  ;({ rootHash } = await appendVerity(life.image))
  const { stdout } = await run('cksum', [], {
    input: (await run('cat', [join(life.folder, 'tree/big')])).bytes,
  })
  expected = `hello\n${stdout}OK\ndone\n`
  await run('useradd', ['--no-create-home', '--shell', '/bin/sh', USER])
  const range = `${SUBORDINATE}-${SUBORDINATE + 65_535}`
  await run('usermod', ['--add-subuids', range, '--add-subgids', range, USER])
  uid = Number((await run('id', ['-u', USER])).stdout)
  // fusermount3 opens the device with the rights of its caller.
  chmodSync('/dev/fuse', 0o666)
})

afterAll(async () => {
  chmodSync('/dev/fuse', deviceMode)
  await run('userdel', [USER], { allowFailure: true })
  removeTempDir(life.folder)
})

interface Place {
  readonly name: string
  /** What comes before the shell that takes the steps. Plain users' places begin with `asUser()`. */
  readonly enter: (folder: string) => readonly string[]
  readonly asUser?: boolean
  readonly steps?: string
  /** Ways that must not be what works here. */
  readonly env?: Readonly<Record<string, string>>
}

const asUser = (): readonly string[] => ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--init-groups']
/** Only mount(2) is left: no setuid program gains rights in these places. */
const NO_HELPER = { FUSERMOUNT_PROG: '/bin/false' }

/** A sandbox in which only the device, and the right to mount, were passed in. */
const sandbox = (folder: string): readonly string[] => [
  ...'bwrap --unshare-user --unshare-pid --uid 0 --gid 0 --cap-add CAP_SYS_ADMIN --ro-bind / / --proc /proc'.split(
    ' ',
  ),
  ...'--dev /dev --dev-bind /dev/fuse /dev/fuse --bind'.split(' '),
  folder,
  folder,
]

/** The image and the target by descriptors and odd names are the same everywhere. */
const BY_DESCRIPTOR = `exec 9<"$1"; set -- /proc/self/fd/9 "$2" "$3"\n${STEPS}`

const PLACES: readonly Place[] = [
  { name: 'root', enter: () => [] },
  { name: 'root of a user namespace made by root', enter: () => ['unshare', '-Urm'], env: NO_HELPER },
  { name: 'a plain user', enter: asUser, asUser: true },
  {
    name: 'a user namespace of a plain user',
    enter: () => [...asUser(), 'unshare', '-Urm'],
    asUser: true,
    env: NO_HELPER,
  },
  {
    name: 'a user namespace with a range of subordinate ids',
    enter: () => [...asUser(), 'unshare', '--map-root-user', '--map-auto', '-m'],
    asUser: true,
    env: NO_HELPER,
  },
  { name: 'a sandbox of root', enter: sandbox, env: NO_HELPER },
  {
    name: 'a sandbox of a plain user',
    enter: (folder) => [...asUser(), ...sandbox(folder)],
    asUser: true,
    env: NO_HELPER,
  },
  { name: 'root, the image a descriptor', enter: () => [], steps: BY_DESCRIPTOR },
  { name: 'a plain user, the image a descriptor', enter: asUser, asUser: true, steps: BY_DESCRIPTOR },
]

describe('the places where mount, read, verify and umount work', () => {
  test.each(PLACES)(
    'mount, read, verify and umount work in this place: $name',
    async ({ enter, asUser: isUser, steps, env }) => {
      await inScene(async ({ folder, target, runDir }) => {
        mkdirSync(runDir)
        if (isUser === true) for (const path of [folder, target, runDir]) chownSync(path, uid, uid)
        const command = [
          ...enter(folder),
          'sh',
          '-c',
          steps ?? STEPS,
          ATOMFS_FUSE,
          life.image,
          target,
          rootHash,
        ]
        const [program = '', ...args] = command
        const result = await run(program, args, {
          cwd: folder,
          env: { ATOMFS_TEST_RUN_DIR: runDir, HOME: folder, ...env },
          allowFailure: true,
        })
        expect(result).toMatchObject({ stdout: expected, stderr: '', status: 0 })
        expect(entries(runDir)).toEqual([])
      })
    },
  )

  test('a connection that the caller has mounted is served', async () => {
    await inScene(async ({ target, runDir }) => {
      const fuse = openSync('/dev/fuse', 'r+')
      const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other'
      const mounter = spawn('mount', ['-i', '-t', 'fuse.test', '-o', options, 'given', target], {
        stdio: ['ignore', 'ignore', 'inherit', fuse],
      })
      expect(await once(mounter, 'close')).toEqual([0, null])
      const starter = spawn(ATOMFS_FUSE, ['mount', '--root-hash', rootHash, life.image, '/dev/fd/3'], {
        stdio: ['ignore', 'ignore', 'inherit', fuse],
        env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir },
      })
      expect(await once(starter, 'close')).toEqual([0, null])
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      const env = { ATOMFS_TEST_RUN_DIR: runDir }
      const [status] = JSON.parse((await run(ATOMFS_FUSE, ['status', '--json'], { env })).stdout)
      expect(status.layers).toMatchObject([{ state: 'verified' }])
      const pid = daemonPid(runDir)
      await run('umount', [target])
      await until(() => isGone(pid), 'the end of the daemon')
      expect(entries(runDir)).toEqual([])
    })
  })
})

describe('places where something is missing', () => {
  /** Prints the error of `mount`, then what `doctor` finds. */
  const BOTH = '"$0" mount "$1" "$2"; "$0" doctor || true'
  const user = (): string => asUser().join(' ')

  interface Lack {
    readonly name: string
    /** Makes it so in a mount namespace of its own, and goes on with the words after it. $3 is a folder. */
    readonly make: () => string
    readonly reason: RegExp
    readonly path?: string
  }

  const LACKS: readonly Lack[] = [
    {
      name: 'the device',
      make: () => 'mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; exec',
      reason: /\/dev\/fuse does not exist: .*--device \/dev\/fuse.*mknod/,
    },
    {
      name: 'the permission to open the device',
      make: () => `mknod -m 600 "$3/fuse" c 10 229; mount --bind "$3/fuse" /dev/fuse; exec ${user()}`,
      reason: /open \/dev\/fuse: Permission denied: .*chmod 0666 \/dev\/fuse/,
    },
    {
      name: 'a helper',
      // In PATH there is Node, and nothing else.
      make: () =>
        `mkdir "$3/bin"; ln -s "$(command -v node)" "$3/bin/node"; chmod 755 "$3"; exec ${user()} env PATH="$3/bin"`,
      reason: /no fusermount3 found: install the package fuse3/,
    },
    {
      name: 'room for another mount',
      make: () => `echo 'mount_max = 0' >"$3/conf"; mount --bind "$3/conf" /etc/fuse.conf; exec ${user()}`,
      reason: /too many FUSE filesystems mounted.*mount_max.*\/etc\/fuse.conf/,
    },
    {
      name: 'CAP_SYS_ADMIN and a helper with root rights',
      make: () => 'exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin',
      reason: /mount failed: Operation not permitted: the helper has no root rights here: .*chmod u\+s/,
    },
  ]

  test.each(LACKS)('mount and doctor report the same cause and remedy: $name', async ({ make, reason }) => {
    await inScene(async ({ folder, target, runDir }) => {
      mkdirSync(runDir)
      chmodSync(folder, 0o755)
      const isUser = make().includes('--reuid=')
      if (isUser) for (const path of [target, runDir]) chownSync(path, uid, uid)
      const script = `set -e; ${make()} /bin/sh -c '${BOTH}' "$0" "$1" "$2"`
      const args = ['-m', 'sh', '-c', script, ATOMFS_FUSE, life.image, target, folder]
      const result = await run('unshare', args, { env: { ATOMFS_TEST_RUN_DIR: runDir, HOME: folder } })
      expect(result.stderr).toMatch(/^Error: [^\n]+\n$/)
      expect(result.stderr).toMatch(reason)
      expect(result.stdout).toContain(result.stderr.slice('Error: '.length).trim())
      expect(result.stdout).toContain('No way to mount works here.')
      expect(entries(runDir)).toEqual([])
    })
  })

  test('mount leaves out allow_other with one warning if it is not allowed', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      mkdirSync(runDir)
      for (const path of [folder, target, runDir]) chownSync(path, uid, uid)
      const script = '"$0" mount -o allow_other "$1" "$2"; cat "$2/etc/motd"; "$0" umount "$2"'
      const [program = '', ...args] = [...asUser(), 'sh', '-c', script, ATOMFS_FUSE, life.image, target]
      const env = { ATOMFS_TEST_RUN_DIR: runDir, HOME: folder }
      const allowed = /^\s*user_allow_other\s*$/m.test(readFileSync('/etc/fuse.conf', 'utf8'))
      const result = await run(program, args, { env })
      expect(result.stdout).toBe('hello\n')
      expect(result.stderr).toMatch(
        allowed ? /^$/ : /^Warning: allow_other is not in effect: [^\n]*fuse\.conf\n$/,
      )
    })
  })
})

describe('owners', () => {
  test.each([
    ['uid=7,gid=8', '7:8 7:8'],
    ['squash_to_root', '0:0 0:0'],
    ['squash_to_uid=5,squash_to_gid=6', '5:6 5:6'],
    ['uidmapping=:0:100000:10:1000:1:1,gidmapping=:0:200000:65536', '100000:200000 1:201000'],
    ['uidmapping=1000:0:1', '65534:0 0:1000'],
  ])('the owners shown follow -o %s', async (options, owners) => {
    await inScene(async ({ folder, target, atomfs }) => {
      const tree = join(folder, 'tree')
      mkdirSync(tree)
      writeFileSync(join(tree, 'a'), '')
      writeFileSync(join(tree, 'b'), '')
      chownSync(join(tree, 'b'), 1000, 1000)
      const image = await mksquashfs(tree, join(folder, 'image'))
      expect(await atomfs('mount', '-o', options, image, target)).toMatchObject(SILENT)
      const { stdout } = await run('stat', ['-c', '%u:%g', join(target, 'a'), join(target, 'b')])
      expect(stdout.trim().replace('\n', ' ')).toBe(owners)
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
    })
  })
})
