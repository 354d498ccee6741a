import { chmodSync, chownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hostMode, presentUpperStat } from '../../../overlay/stored/owner-record.ts'
import { OLD_RECORD, SECURITY_RECORD, type UpperPolicy, USER_RECORD } from '../../../overlay/stored/policy.ts'
import { probeUpper } from '../../../overlay/upper/upper-policy.ts'
import {
  isDirectory,
  isRegular,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../../src/base/index.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import { setxattrFd } from '../../../src/sys/files/xattr.ts'
import { failsWith } from '../../library/expectations.ts'
import { bundleProgram, needs, type RunResult, run, titled, unmount } from '../../library/index.ts'
import type { PlainCopy, PlainSource } from './plain-user-main.ts'
import { Scene, statOf } from './support.ts'

const root = needs('root')
const plain = needs('root', 'setpriv')
const mapped = needs('root', 'userns', 'unshare')
const fuseOverlayfs = needs('root', 'fuse', 'fuse-overlayfs', 'setpriv')

let scene: Scene
beforeEach(() => {
  scene = new Scene()
})
afterEach(() => scene.close())

describe.skipIf(!root.ok)(titled('the upper policy as root', root), () => {
  test('root gets real owners, devices and attributes, and the probe leaves no file behind', () => {
    expect(probeUpper(scene.work, scene.upperFd)).toEqual({
      owners: 'real',
      ownerRecord: USER_RECORD,
      modes: 'real',
      markers: 'user',
      whiteouts: 'device',
      xattrs: true,
      fsync: 'auto',
    })
    expect(readdirSync(scene.path('work/work'))).toEqual([])
    expect(readdirSync(scene.path('upper'))).toEqual([])
  })

  test('the policy follows the options for owners, markers and syncing', () => {
    const probe = (wished: Parameters<typeof probeUpper>[2]) => probeUpper(scene.work, scene.upperFd, wished)
    expect(probe({ markers: 'trusted' }).markers).toBe('trusted')
    expect(probe({ recordOwners: 'never' }).owners).toBe('real')
    expect(probe({ recordOwners: 'security' })).toMatchObject({
      owners: 'override',
      ownerRecord: SECURITY_RECORD,
    })
    expect(probe({ recordOwners: 'user' })).toMatchObject({
      owners: 'override',
      ownerRecord: USER_RECORD,
      modes: 'private',
    })
    expect(probe({ fsync: 'strict' }).fsync).toBe('strict')
  })

  test('an upper with owner records of an earlier mount keeps using records', () => {
    setxattrFd(scene.upperFd, USER_RECORD, Buffer.from('0:0:0755'), 'create')
    for (const recordOwners of [undefined, 'never'] as const) {
      const wished = recordOwners === undefined ? {} : { recordOwners }
      expect(probeUpper(scene.work, scene.upperFd, wished).owners).toBe('override')
    }
  })

  test('an upper with owner records of an old fuse-overlayfs keeps using them', () => {
    setxattrFd(scene.upperFd, OLD_RECORD, Buffer.from('0:0:40755'), 'create')
    const policy = probeUpper(scene.work, scene.upperFd)
    expect(policy).toMatchObject({ owners: 'override', ownerRecord: OLD_RECORD })
    const shown = presentUpperStat(scene.upperFd, statFd(scene.upperFd), policy)
    expect(shown).toMatchObject({ uid: 0, gid: 0, mode: S_IFDIR | 0o755 })
  })

  test('an upper and a work directory on two file systems or two mounts are refused', async () => {
    mkdirSync(scene.path('mount'))
    const options = { bind: ['--bind', scene.path('upper')], tmpfs: ['-t', 'tmpfs', 'tmpfs'] }
    for (const args of Object.values(options)) {
      await run('mount', [...args, scene.path('mount')])
      try {
        const fd = scene.open('mount')
        failsWith('EXDEV', () => probeUpper(scene.work, fd))
        scene.closeLast()
      } finally {
        await unmount(scene.path('mount'))
      }
    }
    expect(readdirSync(scene.path('upper'))).toEqual([])
  })

  test('an upper on a file system that became read-only is EROFS', async () => {
    mkdirSync(scene.path('mount'))
    await run('mount', ['-t', 'tmpfs', 'tmpfs', scene.path('mount')])
    try {
      const inner = new Scene(scene.path('mount'))
      try {
        await run('mount', ['-o', 'remount,ro', scene.path('mount')])
        failsWith('EROFS', () => probeUpper(inner.work, inner.upperFd))
        await run('mount', ['-o', 'remount,rw', scene.path('mount')])
      } finally {
        inner.closeDescriptors()
      }
    } finally {
      await unmount(scene.path('mount'))
    }
  })
})

const CAPABILITY = '0100000200200000000000000000000000000000'

/** One source of each type, and of awkward modes, none of them of the user who copies. */
function sources(): PlainSource[] {
  const types = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK }
  const list = Object.entries(types).flatMap(([type, bits]) =>
    [0, 0o444, 0o755, 0o2070, 0o4711, 0o7777].map((mode) => {
      const rdev = bits === S_IFCHR || bits === S_IFBLK ? 0x0103 : 0
      const content = bits === S_IFREG || bits === S_IFLNK ? `content \xff of ${type}` : ''
      return {
        name: `${type}-${mode.toString(8)}`,
        stat: statOf({ mode: bits | mode, rdev, uid: 0, gid: 4321, size: content.length }),
        content,
        xattrs: [['user.a', '31']] as const,
      }
    }),
  )
  const capable = {
    name: 'capable',
    stat: statOf({ mode: S_IFREG | 0o755, uid: 0, gid: 0 }),
    content: '',
    xattrs: [
      ['security.capability', CAPABILITY],
      ['trusted.t', '31'],
    ] as const,
  }
  return [...list, capable]
}

