import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, needs, type RunResult, removeTempDir, run, titled } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { entries, inScene, type LifeImage, makeLifeImage, type Scene } from '../library/scenes/life.ts'

/** mount(8), fstab and containerd: who calls the helpers, how, and what they mount. */

// mount(8) has a PATH of its own, in which the launcher must find a Node.
const need = needs('root', 'fuse', 'mksquashfs', 'mount.fuse3', 'node-in-place', 'unshare', 'findmnt')
const withUsers = needs(
  ...['root', 'fuse', 'mksquashfs', 'node-in-place', 'unshare', 'findmnt', 'setpriv', 'fusermount3'],
)
const hasFstab = existsSync('/etc/fstab')
/** fusermount3 asks for the name of its caller. */
const NOBODY = 65_534

let life: LifeImage
beforeAll(async () => {
  if (need.ok || withUsers.ok) life = await makeLifeImage()
})
afterAll(() => {
  if (need.ok || withUsers.ok) removeTempDir(life.folder)
})

/**
 * Makes the folder of the helpers one of this namespace, with links to all that is there, and to our program ($0). The
 * machine keeps its own.
 */
const OWN_HELPERS = `
  set -e
  sbin=$(readlink -f /sbin)
  mkdir helpers
  mount --bind "$sbin" helpers
  mount -t tmpfs -o mode=755 helpers "$sbin"
  cp -as "$PWD/helpers/." "$sbin"
  "$0" install-links "$sbin" mount.atomfs-fuse mount.fuse.atomfs-fuse squashfuse >/dev/null
  ln -s "$0" "$sbin/atomfs-fuse"
  shown() {
    echo "$1: $(cat "$2/etc/motd") $(findmnt -n -o FSTYPE "$2") $(findmnt -n -o SOURCE "$2")"
    umount "$2"
  }`

/** Runs a script in the folder of a scene, in a mount namespace with helpers of its own. */
async function withHelpers({ folder, runDir }: Scene, script: string): Promise<RunResult> {
  mkdirSync(runDir)
  chmodSync(folder, 0o755)
  copyFileSync(life.image, join(folder, 'i.sqfs'))
  const words = ['-m', '--propagation', 'private', 'bash', '-c', `${OWN_HELPERS}\n${script}`, ATOMFS_FUSE]
  const result = await run('unshare', words, {
    cwd: folder,
    env: { ATOMFS_TEST_RUN_DIR: runDir },
    allowFailure: true,
    timeout: 120_000,
  })
  await until(() => entries(runDir).length === 0, 'the end of all daemons')
  return result
}

