import { closeSync } from 'node:fs'
import { type ErrnoCode, ignoring, type Name } from '../../../src/base/index.ts'
import { reopenDirectory } from '../../../src/sys/files/at.ts'
import { inodeFlags, projectOf, setInodeFlags, setProject } from '../../../src/sys/files/inode-flags.ts'
import { getxattrFd, removexattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { ACCESS_ACL, DEFAULT_ACL } from '../../stored/acl.ts'

/**
 * What a directory passes on to all files that are made in it. Copies are made in the work directory and then renamed,
 * so they would get what the work directory passes on, not what their place does.
 */

/** Inode flags that new files take over from their directory (include/uapi/linux/fs.h: FS_*_FL). */
const PASSED_ON =
  0x4 | // COMPR
  0x8 | // SYNC
  0x40 | // NODUMP
  0x80 | // NOATIME
  0x400 | // NOCOMP
  0x4000 | // JOURNAL_DATA
  0x1_0000 | // DIRSYNC
  0x80_0000 | // NOCOW
  0x200_0000 | // DAX
  0x2000_0000 // PROJINHERIT

/** The label that files take over from their directory. Other security modules take it from the process. */
const LABEL: Name = 'security.selinux'

/** The file system lacks the feature, or the daemon may not use it. */
const IMPOSSIBLE: readonly ErrnoCode[] = [
  'EOPNOTSUPP',
  'ENOTTY',
  'EPERM',
  'EACCES',
  'EINVAL',
  'ENOSYS',
  'ENODATA',
]

/**
 * Removes the access ACL and the default ACL of a directory, as overlayfs does with its work directory
 * (fs/overlayfs/super.c:ovl_workdir_create). The users whom they name could read what is made there.
 * @param fd may be O_PATH
 * @throws FsError EPERM where an ACL cannot be removed
 */
export function removeAccessLists(fd: number): void {
  for (const name of [DEFAULT_ACL, ACCESS_ACL]) {
    if (getxattrFd(fd, name) !== undefined) removexattrFd(fd, name)
  }
}

/**
 * Makes a directory pass on what another one does: project, inode flags, label. A file of another project could not be
 * renamed there (EXDEV).
 * @param fd may be O_PATH.
 * @param like may be O_PATH
 */
export function passOnLike(fd: number, like: number): void {
  const label = getxattrFd(like, LABEL)
  if (label !== undefined) ignoring(IMPOSSIBLE, () => setxattrFd(fd, LABEL, label, 'either'))
  const [to, from] = [reopenDirectory(fd), reopenDirectory(like)]
  try {
    ignoring(IMPOSSIBLE, () => setProject(to, projectOf(from)))
    ignoring(IMPOSSIBLE, () => {
      const [own, wanted] = [inodeFlags(to), inodeFlags(from)]
      const flags = (own & ~PASSED_ON) | (wanted & PASSED_ON)
      if (flags !== own) setInodeFlags(to, flags)
    })
  } finally {
    closeSync(to)
    closeSync(from)
  }
}
