import type { NewEntry } from '../../../squashfs/write/index.ts'
import { type IdRule, type Name, PERMISSIONS, shownId } from '../../base/index.ts'

/** Owners and permissions in an image that are others than those of its source. */
export interface OwnerOptions {
  /** Gives everything to user and group 0. */
  readonly allRoot?: boolean
  /** The ids of owners in the image by those in the source; without a range: 65534. */
  readonly uidMap?: IdRule
  readonly gidMap?: IdRule
  /** Of the root directory, after all else. */
  readonly root?: { readonly mode?: number; readonly uid?: number; readonly gid?: number }
}

/** An entry as it goes into the image. */
export function withOwners(path: Name, entry: NewEntry, options: OwnerOptions): NewEntry {
  const { allRoot = false, uidMap, gidMap, root } = options
  const isChanged = allRoot || uidMap !== undefined || gidMap !== undefined
  if (!isChanged && (path !== '' || root === undefined)) return entry
  const uid = allRoot ? 0 : shownId(uidMap, entry.uid)
  const gid = allRoot ? 0 : shownId(gidMap, entry.gid)
  if (path !== '' || root === undefined) return { ...entry, uid, gid }
  const mode = root.mode === undefined ? entry.mode : (entry.mode & ~PERMISSIONS) | root.mode
  return { ...entry, mode, uid: root.uid ?? uid, gid: root.gid ?? gid }
}
