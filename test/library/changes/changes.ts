import { S_IFBLK, S_IFCHR, S_IFIFO, S_IFREG, S_IFSOCK } from '../../../src/base/index.ts'
import type { Random } from '../trees/random.ts'
import type { Actor, MountedTree } from './tree.ts'

/** One step on a mounted tree, with a text to print where two trees differ after it. */
export interface Change {
  readonly text: string
  readonly run: (tree: MountedTree) => unknown
  /** What it does to the set of files held open, if it succeeds. */
  readonly holds?: number
  readonly releases?: number
}

export interface ChangeOptions {
  /** Attributes with names that overlayfs uses itself there, which it escapes for users; none if absent. */
  readonly namespace?: 'user' | 'trusted'
  /** Steps by other users than root too. */
  readonly actors: boolean
  /**
   * File capabilities, and then no stores into pages: through FUSE these are writes in the end, which take capabilities
   * away, while on other file systems they do not.
   */
  readonly capabilities: boolean
  /** POSIX access control lists. */
  readonly acls: boolean
  /**
   * Other programs change the same files: no look at the tree at the start, and no stores into pages, which are a SIGBUS
   * where a file was cut off meanwhile.
   */
  readonly amongOthers?: boolean
}

const NAMES = ['a', 'b', 'c', 'dd', 'e\xe9', '-f', '.g']
const MODES = [0o644, 0o600, 0o755, 0o4755, 0o2755, 0o2644, 0o1777, 0o777, 0]
const ACTORS: readonly Actor[] = [
  { uid: 7, gid: 8, groups: [8], umask: 0o022 },
  { uid: 5, gid: 6, groups: [6, 8], umask: 0o077 },
]
const HANDLES = 8
/** linux/falloc.h: KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE; FUSE passes no other on. */
const ALLOCATIONS = [0, 1, 1 | 2, 16, 16 | 1]
const RENAME_NOREPLACE = 1
const RENAME_EXCHANGE = 2

/** Chooses what happens next, from a seed: the same on every mount as long as they behave alike. */
export class ChangeGenerator {
  readonly #random: Random
  readonly #options: ChangeOptions
  readonly #held = new Set<number>()

  constructor(random: Random, options: ChangeOptions) {
    this.#random = random
    this.#options = options
  }

  next(): Change {
    const random = this.#random
    if (this.#held.size > 0 && random.chance(0.14)) return this.#heldChange()
    const change = this.#choose()
    if (!this.#options.actors || !random.chance(0.2)) return change
    const actor = random.pick(ACTORS)
    return {
      ...change,
      text: `${change.text} (uid ${actor.uid})`,
      run: (tree) => tree.as(actor, () => change.run(tree)),
    }
  }

  /** To be told of every change that succeeded. */
  succeeded({ holds, releases }: Change): void {
    if (holds !== undefined) this.#held.add(holds)
    if (releases !== undefined) this.#held.delete(releases)
  }

  get #storesIntoPages(): boolean {
    const { capabilities, amongOthers = false } = this.#options
    return !capabilities && !amongOthers
  }

  #path(): string {
    return Array.from({ length: this.#random.int(1, 3) }, () => this.#random.pick(NAMES)).join('/')
  }

  #choose(): Change {
    const roll = this.#random.int(0, 99)
    if (roll < 30) return this.#newName()
    if (roll < 58) return this.#namesChange()
    if (roll < 78) return this.#dataChange()
    if (roll < 96) return this.#attributeChange()
    return this.#hold()
  }

  #newName(): Change {
    const random = this.#random
    const [path, other, mode] = [this.#path(), this.#path(), random.pick(MODES)]
    const data = random.text(random.int(0, 6000))
    switch (random.int(0, 9)) {
      case 0:
      case 1:
        return change('create', [path, octal(mode)], (tree) => tree.create(path, mode))
      case 2:
      case 3:
        return change('content', [path, data.length, octal(mode)], (tree) =>
          tree.replaceContent(path, data, mode),
        )
      case 4:
      case 5:
      case 6:
        return change('mkdir', [path, octal(mode)], (tree) => tree.mkdir(path, mode & 0o1777))
      case 7:
        return this.#node(path, mode)
      case 8: {
        const target = random.pick(['a', './b', 'c/dd', 'nowhere', 'x'.repeat(300)])
        return change('symlink', [path, target.slice(0, 10)], (tree) => tree.symlink(path, target))
      }
      default:
        return change('link', [path, other], (tree) => tree.link(path, other))
    }
  }

  #node(path: string, mode: number): Change {
    const type = this.#random.pick([S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFREG])
    // Devices that do not answer: 120 to 127 are for local use (admin-guide/devices.txt).
    const rdev = type === S_IFCHR || type === S_IFBLK ? (121 << 8) | this.#random.int(1, 200) : 0
    return change('mknod', [path, octal(type | mode), rdev], (tree) => tree.mknod(path, type | mode, rdev))
  }

