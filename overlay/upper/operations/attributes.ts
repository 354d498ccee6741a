import { type AttributeChanges, changing, PERMISSIONS, type Stat } from '../../../src/base/index.ts'
import { setTimesFd } from '../../../src/sys/files/fd-attributes.ts'
import { truncateFd } from '../../../src/sys/files/file-io.ts'
import { withStoredIds } from '../../stored/owner.ts'
import { Ownership } from '../disk/ownership.ts'
import type { Time } from '../nodes/modification-times.ts'
import { assertRegular, isDirectoryNode, type Node } from '../nodes/nodes.ts'
import { shownStat } from '../nodes/present.ts'
import type { Upper } from '../nodes/upper.ts'
import type { CopyUp } from './copy-up.ts'

/** Changes of attributes (SETATTR). */
export class AttributeWriter {
  readonly #upper: Upper
  readonly #copyUp: CopyUp
  readonly #ownership: Ownership

  constructor(upper: Upper, copyUp: CopyUp) {
    this.#upper = upper
    this.#copyUp = copyUp
    this.#ownership = new Ownership(upper.policy)
  }

  /**
   * An empty change clears setuid and setgid like chown(2) without owner and group: the kernel sends SETATTR without
   * fields for that, and to take privileges away. The host sets the change time.
   */
  change(node: Node, changes: AttributeChanges): Stat {
    const { files, times } = this.#upper
    const { size, mode, atime, mtime } = changes
    const { uid, gid } = withStoredIds(this.#upper.owner, changes)
    if (size !== undefined) assertRegular(node)
    const known = this.#known(node, changes)
    if (known !== undefined) return known
    this.#copyUp.ensure(node, size)
    return changing(() => {
      if (size !== undefined) {
        const fd = files.data(node, true)
        times.keep(node, fd)
        truncateFd(fd, size)
      }
      const onlyTouched =
        size === undefined && mode === undefined && atime === undefined && mtime === undefined
      files.with(node, (fd) => {
        const isChown = uid !== undefined || gid !== undefined || onlyTouched
        if (isChown) this.#ownership.chown(fd, uid, gid)
        else if (changes.killPrivileges) this.#ownership.killPrivileges(fd)
        if (mode !== undefined) this.#ownership.chmod(fd, mode & PERMISSIONS)
        if (atime !== undefined || mtime !== undefined) setTimesFd(fd, atime, mtime)
        if (mtime !== undefined) times.told(node)
      })
      if (isDirectoryNode(node)) node.inheritance = undefined
      return shownStat(this.#upper, node)
    })
  }

  /**
   * A client that keeps times (`clientKeepsTimes`) sends all of them after each change that moves ctime, also after
   * unlink(2) (fs/fuse/dir.c:fuse_update_ctime_in_cache). The host has moved ctime by then, and copy-up of a file of
   * the layers would be of no use.
   * @returns the shown attributes, where they have that mtime already
   */
  #known(node: Node, changes: AttributeChanges): Stat | undefined {
    const { mtime, ctime } = changes
    if (ctime === undefined || mtime === undefined || mtime === 'now') return undefined
    if (Object.keys(changes).length > 2) return undefined
    // `shownStat` would restore the remembered mtime, although this request sets another one.
    const kept = this.#upper.times.kept(node)
    if (kept !== undefined && !isSameTime(mtime, kept)) return undefined
    const shown = shownStat(this.#upper, node)
    return isSameTime(mtime, { seconds: shown.mtime, nanoseconds: shown.mtimeNsec }) ? shown : undefined
  }
}

function isSameTime(one: Time, other: Time): boolean {
  return one.seconds === other.seconds && one.nanoseconds === other.nanoseconds
}
