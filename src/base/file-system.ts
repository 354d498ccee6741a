import type { ExtentSink } from './extent.ts'
import type { Stat, StatFs } from './stat.ts'

/**
 * A file name, link target or xattr name as a "binary" string: one character (0..255) per byte, made by
 * `buffer.toString('latin1')`. Names are bytes, often not UTF-8; this form is exact, and compares in byte order.
 */
export type Name = string

/**
 * Names a node in the kernel protocol. A safe integer; `ROOT_NODE_ID` is the root. In read-only mounts it is
 * derived from layer and inode reference, so that a restarted server gives the same ids.
 */
export type NodeId = number

/** FUSE_ROOT_ID (include/uapi/linux/fuse.h). */
export const ROOT_NODE_ID: NodeId = 1

export interface Entry {
  readonly nodeId: NodeId
  readonly stat: Stat
  /**
   * With the node id it tells a file from all others that a mount of the same tree shows, now or later: both together are
   * the handle of name_to_handle_at(2). 32 bits; 0 where absent. The same as long as the kernel knows the node.
   */
  readonly generation?: number
}

/** Receives directory entries; returns false when it has no room, and then has not taken the entry. */
export interface DirectorySink {
  /** True for READDIRPLUS: entries want `Entry`; false for READDIR: pass `undefined`. */
  readonly plus: boolean
  /**
   * @param ino inode number to show
   * @param type DT_* (`direntType`)
   * @param cookie where to go on after this entry; never 0
   * @param entry given only where `plus`; absent for `.` and `..`. Taking it counts as one lookup of the node.
   */
  add(name: Name, ino: number, type: number, cookie: number, entry: Entry | undefined): boolean
}

/** Two ways to say what chattr(1) changes: FS_IOC_GETFLAGS, 4 bytes, and `struct fsxattr`, 28 bytes (linux/fs.h). */
export type FlagsForm = 'flags' | 'fsxattr'

/** Flags of setxattr(2): whether the attribute must be new, must exist, or either. */
export type XattrMode = 'either' | 'create' | 'replace'

/** What fsync(2), fdatasync(2) and syncfs(2) write to the disk. */
export type SyncKind = 'all' | 'data' | 'file system'

/**
 * What extended attributes files may have, for as long as the file system is mounted: none at all, any but access lists
 * (`system.posix_acl_*`), or all.
 */
export type AttributeKinds = 'none' | 'no-acls' | 'all'

export type Whence = 'data' | 'hole'

/**
 * What the FUSE server serves. Synchronous: it is called on the dispatcher thread, which owns its state.
 * Every method throws FsError with the errno to answer; `EIO` for damage, `ESTALE` for an unknown node.
 */
export interface FileSystem {
  readonly attributes: AttributeKinds
  /** @returns undefined where there is no such name: answered as a cached negative entry. @throws ENOTDIR, EIO */
  lookup(parent: NodeId, name: Name): Entry | undefined
  /** The kernel drops `nlookup` of its references, each gained by `lookup` or a taken READDIRPLUS entry. */
  forget(node: NodeId, nlookup: number): void
  /** Attributes as stat(2) shows them. */
  getattr(node: NodeId): Stat
  /** @throws EINVAL where the node is no symlink */
  readlink(node: NodeId): Uint8Array
  /**
   * Gives entries after `cookie` (0: from the start, beginning with `.` and `..`) until the sink is full or
   * the directory ends. Cookies are stable for the life of the mount.
   * @throws ENOTDIR, EIO
   */
  readdir(node: NodeId, cookie: number, sink: DirectorySink): void
  /** What statfs(2) tells of the mount. */
  statfs(): StatFs
  /** @returns undefined where there is no such attribute (ENODATA) */
  getxattr(node: NodeId, name: Name): Uint8Array | undefined
  /** Full names with prefix, of those attributes that a caller may see. */
  listxattr(node: NodeId): readonly Name[]
  /** Start of the next data or hole at or after `offset`. @throws ENXIO past the end */
  seek(node: NodeId, offset: number, whence: Whence): number
  /** Describes up to `size` bytes of content from `offset`, clipped at the end of the file. @throws EISDIR, EINVAL */
  read(node: NodeId, offset: number, size: number, sink: ExtentSink): void
  /** Inode flags of a regular file or directory; absent: none has any. @throws ENOTTY, EOPNOTSUPP */
  inodeFlags?(node: NodeId, form: FlagsForm): Uint8Array
  /**
   * The regular file that a reader of the whole tree will probably want after this one, a hint for prefetch.
   * @returns undefined where nothing is known
   */
  following?(node: NodeId): NodeId | undefined
}
