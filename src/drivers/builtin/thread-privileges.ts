import type { Log } from '../../base/index.ts'
import {
  type Capability,
  forbidNewPrivileges,
  givingUp,
  keepCapabilities,
} from '../../sys/process/privileges.ts'

/** For a thread that only reads images: it has all descriptors, and decodes images that strangers made. */
export function dropThreadPrivileges(log: Log): void {
  givingUp(() => {
    keepCapabilities([])
    forbidNewPrivileges()
  }, log)
}

/**
 * Capabilities of the thread that changes an upper directory. The kernel has checked the caller's permissions, so the
 * thread acts as overlayfs does, with the rights of the user who mounted. Attributes must come out as the layer has
 * them.
 */
const WRITER: readonly Capability[] = [
  // chown(2) to the owners that callers and layers give.
  'CHOWN',
  // Modes of files and directories are meant for callers in the mount, not for the daemon.
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  // Modes, times and attributes of other users' files.
  'FOWNER',
  // Without it chmod(2) drops setgid for a group that the daemon is not in.
  'FSETID',
  // Whiteouts, before Linux 5.8, and device files.
  'MKNOD',
  // Copies get the `security.capability` of their original.
  'SETFCAP',
  // Attributes of `trusted.` and of other security modules.
  'SYS_ADMIN',
]

/**
 * For an upper that outlives the mount. Files of a temporary upper must not become immutable, or it could not be
 * removed.
 */
export const WRITER_CAPABILITIES: readonly Capability[] = [
  ...WRITER,
  // chattr(1): the kernel wants this capability of the thread that changes the flags `i` and `a` in the upper.
  'LINUX_IMMUTABLE',
]

/**
 * Capabilities of a thread that only shows host directories: see all of them, keep access times, read `trusted.`
 * attributes.
 */
const READER: readonly Capability[] = ['DAC_READ_SEARCH', 'FOWNER', 'SYS_ADMIN']

/** What a mount does with host directories: shows them, changes them, or changes a temporary upper. */
export type DirectoryPurpose = 'read' | 'change' | 'change for now'

const NEEDED: Readonly<Record<DirectoryPurpose, readonly Capability[]>> = {
  read: READER,
  change: WRITER_CAPABILITIES,
  'change for now': WRITER,
}

/** For the thread that serves host directories. It may not exceed quotas or use up reserved blocks. */
export function keepDirectoryPrivileges(purpose: DirectoryPurpose, log: Log): void {
  givingUp(() => {
    keepCapabilities(NEEDED[purpose])
    forbidNewPrivileges()
  }, log)
}
