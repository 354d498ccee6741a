import type { Entry, FileSystem, FlagsForm, Name, XattrMode } from './file-system.ts'
import type { NodeId } from './id.ts'
import type { Stat } from './stat.ts'

/** Who asks for a new file: it becomes the owner, and its umask holds unless a default ACL does. */
export interface Caller {
  readonly uid: number
  readonly gid: number
  /** Permission bits to take away from the mode of a new file. */
  readonly umask: number
}

/** Seconds since 1970, may be negative, and nanoseconds 0 to 999 999 999; or the clock of the host. */
export type NewTime = { readonly seconds: number; readonly nanoseconds: number } | 'now'

/** What SETATTR changes; what is absent stays. */
export interface AttributeChanges {
  /** Permission bits, 0 to 07777. */
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  /** New length of the file, bytes. */
  readonly size?: number
  readonly atime?: NewTime
  readonly mtime?: NewTime
  readonly ctime?: NewTime
  /** Also take away setuid, setgid of an executable group, and `security.capability` (FUSE_HANDLE_KILLPRIV_V2). */
  readonly killPrivileges?: boolean
}

export type RenameMode = 'replace' | 'noreplace' | 'exchange'

/**
 * A file system that can be changed. There are no file handles: the kernel opens without asking, and a node that it
 * knows stays usable after its last name is gone, until it is forgotten. Synchronous, as `FileSystem` is, and every
 * method throws FsError with the errno to answer. Permissions are the kernel's business (`default_permissions`).
 */
export interface WritableFileSystem extends FileSystem {
  /**
   * Called before any change where the client keeps mtime and ctime of regular files by itself: it says a new mtime by
   * `setattr` and never asks what became of it. So from now on no other change of such a file moves its mtime.
   */
  clientKeepsTimes(): void
  /** A regular file is opened for writing. Called only where it must lie in the upper from then on. */
  open(node: NodeId): void
  /** @returns the attributes afterwards */
  setattr(node: NodeId, changes: AttributeChanges): Stat
  /** @param mode with type bits: regular file, fifo, socket or device. @throws EEXIST, ENOENT, EPERM */
  mknod(parent: NodeId, name: Name, mode: number, rdev: number, caller: Caller): Entry
  /** Makes a directory. Its entry counts as one lookup of the node. @throws EEXIST, ENOSPC */
  mkdir(parent: NodeId, name: Name, mode: number, caller: Caller): Entry
  /** Makes a symbolic link; its target is stored as it is. @throws EEXIST, ENOSPC */
  symlink(parent: NodeId, name: Name, target: Uint8Array, caller: Caller): Entry
  /** Gives a file one more name. @throws EEXIST, EMLINK, ENOSPC */
  link(node: NodeId, parent: NodeId, name: Name): Entry
  /** A regular file without a name (O_TMPFILE); `link` may give it one. */
  tmpfile(parent: NodeId, mode: number, caller: Caller): Entry
  /** Takes a name of a file away. @throws ENOENT, EISDIR */
  unlink(parent: NodeId, name: Name): void
  /** @throws ENOTEMPTY where the merged directory still shows a name */
  rmdir(parent: NodeId, name: Name): void
  /**
   * Moves a name, over another one where `mode` lets it.
   * @param whiteout leave a whiteout that the user sees as a character device 0:0 (RENAME_WHITEOUT)
   */
  rename(
    parent: NodeId,
    name: Name,
    newParent: NodeId,
    newName: Name,
    mode: RenameMode,
    whiteout: boolean,
  ): void
  /** @returns bytes written. @throws ENOSPC, EDQUOT, EFBIG */
  write(node: NodeId, offset: number, data: Uint8Array, killPrivileges: boolean): number
  /** @param mode FALLOC_FL_* as the caller gave it. @throws EOPNOTSUPP where the host cannot */
  fallocate(node: NodeId, mode: number, offset: number, length: number): void
  /** @returns bytes copied, 0 at the end of `from` */
  copyFileRange(from: NodeId, fromOffset: number, to: NodeId, toOffset: number, length: number): number
  /** Sets an extended attribute, under its full name. @throws EEXIST, ENODATA as `mode` wants it; EPERM, EOPNOTSUPP */
  setxattr(node: NodeId, name: Name, value: Uint8Array, mode: XattrMode): void
  /** @throws ENODATA */
  removexattr(node: NodeId, name: Name): void
  /** @param flags as `inodeFlags` gives them. @throws EPERM, EOPNOTSUPP, ENOTTY */
  setInodeFlags(node: NodeId, form: FlagsForm, flags: Uint8Array): void
  /** Waits until a file is on the disk. @param dataOnly as fdatasync(2). @throws EIO */
  fsync(node: NodeId, dataOnly: boolean): void
  /** Waits until all changes are on the disk. @throws EIO */
  syncfs(): void
}
