import type { Log } from '../../base/index.ts'
import {
  type Capability,
  forbidNewPrivileges,
  givingUp,
  keepCapabilities,
} from '../../sys/process/privileges.ts'

/** For a thread that reads images: it has all descriptors, and decodes what strangers wrote. */
export function dropThreadPrivileges(log: Log): void {
  givingUp(() => {
    keepCapabilities([])
    forbidNewPrivileges()
  }, log)
}

/**
 * What the thread that changes an upper directory needs there. The kernel has checked the caller's permissions, so
 * that it acts as overlayfs does, with the rights of the user who mounted; and attributes must come out as the layer has them.
 */
const WRITER: readonly Capability[] = [
  // Files get the owners that callers and layers say.
  'CHOWN',
  // Modes of files and directories are meant for callers in the mount, not for the daemon.
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  // Modes, times and attributes of the files of others.
  'FOWNER',
  // Or chmod(2) would drop setgid for a group that we are not in.
  'FSETID',
  // Whiteouts, before Linux 5.8, and device files.
  'MKNOD',
  // `security.capability` comes with copies.
  'SETFCAP',
  // Attributes of `trusted.` and of other security modules.
  'SYS_ADMIN',
]

/** Where the files stay when the mount is over. What is to be removed with it must not become immutable. */
const KEEPER: readonly Capability[] = [
  ...WRITER,
  // chattr(1): the kernel wants this capability of the thread that changes the flags `i` and `a` in the upper.
  'LINUX_IMMUTABLE',
]

/** To look at directories of the host takes less: to see all of it, leave times of access, and attributes of `trusted.` */
const READER: readonly Capability[] = ['DAC_READ_SEARCH', 'FOWNER', 'SYS_ADMIN']

/** What a mount does with host directories: shows them, changes them, or changes them for the time of the mount. */
export type DirectoryPurpose = 'read' | 'change' | 'change for now'

const NEEDED: Readonly<Record<DirectoryPurpose, readonly Capability[]>> = {
  read: READER,
  change: KEEPER,
  'change for now': WRITER,
}

/** For the thread that serves host directories. Not among its rights: to exceed quotas and use up reserved blocks. */
export function keepDirectoryPrivileges(purpose: DirectoryPurpose, log: Log): void {
  givingUp(() => {
    keepCapabilities(NEEDED[purpose])
    forbidNewPrivileges()
  }, log)
}
