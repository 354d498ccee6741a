import { closeSync, constants, openSync } from 'node:fs'
import { FsError, type PathText } from '../../base/index.ts'
import { syncFd } from '../../sys/files/file-io.ts'
import { remountFuse } from '../../sys/mounts/mount.ts'
import { MOUNT_TYPE, readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { canonicalTarget } from '../runtime/target.ts'
import { askStatus } from './control-client.ts'

export interface RemountOptions {
  /** Changes the flags of mount(8) that are in force. */
  readonly change: (flags: Set<string>) => void
  readonly metadataDir?: string
}

/**
 * Changes the flags of one of our mounts. One that becomes read-only has all of its changes on the disk afterwards.
 * @throws FsError EINVAL if this program has no mount there; EROFS where it takes no changes; EBUSY while files are open for
 *   writing; EPERM without CAP_SYS_ADMIN
 */
export async function remount(target: PathText, options: RemountOptions): Promise<void> {
  const mounts = readMountInfo()
  const path = canonicalTarget(target, mounts)
  const top = topMountAt(mounts, path)
  if (top?.type !== MOUNT_TYPE)
    throw new FsError('EINVAL', `remount: ${target} is not a mount of atomfs-fuse`)
  const flags = new Set([...top.mountOptions, ...top.superOptions])
  // For the mount and for the file system: the kernel has it twice.
  const before = flags.has('ro')
  options.change(flags)
  const { writable, upper } = await askStatus(target, options.metadataDir)
  if (before && !flags.has('ro') && !writable) {
    throw new FsError(
      'EROFS',
      `remount: ${target} takes no changes: unmount it, and mount it with a place for them and without 'ro'`,
    )
  }
  remountFuse(path, flags)
  if (!flags.has('ro') || upper === undefined || upper.temporary || upper.policy.fsync === 'volatile') return
  // The kernel has sent all that it had collected. To write it to the disk is asked for nowhere (fuse_sync_fs).
  const fd = openSync(upper.path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    syncFd(fd, 'file system')
  } finally {
    closeSync(fd)
  }
}