  #namesChange(): Change {
    const [one, two] = [this.#path(), this.#path()]
    const roll = this.#random.int(0, 27)
    if (roll < 8) return change('unlink', [one], (tree) => tree.unlink(one))
    if (roll < 15) return change('rmdir', [one], (tree) => tree.rmdir(one))
    if (roll < 23) return change('rename', [one, two], (tree) => tree.rename(one, two))
    const flags = roll < 25 ? RENAME_NOREPLACE : RENAME_EXCHANGE
    return change('renameat2', [one, two, flags], (tree) => tree.renameWith(one, two, flags))
  }

  #dataChange(): Change {
    const random = this.#random
    const [path, other, offset, length] = [
      this.#path(),
      this.#path(),
      random.int(0, 9000),
      random.int(1, 5000),
    ]
    const data = random.text(random.int(1, 400))
    switch (random.int(0, 6)) {
      case 0:
      case 1:
        return change('write', [path, offset, data.length], (tree) => tree.write(path, offset, data))
      case 2:
        return change('append', [path, data.length], (tree) => tree.append(path, data))
      case 3:
        if (!this.#storesIntoPages) return change('sync', [path], (tree) => tree.sync(path))
        return change('mapped', [path, offset, data.length], (tree) =>
          tree.writeMapped(path, offset % 3000, data),
        )
      case 4:
        return change('truncate', [path, offset], (tree) => tree.truncate(path, offset))
      case 5: {
        const mode = random.pick(ALLOCATIONS)
        return change('fallocate', [path, mode, offset, length], (tree) =>
          tree.fallocate(path, mode, offset, length),
        )
      }
      default: {
        const to = random.int(0, 5000)
        return change('copy', [path, offset % 500, other, to, length], (tree) =>
          tree.copyRange(path, offset % 500, other, to, length),
        )
      }
    }
  }

