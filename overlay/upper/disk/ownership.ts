import {
  ignoring,
  isDirectory,
  type Name,
  PERMISSIONS,
  S_IFMT,
  S_ISGID,
  S_ISUID,
  S_IXGRP,
  type Stat,
} from '../../../src/base/index.ts'
import { chmodFd, chownFd } from '../../../src/sys/files/fd-attributes.ts'
import { type HostStat, statFd } from '../../../src/sys/files/statx.ts'
import { getxattrFd, removexattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { ACCESS_ACL, aclOfMode } from '../../stored/acl.ts'
import { presentUpperStat, writeOwner } from '../../stored/owner-record.ts'
import type { UpperPolicy } from '../../stored/policy.ts'
import { nameInUpper } from '../../stored/upper-xattrs.ts'

const CAPABILITY: Name = 'security.capability'

/**
 * Changes owner and mode of a file in the upper. Where they are written down, it also does what the kernel does for a
 * real file.
 * @param fd may be O_PATH
 */
export class Ownership {
  readonly #policy: UpperPolicy

  constructor(policy: UpperPolicy) {
    this.#policy = policy
  }

  /** Takes setuid, setgid of an executable group, and file capabilities away, as chown(2) does for every caller. */
  chown(fd: number, uid: number | undefined, gid: number | undefined): void {
    if (this.#policy.owners === 'real') {
      chownFd(fd, uid, gid)
      return
    }
    const before = this.#meant(fd)
    const mode = isDirectory(before.mode) ? before.mode : withoutPrivileges(before.mode)
    writeOwner(fd, { ...before, mode, uid: uid ?? before.uid, gid: gid ?? before.gid }, this.#policy)
    if (!isDirectory(before.mode)) this.#removeCapabilities(fd)
  }

  /** @param mode permission bits */
  chmod(fd: number, mode: number): void {
    if (this.#policy.owners === 'real') {
      chmodFd(fd, mode)
      return
    }
    const before = this.#meant(fd)
    writeOwner(fd, { ...before, mode: (before.mode & S_IFMT) | (mode & PERMISSIONS) }, this.#policy)
    const name = nameInUpper(ACCESS_ACL, this.#policy)
    const acl = name && getxattrFd(fd, name)
    if (name && acl) setxattrFd(fd, name, aclOfMode(acl, mode), 'replace')
  }

  /**
   * Takes away what a write of a caller without special rights takes away, and a change of owner. Directories keep
   * their bits, which have another meaning there (fs/open.c:chown_common).
   */
  killPrivileges(fd: number): void {
    const { mode } = this.#meant(fd)
    if (isDirectory(mode)) return
    const killed = withoutPrivileges(mode)
    if (killed !== mode) this.chmod(fd, killed & PERMISSIONS)
    // For a real file the kernel of the host removes them at every write.
    if (this.#policy.owners === 'override') this.#removeCapabilities(fd)
  }

  #meant(fd: number): Stat {
    const host: HostStat = statFd(fd)
    return presentUpperStat(fd, host, this.#policy)
  }

  #removeCapabilities(fd: number): void {
    const name = nameInUpper(CAPABILITY, this.#policy)
    if (name === undefined) return
    ignoring(['ENODATA', 'EOPNOTSUPP'], () => removexattrFd(fd, name))
  }
}

/** include/linux/fs.h:setattr_should_drop_suidgid */
function withoutPrivileges(mode: number): number {
  const kept = mode & ~S_ISUID
  return (mode & S_IXGRP) === 0 ? kept : kept & ~S_ISGID
}
