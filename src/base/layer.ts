import type { ExtentSink } from './extent.ts'
import type { AttributeKinds, FlagsForm, Name, Whence } from './file-system.ts'
import type { InodeNumber, Ref } from './id.ts'
import type { Stat, StatFs } from './stat.ts'

/**
 * Where the inode numbers of a layer come from. `count`: the layer has its own, below 2^32, and those of a well-made one
 * are 1 to this. `device`: they are those of a file system of this machine (`new_encode_dev`), below `HOST_NUMBERS`;
 * what has no such number gets one from there on, in the order in which it is met.
 */
export type InodeSource = { readonly count: number } | { readonly device: number }

/**
 * What an overlay reads as marks in a layer of some format; what it does not read so is data, and shown. Deletions may be
 * character devices 0:0 (overlayfs) or names that begin with `.wh.` (OCI, AUFS); the attributes of overlayfs and its
 * relatives say of a directory that it is opaque or renamed, and of a file that its data are elsewhere.
 */
export interface LayerMarks {
  readonly devices: boolean
  readonly attributes: boolean
  readonly names: boolean
  /** Names that are no marks are shown as they are stored, also such as an upper would store for those that begin with `.wh.`. */
  readonly plainNames?: true
}

/** A layer made for overlays: squashfs layers of OCI images, directories that were an upper. */
export const ALL_MARKS: LayerMarks = { devices: true, attributes: true, names: true }
/** A file system of its own, shown as it is stored. */
export const NO_MARKS: LayerMarks = { devices: false, attributes: false, names: false }

/** One name in a directory of a layer, as the layer has it: whiteouts are not interpreted here. */
export interface LayerEntry {
  readonly name: Name
  readonly ref: Ref
  /** Inode number within the layer, see `Layer.inodes`. */
  readonly ino: InodeNumber
  /** DT_* of the entry (`direntType`). */
  readonly type: number
  /** Set in a listing out of order, where another entry of this name may come first: `lookup` tells. */
  readonly unsorted?: true
  /** The file is one of the layers below (`Layer.pathBelow`); `type` says nothing then. */
  readonly isBelow?: true
  /** A directory in which there are marks alone: it is one only where the layers below have it. */
  readonly isHollow?: true
}

/** Walks one directory of a layer in byte order of the names, unless the layer says that it is not `sorted`. */
export interface DirectoryCursor {
  /** The next entry, or undefined at the end. @throws FsError EIO on damage */
  next(): LayerEntry | undefined
  /** Where `next` will go on: give it to `openDirectory` to continue there. A safe integer ≥ 0, stable. */
  readonly position: number
}

/**
 * One read-only directory tree, as one image or one directory of this machine holds it. `SquashfsImage` and
 * `HostDirectory` implement it; the overlay merges any number of them. An image kind makes layers of its images
 * (`KindSession.openLayer`).
 *
 * Attributes, names and extended attributes come out as they are stored. What they mean in a merge (whiteouts, opaque
 * directories, redirects, owners to show) is decided in overlay/ alone, and `marks` says which of them the format has.
 *
 * **Who calls, on which thread.** The thread that opened the layer: the dispatcher, or a thread that verifies or lists an
 * image. Calls are synchronous and come one after the other. On the dispatcher a layer reads through a `ByteSource` that
 * throws `Postponed` for bytes that are not at hand, and calls `OpenOptions.pause` in long walks, which may throw it too.
 * A layer lets it pass. The same call comes again later, and must get further each time: decoded blocks stay in a cache,
 * and a long walk goes on where it was.
 *
 * **Refs.** A ref names an inode of this layer, in this mount and the next one. It stays valid for the life of the layer:
 * nobody says when it is not used any more. A caller may pass any number below `refSpan`, such as one that the kernel made
 * up. A layer checks it and throws EIO, or describes some inode of its own image, and never reads outside of it.
 *
 * **What may be kept.** The caller keeps results as long as it wants and does not change them; a layer may return the same
 * object again. Cursors belong to the caller, need no end, and must stand any number of others beside them.
 *
 * **After an error.** An `FsError` tells the errno: EIO for damage, or the one that is named at the method. The layer is as
 * it was, other inodes can still be read, and a cursor that threw an `FsError` is not used again. Every size, count and offset from
 * the image is checked before it is used, and memory is bounded whatever the image says.
 */