describe.skipIf(!need.ok)(titled('the callers of FUSE programs', need), () => {
  test('mount(8), mount.fuse3 and containerd mount by each form of the type and of the source', async () => {
    await inScene(async (scene) => {
      const { folder } = scene
      const image = join(folder, 'i.sqfs')
      const { status, stdout, stderr } = await withHelpers(
        scene,
        `
        i=$PWD/i.sqfs m=$PWD/mnt
        mount -t fuse.atomfs-fuse "$i" "$m"; shown fuse.atomfs-fuse "$m"
        mount -n -v -t atomfs-fuse -o noauto,user,_netdev,nofail,x-systemd.automount,comment=x "$i" "$m" >/dev/null
        shown atomfs-fuse "$m"
        mount -t fuse "squashfuse#$i" "$m"; shown squashfuse# "$m"
        mount -t fuse.squashfuse -o nodev,ro,x-gdu.hide,allow_other "$i" "$m"; shown fuse.squashfuse "$m"
        # containerd: core/mount/mount_linux.go, with no PATH as under some managers.
        env -i ATOMFS_TEST_RUN_DIR="$ATOMFS_TEST_RUN_DIR" /sbin/mount.fuse3 "$i" "$m" -o ro -o allow_other -t atomfs-fuse
        shown containerd "$m"
        mount -f -t atomfs-fuse "$i" "$m"
        findmnt "$m" || echo nothing`,
      )
      const forms = ['fuse.atomfs-fuse', 'atomfs-fuse', 'squashfuse#', 'fuse.squashfuse', 'containerd']
      expect({ status, stderr, stdout }).toEqual({
        status: 0,
        stderr: '',
        stdout: `${forms.map((form) => `${form}: hello fuse.atomfs-fuse ${image}\n`).join('')}nothing\n`,
      })
    })
  })

  test('mount -a takes what fstab says, with spaces and a literal \\040 in the names', async () => {
    await inScene(async (scene) => {
      const { folder } = scene
      // mount(8) decodes the escapes of fstab(5); a name that holds the text of one is escaped itself.
      const names = ['sp ace', 'lit\\040eral', 'plain']
      for (const name of names) {
        mkdirSync(join(folder, name))
        copyFileSync(life.image, join(folder, `${name}.sqfs`))
      }
      const escaped = (name: string) => join(folder, name).replaceAll('\\', '\\134').replaceAll(' ', '\\040')
      writeFileSync(
        join(folder, 'fstab'),
        names
          .map((name, i) => {
            const [before, type] = [
              ['', 'fuse.atomfs-fuse'],
              ['', 'atomfs-fuse'],
              [`${ATOMFS_FUSE}#`, 'fuse'],
            ][i]!
            const options = `defaults,nofail,_netdev${i === 1 ? `,persist=${folder}/changes` : ''}`
            return `${before}${escaped(`${name}.sqfs`)} ${escaped(name)} ${type} ${options} 0 0\n`
          })
          .join(''),
      )
      const { status, stdout, stderr } = await withHelpers(
        scene,
        `mount -a -T "$PWD/fstab"
        echo new >'lit\\040eral/new'
        ! touch plain/new 2>/dev/null
        for name in 'sp ace' 'lit\\040eral' plain; do
          cmp "$name/big" ${life.folder}/tree/big
          shown "$name" "$PWD/$name"
        done`,
      )
      expect({ status, stderr, stdout }).toEqual({
        status: 0,
        stderr: '',
        stdout: names
          .map((name) => `${name}: hello fuse.atomfs-fuse ${join(folder, `${name}.sqfs`)}\n`)
          .join(''),
      })
      expect(readFileSync(join(folder, 'changes/persist/new'), 'utf8')).toBe('new\n')
    })
  })
})

describe.skipIf(!withUsers.ok || !hasFstab)(
  titled('an fstab line for users', {
    ...withUsers,
    ok: withUsers.ok && hasFstab,
    reason: withUsers.reason || 'needs /etc/fstab',
  }),
  () => {
    test('a plain user mounts and unmounts what fstab lets him, and root remounts it', async () => {
      await inScene(async (scene) => {
        const { folder, target } = scene
        const own = join(folder, 'own-run')
        mkdirSync(own)
        for (const path of [own, target]) chownSync(path, NOBODY, NOBODY)
        const line = 'fuse.atomfs-fuse ro,noauto,user,_netdev,nofail,x-systemd.automount,comment=x 0 0'
        writeFileSync(join(folder, 'fstab'), `${join(folder, 'i.sqfs')} ${target} ${line}\n`)
        const { status, stdout, stderr } = await withHelpers(
          scene,
          `
          mount --bind fstab /etc/fstab
          # The device may be closed to users on this machine.
          mknod -m 666 fuse c 10 229
          mount --bind fuse /dev/fuse
          m=$PWD/mnt
          as_user() {
            ATOMFS_TEST_RUN_DIR=$PWD/own-run setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups "$@"
          }
          as_user mount "$m"
          as_user cat "$m/etc/motd"
          findmnt -n -o OPTIONS "$m" | tr , '\\n' | grep -x -e ro -e nosuid -e noexec -e user_id=${NOBODY}
          as_user umount "$m"
          findmnt "$m" || echo gone
          mount "$m"
          mount -o remount,exec,noatime "$m"
          findmnt -n -o OPTIONS "$m" | tr , '\\n' | grep -x -e ro -e noexec -e noatime
          umount "$m"`,
        )
        expect({ status, stderr, stdout: stdout.trim().split('\n') }).toEqual({
          status: 0,
          stderr: '',
          stdout: ['hello', 'ro', 'nosuid', 'noexec', `user_id=${NOBODY}`, 'gone', 'ro', 'noatime'],
        })
        await until(() => entries(own).length === 0, 'the end of the daemon of the user')
      })
    })
  },
)