interface Printed {
  readonly policy: UpperPolicy
  readonly copies: readonly PlainCopy[]
  readonly left: readonly string[]
}

/** Runs the program below a prefix of other rights. */
async function copyAs(prefix: readonly string[], list: readonly PlainSource[]): Promise<Printed> {
  const program = await bundleProgram(fileURLToPath(new URL('plain-user-main.ts', import.meta.url)))
  writeFileSync(scene.path('sources.json'), JSON.stringify(list))
  const [command = '', ...args] = [...prefix, process.execPath, program, scene.folder]
  const { stdout }: RunResult = await run(command, args)
  return JSON.parse(stdout)
}

/**
 * Runs "$@" in a user namespace whose ids 0 to 65535 are those outside. The mapping is written from outside, while the
 * process waits at the fifo $0.
 */
const WITH_RANGE = `
mkfifo "$0"
unshare -U sh -c 'read line < "$0"; exec "$@"' "$0" "$@" &
until [ "$(readlink /proc/$!/ns/user)" != "$(readlink /proc/$$/ns/user)" ]; do sleep 0.01; done
echo 0 0 65536 > /proc/$!/uid_map
echo 0 0 65536 > /proc/$!/gid_map
echo go > "$0"
wait $!`

const NOBODY = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']

/** Gives the scene to the plain user. */
function giveAway(): void {
  chmodSync(scene.folder, 0o711)
  for (const name of ['upper', 'work', 'work/work']) {
    chownSync(scene.path(name), 65_534, 65_534)
  }
}

describe.skipIf(!plain.ok)(titled('the upper policy as a plain user', plain), () => {
  test('a plain user gets recorded owners, and files of all types and modes are shown with them', async () => {
    giveAway()
    const list = sources()
    const { policy, copies, left } = await copyAs(NOBODY, list)
    expect(policy).toMatchObject({
      owners: 'override',
      ownerRecord: USER_RECORD,
      markers: 'user',
      xattrs: true,
    })
    expect(left).toEqual([])
    for (const [index, { name, host, shown, attributes, content }] of copies.entries()) {
      const { stat, content: given } = list[index]!
      const directory = isDirectory(stat.mode)
      expect(host, name).toMatchObject({
        uid: 65_534,
        gid: 65_534,
        mode:
          directory || isRegular(stat.mode) ? (stat.mode & S_IFMT) | hostMode(stat, 65_534) : S_IFREG | 0o600,
      })
      const { mode, uid, gid, rdev, mtime, mtimeNsec } = stat
      expect(shown, name).toMatchObject({ mode, uid, gid, rdev, mtime, mtimeNsec })
      if (!directory) expect(shown.size, name).toBe(given.length)
      expect(content, name).toBe(given)
      expect(attributes['user.overlay.atomfs.ino'], name).toBe('77')
      if (name !== 'capable') expect(attributes['user.a'], name).toBe('1')
    }
    expect(copies.find(({ name }) => name === 'capable')?.attributes).toMatchObject({
      'user.containers.override_security.capability': Buffer.from(CAPABILITY, 'hex').toString('latin1'),
      'user.containers.override_trusted.t': '1',
      'user.containers.override_stat': '0:0:0755:file',
    })
  })

  test.skipIf(!fuseOverlayfs.ok)(
    titled('fuse-overlayfs shows the owners that we recorded', fuseOverlayfs),
    async () => {
      giveAway()
      mkdirSync(scene.path('lower'))
      mkdirSync(scene.path('mount'))
      chownSync(scene.path('mount'), 65_534, 65_534)
      const regular = sources().filter(({ name }) => name.startsWith('S_IFREG') || name.startsWith('S_IFDIR'))
      await copyAs(NOBODY, regular)
      // By that of the root fuse-overlayfs knows that there are more.
      setxattrFd(scene.upperFd, USER_RECORD, Buffer.from('0:0:0755:dir'), 'create')
      const layers = `lowerdir=${scene.path('lower')},upperdir=${scene.path('upper')},workdir=${scene.path('work')}`
      await run('fuse-overlayfs', ['-o', `${layers},allow_other`, scene.path('mount')])
      try {
        const { stdout } = await run('find', [
          scene.path('mount'),
          '-mindepth',
          '1',
          '-printf',
          '%P %y %m %U %G\n',
        ])
        const expected = regular.map(({ name, stat }) => {
          const type = name.startsWith('S_IFDIR') ? 'd' : 'f'
          return `${name} ${type} ${(stat.mode & 0o7777).toString(8)} ${stat.uid} ${stat.gid}`
        })
        expect(stdout.trim().split('\n').sort()).toEqual(expected.sort())
      } finally {
        await unmount(scene.path('mount'))
      }
    },
  )
})

describe.skipIf(!mapped.ok)(titled('the upper policy in a user namespace', mapped), () => {
  test('a user namespace with a range of ids gets real owners and the whiteout device', async () => {
    const list = sources().filter(({ stat }) => stat.rdev === 0)
    const { policy, copies } = await copyAs(['sh', '-c', WITH_RANGE, scene.path('go')], list)
    expect(policy).toMatchObject({ owners: 'real', markers: 'user', whiteouts: 'device' })
    for (const [index, { name, host }] of copies.entries()) {
      const { mode, uid, gid } = list[index]!.stat
      if (!name.startsWith('S_IFLNK')) expect(host, name).toMatchObject({ mode, uid, gid })
    }
  })

  test('a user namespace with one id gets recorded owners', async () => {
    giveAway()
    const { policy } = await copyAs([...NOBODY, 'unshare', '-Ur'], sources())
    expect(policy.owners).toBe('override')
  })
})
