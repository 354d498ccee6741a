import {
  type AttributeChanges,
  FsError,
  isDirectory,
  PERMISSIONS,
  S_ISGID,
  S_ISUID,
  S_IWGRP,
  S_IWOTH,
  S_IXGRP,
  type WritableFileSystem,
} from '../../base/index.ts'
import type { Request } from './decode.ts'

/** Taking setuid and setgid away, as far as the kernel leaves it to the file system. */

/** True where the request changes no attribute: the kernel sends it to take setuid and setgid away. */
export function isOnlyToTakePrivileges({ killPrivileges, ctime, ...rest }: AttributeChanges): boolean {
  return killPrivileges === true && Object.keys(rest).length === 0
}

/**
 * chown(2) without owner and group reaches the file system from every caller. The kernel removes the change of mode
 * from the request, and so makes no check of its own (fs/fuse/dir.c:fuse_setattr). It sends the same request before
 * fallocate(2), where the caller may write and must not be refused. The request has only the caller's first group.
 * @throws FsError EPERM
 */
export function assertMayTakePrivileges(
  fileSystem: WritableFileSystem,
  { nodeId, uid: caller, gid: group }: Request,
): void {
  const { mode, uid, gid } = fileSystem.getattr(nodeId)
  const isPrivileged = (mode & S_ISUID) !== 0 || ((mode & S_ISGID) !== 0 && (mode & S_IXGRP) !== 0)
  if (isDirectory(mode) || !isPrivileged || caller === 0 || caller === uid) return
  if ((mode & S_IWOTH) !== 0 || ((mode & S_IWGRP) !== 0 && group === gid)) return
  throw new FsError('EPERM', `SETATTR by ${caller}: the file is ${uid}'s`)
}

/** What chmod(2) does for a caller who is not in the group of the file (FUSE_SETXATTR_ACL_KILL_SGID). */
export function dropSetgid(fileSystem: WritableFileSystem, node: number): void {
  const { mode } = fileSystem.getattr(node)
  if ((mode & S_ISGID) !== 0) fileSystem.setattr(node, { mode: mode & PERMISSIONS & ~S_ISGID })
}
