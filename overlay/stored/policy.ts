import type { Name } from '../../src/base/index.ts'

/** When copied data must be on the disk: `auto` before they get their name, `strict` all else too, `volatile` never. */
export type FsyncPolicy = 'auto' | 'strict' | 'volatile'

/**
 * How a name is deleted: by a device 0:0 that bears it, by a file `.wh.NAME` beside it, or by an empty file that bears it
 * and has the attribute `overlay.whiteout`. All three are read; overlayfs writes the first, fuse-overlayfs the first two.
 */
export type WhiteoutForm = 'device' | 'wh' | 'attribute'

/** How an upper directory stores what is not plain data. Decided once, when it is mounted. */
export interface UpperPolicy {
  /** `override`: owner, mode and type are written down in `ownerRecord`, because files cannot have them. */
  readonly owners: 'real' | 'override'
  /** Attribute of the owner records; used only where `owners` is `override`. */
  readonly ownerRecord: Name
  /** With owner records: whether host files also get the modes, as far as the record allows (`hostMode`). */
  readonly modes: 'real' | 'private'
  /** Namespace of the attributes of the overlay itself: `user.overlay.` or `trusted.overlay.` */
  readonly markers: 'user' | 'trusted'
  readonly whiteouts: WhiteoutForm
  /** False where the file system has no attributes for markers. */
  readonly xattrs: boolean
  readonly fsync: FsyncPolicy
}

/** Where owners are kept: in the inodes alone, or in records in `security.` or `user.containers.` */
export type RecordOwners = 'never' | 'security' | 'user'

/** What the user asks for; what is absent is found out. */
export interface WishedPolicy {
  readonly recordOwners?: RecordOwners | undefined
  readonly markers?: 'user' | 'trusted' | undefined
  readonly fsync?: FsyncPolicy
  /** Deletions are not devices, as with FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT of fuse-overlayfs. */
  readonly avoidsDevices?: boolean
}

export const USER_RECORD: Name = 'user.containers.override_stat'
export const SECURITY_RECORD: Name = 'security.fuseoverlayfs.override_stat'
/** Read and gone on with where fuse-overlayfs 1.x made the upper, never begun with. */
export const OLD_RECORD: Name = 'user.fuseoverlayfs.override_stat'

/** Name of the attribute, below the namespace of the marks, that says how the upper spells deletions. */
export const NAMES_FORM = 'overlay.atomfs.names'
