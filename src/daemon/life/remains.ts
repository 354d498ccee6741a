import type { PathText } from '../../base/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { fusermountUnmount } from '../../sys/mounts/fusermount.ts'
import { MOUNT_TYPE, readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'
import { descriptorOf } from '../../sys/plain/proc.ts'
import { livenessOf } from '../../sys/process/process.ts'
import { findEntry, removeEntry } from '../runtime/entries.ts'
import { canonicalTarget, isDead } from '../runtime/target.ts'

/**
 * Removes what a daemon left that died before it could clean up (a memory limit, the kernel's OOM killer): its dead mount
 * and its runtime entry. Never throws: the caller already has an error to report.
 */
export async function removeRemains(request: MountRequest): Promise<void> {
  if (descriptorOf(request.target) !== undefined) return
  try {
    const target = canonicalTarget(request.target, readMountInfo())
    await detachDead(target)
    const entry = findEntry(target, request.metadataDir)
    const isLeft =
      entry !== undefined && (entry.daemon === undefined || livenessOf(entry.daemon.process) === 'gone')
    if (isLeft) removeEntry(entry)
  } catch {
    // The next mount there, or `umount`, tries again.
  }
}

async function detachDead(target: PathText): Promise<void> {
  if (topMountAt(readMountInfo(), target)?.type !== MOUNT_TYPE || !(await isDead(target))) return
  try {
    await unmountFuse(target, true)
  } catch {
    // Under a limit that kills daemons, this process may be unable to load what it calls the system with.
    await fusermountUnmount(target, true)
  }
}
