import type { ExtentSink } from './extent.ts'
import type { Cookie, InodeNumber, NodeId } from './id.ts'
import type { Stat, StatFs } from './stat.ts'

/**
 * A file name, link target or xattr name as a "binary" string: one character (0..255) per byte, made by
 * `buffer.toString('latin1')`. Names are bytes, often not UTF-8; this form is exact, and compares in byte order.
 */
export type Name = string

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
  add(name: Name, ino: InodeNumber, type: number, cookie: Cookie, entry: Entry | undefined): boolean
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
 * The tree that the users of a mount see, whatever it is made of. `MergedTree` merges layers, `WritableTree` puts an upper
 * above them (overlay/); src/fuse/ turns the requests of the kernel into calls of these methods. `WritableFileSystem` adds
 * the methods that change something.
 *
 * **Who calls, on which thread.** The dispatcher thread, or the main thread with the optional driver; never two threads.
 * It handles one request after the other, so an implementation needs no locks and keeps its state in plain objects. While
 * a method runs nobody else is answered. So a method does not wait for a disk that holds an image, and no walk in it
 * takes longer than a slice: a layer throws `Postponed`, the method lets it pass, and the dispatcher calls the method
 * again from its start once the bytes are there (docs/adr/0024). A method that looks something up may run many times for
 * one request, and gives the same answer each time. What a method may do before it lets `Postponed` pass is stated at
 * `Postponed`.
 *
 * **Nodes.** The kernel knows a file by its node id. An id becomes known with the `Entry` that `lookup` returns or a
 * READDIRPLUS sink takes; each of them is one lookup. It stays known until `forget` has taken back as many. Until then the
 * kernel may ask for it at any time, also when its last name is gone, and never means another file. The root is always
 * known.
 *
 * **What may be kept.** The caller reads a result before its next call and does not change it, so a method may return an
 * object that it keeps. A sink is valid during the call that it was given to. Bytes that a caller passes in are copied
 * where they are needed longer. Data of files never pass through here: `read` describes where they lie, and the data path
 * fetches, verifies and decodes them.
 *
 * **After an error.** An `FsError` is the answer to the request: its errno goes to the kernel, its message to the log. `EIO`
 * stands for damage and for a disk that fails, never ENOENT; `ESTALE` for a node that is not known. A failed method has
 * changed nothing, and the same call may succeed later. `readdir` is the exception: names that a sink has taken must reach
 * the kernel, so after the first of them it ends without an error, and meets the error at the next call. Any other
 * exception is a bug: the request is answered with EIO, the log gets the stack, and the mount goes on.
 */
export interface FileSystem {
  readonly attributes: AttributeKinds
  /** Absent where no file has a birth time, nor will have while it is mounted. */
  readonly hasBirthTimes?: boolean
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
  readdir(node: NodeId, cookie: Cookie, sink: DirectorySink): void
  /** What statfs(2) tells of the mount. */
  statfs(): StatFs
  /** True where no file has an attribute of this name, nor will have while it is mounted; false where that is not known. */
  neverHas?(name: Name): boolean
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
