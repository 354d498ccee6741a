import { DT_CHR, DT_REG, direntType, FsError, type Name, type Stat } from '../../src/base/index.ts'
import type { Layer, LayerEntry, Ref } from './layer-flags.ts'

/** Names with this prefix are marks of OCI and AUFS and never shown (OCI image-spec layer.md, Whiteouts). */
export const MARK_PREFIX = '.wh.'
/** Makes its directory opaque for the layers below, wherever it stands in the layer (layer.md, Opaque Whiteout). */
export const OPAQUE_MARK = '.wh..wh..opq'
/** What the deletion of a file `.opq` is called. */
const MANGLED_OPAQUE_MARK = '.wh..opq'
/** `.wh..wh.*` is bookkeeping of AUFS (`.wh..wh.plnk`, `.wh..wh.aufs`): hidden, and deletes nothing. */
const BOOKKEEPING_PREFIX = '.wh..wh.'

/** A remembered name costs this and its length, bytes. */
const MARK_BYTES = 64

/**
 * Value of the `overlay.opaque` attribute: `y` ends the merge at this directory, `x` says that its zero-size
 * files may be whiteouts by attribute (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
 */
export type Opacity = 'y' | 'x' | 'none'

// In order of preference: the kernel's as root, the kernel's `userxattr`, fuse-overlayfs' own.
const OPAQUE_ATTRIBUTES: readonly Name[] = [
  'trusted.overlay.opaque',
  'user.overlay.opaque',
  'user.fuseoverlayfs.opaque',
]

/** The list is asked first because it is mostly empty: one call. */
export function readOpacity(layer: Layer, directory: Ref): Opacity {
  const present = layer.listxattr(directory)
  return opacityAmong(present, (name) => layer.getxattr(directory, name))
}

/**
 * The first attribute that exists decides, and counts only where it is exactly one byte long
 * (fs/overlayfs/util.c:ovl_get_dir_xattr_val).
 * @param present names of all attributes of the directory
 */
export function opacityAmong(present: readonly Name[], get: (name: Name) => Uint8Array | undefined): Opacity {
  if (present.length === 0) return 'none'
  for (const name of OPAQUE_ATTRIBUTES) {
    if (!present.includes(name)) continue
    const value = get(name)
    if (value?.length !== 1) return 'none'
    if (value[0] === 0x79) return 'y'
    return value[0] === 0x78 && name.includes('.overlay.') ? 'x' : 'none'
  }
  return 'none'
}

/** The attributes of what an entry names. @throws FsError EIO where inode and entry disagree on the type */
export function statEntry(layer: Layer, entry: LayerEntry): Stat {
  const stat = layer.stat(entry.ref)
  if (direntType(stat.mode) !== entry.type) {
    throw new FsError(
      'EIO',
      `layer ${layer.label}: entry ${JSON.stringify(entry.name)} has type ${entry.type}, its inode ${entry.ref} has mode 0${stat.mode.toString(8)}`,
    )
  }
  return stat
}

function isDeviceZero(layer: Layer, entry: LayerEntry): boolean {
  return entry.type === DT_CHR && statEntry(layer, entry).rdev === 0
}

/** The parts of a directory of the merged tree. */
interface OpacityOf {
  opacityAt(depth: number): Opacity
}

/**
 * The one predicate for whiteouts that bear the name they delete: character device 0:0, or a zero-size regular
 * file with `overlay.whiteout` in a directory with `opaque=x` (fs/overlayfs/util.c:ovl_path_is_whiteout).
 * Reads an inode only for devices, and for files only below such a directory.
 * @param directory its part at `depth` holds the entry; asked only where it matters
 */
export function isWhiteout(layer: Layer, entry: LayerEntry, directory: OpacityOf, depth: number): boolean {
  if (entry.type === DT_CHR) return layer.marks.devices && isDeviceZero(layer, entry)
  if (entry.type !== DT_REG || directory.opacityAt(depth) !== 'x') return false
  if (statEntry(layer, entry).size !== 0) return false
  const attributes = layer.listxattr(entry.ref)
  return attributes.includes('trusted.overlay.whiteout') || attributes.includes('user.overlay.whiteout')
}

/** Whether a file with these attributes has its data in another layer: read as it is, it is zeros. */
export function isMetacopy(attributes: readonly Name[]): boolean {
  if (attributes.length === 0) return false
  return attributes.includes('trusted.overlay.metacopy') || attributes.includes('user.overlay.metacopy')
}

/** @throws FsError EIO for a file whose data is not in its layer */
export function assertWhole(layer: Layer, ref: Ref): void {
  if (!isMetacopy(layer.listxattr(ref))) return
  throw new FsError(
    'EIO',
    `layer ${layer.label}: inode ${ref} has overlay.metacopy: its data is not in this layer`,
  )
}

/** The `.wh.` names of one directory of one layer. They act on the layers below only. */
export interface Marks {
  readonly opaque: boolean
  /** True where nothing is deleted by name, the usual case. */
  readonly empty: boolean
  /** Number of names that are held in memory, and what they take there. */
  readonly remembered: number
  readonly bytes: number
  deletes(name: Name): boolean
}

const NO_MARKS: Marks = { opaque: false, empty: true, remembered: 0, bytes: 0, deletes: () => false }
const OPAQUE_ONLY: Marks = { ...NO_MARKS, opaque: true }

/**
 * Whether it is what a tool made of `.wh..wh..opq` that took it for a deletion: such a device marks nothing, while a device
 * 0:0 with any other name `.wh.NAME` deletes as a file does (fuse-overlayfs: get_whiteout_name).
 */
function isMangled(layer: Layer, entry: LayerEntry): boolean {
  return (entry.name === OPAQUE_MARK || entry.name === MANGLED_OPAQUE_MARK) && isDeviceZero(layer, entry)
}

/** Whether a mark in this directory of a layer deletes the name from the layers below. */
export function isMarked(layer: Layer, directory: Ref, name: Name): boolean {
  if ((MARK_PREFIX + name).startsWith(BOOKKEEPING_PREFIX)) return false
  const entry = layer.lookup(directory, MARK_PREFIX + name)
  return entry !== undefined && !isMangled(layer, entry)
}

/**
 * Reads all marks of a directory in one go: names with a prefix stand together in byte order.
 * @param most names to remember; where there are more, each name is looked up when it is asked for
 * @throws FsError EIO
 */
export function readMarks(layer: Layer, directory: Ref, most: number): Marks {
  const cursor = layer.openDirectoryAt(directory, MARK_PREFIX)
  let opaque = false
  let names: Set<Name> | undefined
  let bytes = 0
  let overfull = false
  for (;;) {
    const entry = cursor.next()
    if (entry === undefined || !entry.name.startsWith(MARK_PREFIX)) break
    if (isMangled(layer, entry)) continue
    if (entry.name === OPAQUE_MARK) opaque = true
    if (entry.name.startsWith(BOOKKEEPING_PREFIX) || entry.name === MARK_PREFIX) continue
    names ??= new Set()
    overfull ||= names.size >= most
    if (overfull) names.clear()
    else names.add(entry.name.slice(MARK_PREFIX.length))
    bytes += MARK_BYTES + entry.name.length
  }
  if (names === undefined) return opaque ? OPAQUE_ONLY : NO_MARKS
  if (!overfull) {
    const known = names
    return { opaque, empty: false, remembered: known.size, bytes, deletes: (name) => known.has(name) }
  }
  return {
    opaque,
    empty: false,
    remembered: 0,
    bytes: MARK_BYTES,
    deletes: (name) => isMarked(layer, directory, name),
  }
}