  #attributeChange(): Change {
    const random = this.#random
    const path = this.#path()
    const roll = random.int(0, 17)
    if (roll < 4) {
      const mode = random.pick(MODES)
      return change('chmod', [path, octal(mode)], (tree) => tree.chmod(path, mode))
    }
    if (roll < 7) {
      const [uid, gid] = [random.pick([-1, 0, 5, 7]), random.pick([-1, 0, 6, 8])]
      return change('chown', [path, uid, gid], (tree) => tree.chown(path, uid, gid))
    }
    if (roll < 10) {
      const time = { seconds: random.int(-5, 1_500_000_000), nanoseconds: random.int(0, 999_999_999) }
      const atime = random.chance(0.5) ? time : 'now'
      return change('times', [path, time.seconds], (tree) => tree.times(path, atime, time))
    }
    return roll < 13 && this.#options.acls ? this.#acl(path) : this.#xattr(path)
  }

  #xattr(path: string): Change {
    const random = this.#random
    const { namespace } = this.#options
    const name = random.pick([
      'user.x',
      `user.long-${'n'.repeat(200)}`,
      'trusted.z',
      ...(namespace === undefined ? [] : [`${namespace}.overlay.opaque`, `${namespace}.overlay.redirect`]),
      this.#options.capabilities ? 'security.capability' : 'user.y',
    ])
    if (random.chance(0.3)) return change('removexattr', [path, name], (tree) => tree.removexattr(path, name))
    const how = random.pick(['either', 'either', 'create', 'replace'] as const)
    const value = name === 'security.capability' ? CAPABILITY : random.bytes(random.int(0, 300))
    return change('setxattr', [path, name, value.length, how], (tree) =>
      tree.setxattr(path, name, value, how),
    )
  }

  #acl(path: string): Change {
    const random = this.#random
    const name = random.pick([
      'system.posix_acl_access',
      'system.posix_acl_default',
      'system.posix_acl_default',
    ])
    if (random.chance(0.2)) return change('removexattr', [path, name], (tree) => tree.removexattr(path, name))
    const permissions = Array.from({ length: 5 }, () => random.int(0, 7))
    const value = aclOf(permissions)
    return change('setxattr', [path, name, ...permissions], (tree) =>
      tree.setxattr(path, name, value, 'either'),
    )
  }

  #hold(): Change {
    const [path, handle] = [this.#path(), this.#random.int(0, HANDLES - 1)]
    if (this.#held.has(handle)) return this.#heldChange()
    if (this.#random.chance(0.3)) {
      return {
        ...change('tmpfile', [path, handle], (tree) => tree.tmpfile(path, 0o640, handle)),
        holds: handle,
      }
    }
    return { ...change('hold', [path, handle], (tree) => tree.hold(path, handle)), holds: handle }
  }

  #heldChange(): Change {
    const random = this.#random
    const handle = random.pick([...this.#held])
    const [offset, data, path] = [random.int(0, 7000), random.text(random.int(1, 200)), this.#path()]
    switch (random.int(0, 9)) {
      case 0:
      case 1:
        return change('heldWrite', [handle, offset, data.length], (tree) =>
          tree.heldWrite(handle, offset, data),
        )
      case 2:
        if (!this.#storesIntoPages) return change('heldSync', [handle], (tree) => tree.heldSync(handle))
        return change('heldMapped', [handle, offset], (tree) =>
          tree.heldWriteMapped(handle, offset % 2000, data),
        )
      case 3:
        return change('heldTruncate', [handle, offset], (tree) => tree.heldTruncate(handle, offset))
      case 4:
        return change('heldChmod', [handle], (tree) => tree.heldChmod(handle, 0o2711))
      case 5:
        return change('heldSync', [handle], (tree) => tree.heldSync(handle))
      case 6:
        return change('heldLink', [handle, path], (tree) => tree.heldLink(handle, path))
      case 7:
      case 8:
        return change('heldLook', [handle], (tree) => tree.heldLook(handle))
      default:
        return { ...change('release', [handle], (tree) => tree.release(handle)), releases: handle }
    }
  }
}

function change(name: string, args: readonly unknown[], run: (tree: MountedTree) => unknown): Change {
  return { text: `${name} ${args.map((arg) => JSON.stringify(arg)).join(' ')}`, run }
}

function octal(mode: number): string {
  return mode.toString(8)
}

/** linux/capability.h, struct vfs_cap_data of revision 2 with the effective bit: cap_net_raw. */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex')

/** linux/posix_acl_xattr.h: the three of every file, one more user, one more group and the mask. */
function aclOf([owner = 0, group = 0, other = 0, named = 0, mask = 0]: readonly number[]): Buffer {
  const anyone = 0xffff_ffff
  const entries: readonly (readonly [tag: number, permissions: number, id: number])[] = [
    [0x01, owner, anyone],
    [0x02, named, 7],
    [0x04, group, anyone],
    [0x08, named, 6],
    [0x10, mask, anyone],
    [0x20, other, anyone],
  ]
  const value = Buffer.alloc(4 + entries.length * 8)
  value.writeUInt32LE(2, 0)
  entries.forEach(([tag, permissions, id], i) => {
    value.writeUInt16LE(tag, 4 + i * 8)
    value.writeUInt16LE(permissions, 6 + i * 8)
    value.writeUInt32LE(id, 8 + i * 8)
  })
  return value
}