export interface Layer {
  /** Digest or path, for messages. */
  readonly label: string
  readonly root: Ref
  /** Exclusive upper bound of the refs. */
  readonly refSpan: number
  readonly inodes: InodeSource
  readonly marks: LayerMarks
  /** False where the cursors of the layer have the names in an order of its own. */
  readonly sorted?: false
  /** What its files may have, or get while it is mounted. */
  readonly attributes: AttributeKinds
  /** Absent where `stat` never knows when a file was made. */
  readonly hasBirthTimes?: boolean
  /** Forgets what it can decode again. Layers that share a cache empty it together. */
  giveBack?(): void
  /**
   * Whether a renamed directory is continued where its `overlay.redirect` leads; absent where that is never done: an
   * image is not trusted to point elsewhere.
   */
  readonly followsRedirects?: boolean
  /** `ino` is the number within the layer. */
  stat(ref: Ref): Stat
  /**
   * Whether a directory has no attributes of its own, because the layer only names what lies below it: it shows those that
   * the layers below have for it. Absent: none is such.
   */
  isImplied?(ref: Ref): boolean
  /**
   * Of an entry that is one more name of a file which only the layers below have: its path there, from the root of the
   * merge, without dots. Absent: no entry is such.
   */
  pathBelow?(ref: Ref): Name | undefined
  /** @throws ENOTDIR */
  lookup(directory: Ref, name: Name): LayerEntry | undefined
  /** @param position 0 for the start, or an earlier `DirectoryCursor.position`. @throws ENOTDIR */
  openDirectory(directory: Ref, position: number): DirectoryCursor
  /** As `openDirectory`, in the order that costs least; absent where both are the same. */
  openUnordered?(directory: Ref, position: number): DirectoryCursor
  /**
   * The first name at or after `name` in byte order: used to find all names with a prefix. Never called where the layer
   * is not `sorted`. @throws ENOTDIR
   */
  openDirectoryAt(directory: Ref, name: Name): DirectoryCursor
  /** @throws EINVAL where it is no symlink */
  readlink(ref: Ref): Uint8Array
  /**
   * All names that `listxattr` may give, for any inode; undefined where they are not known, or not yet. Absent: never
   * known. Asked for again and again, so it costs little.
   */
  attributeNames?(): ReadonlySet<Name> | undefined
  /** Full names with prefix: `user.x`, `trusted.x`, `security.x`. */
  listxattr(ref: Ref): readonly Name[]
  /** The value of an extended attribute, under its full name; undefined where there is none. */
  getxattr(ref: Ref, name: Name): Uint8Array | undefined
  /** Pieces of [offset, offset + length), clipped at the end of the file. @throws EISDIR, EINVAL */
  extents(ref: Ref, offset: number, length: number, sink: ExtentSink): void
  /** Next data or hole at or after `offset`. @throws ENXIO at or past the end */
  seek(ref: Ref, offset: number, whence: Whence): number
  /** What statfs(2) would tell of the layer alone. */
  statfs(): StatFs
  /**
   * A number of 32 bits that another file which has this ref at a later mount does not have; undefined where nothing tells
   * the two apart. At hand: it is asked after changes, too, so it is never postponed.
   */
  generation?(ref: Ref): number | undefined
  /** Flags as chattr(1) sets them; absent where a layer of this kind has none. @throws ENOTTY, EOPNOTSUPP */
  inodeFlags?(ref: Ref, form: FlagsForm): Uint8Array
  /** The regular file stored after this one, a hint for prefetch; undefined where there is none or none near. */
  following?(ref: Ref): Ref | undefined
}

/**
 * A number of 32 bits that differs for other values, but for one case of 2^32: for `Layer.generation`. No secret: who
 * tries finds two values with the same number.
 */
export function fingerprint(values: Iterable<number>): number {
  let hash = 0x811c9dc5
  const mix = (word: number) => {
    hash = Math.imul(hash ^ word, 0x85ebca6b)
    hash ^= hash >>> 13
  }
  for (const value of values) {
    mix((value % 2 ** 32) | 0)
    mix(Math.floor(value / 2 ** 32) | 0)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
