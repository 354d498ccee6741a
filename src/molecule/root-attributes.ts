import {
  type ErrnoCode,
  type FileSystem,
  ignoring,
  PERMISSIONS,
  ROOT_NODE_ID,
  type WritableFileSystem,
} from '../base/index.ts'

/** What an upper directory, a file system or a namespace may be unable to keep; the root is shown without it. */
const IMPOSSIBLE: readonly ErrnoCode[] = ['EPERM', 'EOPNOTSUPP', 'EINVAL', 'EACCES']

/**
 * Gives the root of a new upper directory the attributes of the root below. An overlay shows the root of the upper, which
 * has no attributes of its own yet and hides those below.
 * @throws FsError ENOSPC, EIO
 */
export function copyRoot(from: FileSystem, to: WritableFileSystem): void {
  const stat = from.getattr(ROOT_NODE_ID)
  for (const name of from.listxattr(ROOT_NODE_ID)) {
    const value = from.getxattr(ROOT_NODE_ID, name)
    if (value !== undefined) ignoring(IMPOSSIBLE, () => to.setxattr(ROOT_NODE_ID, name, value, 'either'))
  }
  const { uid, gid } = stat
  ignoring(IMPOSSIBLE, () => to.setattr(ROOT_NODE_ID, { uid, gid }))
  ignoring(IMPOSSIBLE, () => to.setattr(ROOT_NODE_ID, { mode: stat.mode & PERMISSIONS }))
  const atime = { seconds: stat.atime, nanoseconds: stat.atimeNsec }
  const mtime = { seconds: stat.mtime, nanoseconds: stat.mtimeNsec }
  ignoring(IMPOSSIBLE, () => to.setattr(ROOT_NODE_ID, { atime, mtime }))
}
