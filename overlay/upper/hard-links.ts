import { closeSync } from 'node:fs'
import { FsError, type Name } from '../../src/base/index.ts'
import { linkAt, O_PATH, openAt, readlinkAt, renameAt, symlinkAt, unlinkAt } from '../../src/sys/at.ts'
import { listNames } from '../../src/sys/directory-entries.ts'
import { setxattrFd } from '../../src/sys/fd-xattr.ts'
import { type HostStat, statAt } from '../../src/sys/statx.ts'
import type { Part } from '../directory.ts'
import { HostDirectoryLayer } from '../host-directory.ts'
import type { Layer } from '../layer.ts'
import type { LinkGroup } from './nodes.ts'
import { ownAttribute, readOwn } from './own-attribute.ts'
import type { UpperPolicy } from './upper-policy.ts'
import type { WorkDirectory } from './work-directory.ts'

/** Ends the names in the index that mean something in this mount only. */
const PASSING = '.passing'
/** Ends the name of a symbolic link that tells how many names were removed before there was a copy. */
const REMOVED = '.removed'
/** `DELTA:KEY` on an inode of the upper that stands in the index. */
const RECORD: Name = 'overlay.atomfs.links'

/**
 * Files that have several names below. The first copy-up of one links it into the index as well, under a name made
 * of its layer and inode number, so that every other name leads to the copy from then on, as overlayfs does with
 * `index=on`. Who looks at the upper without the index sees the group broken, as with `index=off`.
 */
export class HardLinks {
  readonly #layers: readonly Layer[]
  readonly #work: WorkDirectory
  readonly #markers: UpperPolicy['markers']

  /** Removes what an earlier mount left of layers whose inode numbers do not outlast a mount. */
  constructor(layers: readonly Layer[], work: WorkDirectory, policy: UpperPolicy) {
    this.#layers = layers
    this.#markers = policy.markers
    this.#work = work
    for (const name of listNames(work.indexFd)) {
      if (name.includes(PASSING)) unlinkAt(work.indexFd, name)
    }
  }

  /** @param ino of the part in its layer */
  key(part: Part, ino: number): Name {
    const passing = this.#layers[part.layer] instanceof HostDirectoryLayer ? PASSING : ''
    return `${part.layer}-${ino}${passing}`
  }

  /** What a name below leads to now: the copy of its group, if there is one. */
  copyOf(key: Name): HostStat | undefined {
    return statAt(this.#work.indexFd, key)
  }

  /** A group that has no copy: how many of its names were removed is all there is to know. */
  uncopied(key: Name): LinkGroup | undefined {
    const record = this.#readRemoved(key)
    return record === 0 ? undefined : { key, delta: -record }
  }

  /** The group of an inode of the upper, if it stands in the index. @param fd of it, may be O_PATH */
  groupOf(fd: number, host: HostStat): LinkGroup | undefined {
    // The index itself is one link.
    return host.nlink < 2 ? undefined : this.#readGroup(fd, host)
  }

  #readGroup(fd: number, host: HostStat): LinkGroup | undefined {
    const value = readOwn(fd, RECORD, host.mode, this.#markers)
    const match = value && /^(-?\d{1,10}):(\d+-\d+(?:\.passing)?)$/.exec(value)
    if (!match?.[1] || !match[2]) return undefined
    const copy = this.copyOf(match[2])
    // A copy of a whole upper has the attribute, but not the index.
    return copy?.ino === host.ino && copy.dev === host.dev
      ? { key: match[2], delta: Number(match[1]) }
      : undefined
  }

  /** As `groupOf`, by the name in the index. */
  groupInIndex(key: Name, host: HostStat): LinkGroup {
    const fd = openAt(this.#work.indexFd, key, O_PATH)
    try {
      return this.#readGroup(fd, host) ?? { key, delta: 0 }
    } finally {
      closeSync(fd)
    }
  }

  /** A name of a file that has no copy yet was removed. */
  countRemoved(group: LinkGroup): void {
    const temporary = this.#work.temporaryName()
    symlinkAt(Buffer.from(`${-group.delta}`, 'latin1'), this.#work.fd, temporary)
    renameAt(this.#work.fd, temporary, this.#work.indexFd, group.key + REMOVED, 0)
  }

  /** Writes down how many names are shown; where attributes are impossible it is known for this mount only. */
  write(fd: number, mode: number, group: LinkGroup): void {
    try {
      const value = Buffer.from(`${group.delta}:${group.key}`, 'latin1')
      setxattrFd(fd, ownAttribute(RECORD, mode, this.#markers), value, 'either')
    } catch (error) {
      if (!(error instanceof FsError && ['EPERM', 'EOPNOTSUPP'].includes(error.code))) throw error
    }
  }

  /**
   * Puts a finished copy into the index, before it gets its name. @param temporary in the work directory
   * @returns false where the file system has no hard links, or no more of them, or the group is broken already
   */
  enter(temporary: Name, key: Name): boolean {
    try {
      linkAt(this.#work.fd, temporary, this.#work.indexFd, key)
      return true
    } catch (error) {
      if (error instanceof FsError && ['EPERM', 'EMLINK', 'EOPNOTSUPP', 'EEXIST'].includes(error.code))
        return false
      throw error
    }
  }

  /** The copy takes over the count of removed names. */
  forgetRemoved(key: Name): void {
    this.#unlink(key + REMOVED)
  }

  /** No name of the group is shown any more. */
  drop(key: Name): void {
    this.#unlink(key)
    this.#unlink(key + REMOVED)
  }

  #readRemoved(key: Name): number {
    const name = key + REMOVED
    if (statAt(this.#work.indexFd, name) === undefined) return 0
    const count = Number(Buffer.from(readlinkAt(this.#work.indexFd, name)).toString('latin1'))
    return Number.isSafeInteger(count) && count > 0 ? count : 0
  }

  #unlink(name: Name): void {
    try {
      unlinkAt(this.#work.indexFd, name)
    } catch (error) {
      if (!(error instanceof FsError && error.code === 'ENOENT')) throw error
    }
  }
}
