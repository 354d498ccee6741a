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

/** What the kernel leaves to the file system of taking setuid and setgid away. */

/** A change of attributes that names none: it is there to take setuid and setgid away. */
export function isOnlyToTakePrivileges({ killPrivileges, ctime, ...rest }: AttributeChanges): boolean {
  return killPrivileges === true && Object.keys(rest).length === 0
}

/**
 * What is left of chown(2) without owner and group comes from anybody: the kernel takes the change of mode out of it,
 * and with that its own check (fs/fuse/dir.c:fuse_setattr). The same request is sent before fallocate(2) by somebody
 * who may write, who must not be refused. Other groups than the first one are not told.
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

/** As chmod(2) does it for a caller who is not in the group of the file (FUSE_SETXATTR_ACL_KILL_SGID). */
export function dropSetgid(fileSystem: WritableFileSystem, node: number): void {
  const { mode } = fileSystem.getattr(node)
  if ((mode & S_ISGID) !== 0) fileSystem.setattr(node, { mode: mode & PERMISSIONS & ~S_ISGID })
}
