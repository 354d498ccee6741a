import type { PathText } from '../../base/index.ts'
import { type MountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { findEntry, listEntries, type RuntimeEntry } from './entries.ts'

/**
 * The entry of the mount at a place. It bears the name of the first place; where the mount was bound to another one
 * (mount --bind), its device tells.
 * @param target as `canonicalTarget` gives it
 */
export function entryAt(
  target: PathText,
  mounts: readonly MountInfo[],
  metadataDir: PathText | undefined,
): RuntimeEntry | undefined {
  const named = findEntry(target, metadataDir)
  const device = topMountAt(mounts, target)?.device
  if (named !== undefined || device === undefined) return named
  return listEntries(metadataDir).find(({ daemon }) => daemon?.device === device)
}
