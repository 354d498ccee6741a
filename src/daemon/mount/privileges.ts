import type { Log } from '../../base/index.ts'
import { WRITER_CAPABILITIES } from '../../drivers/index.ts'
import type { FuseMount } from '../../sys/mounts/mount.ts'
import {
  type Capability,
  forbidNewPrivileges,
  givingUp,
  keepCapabilities,
} from '../../sys/process/privileges.ts'

/**
 * Gives up what the main thread does not need once the mount is made: it unmounts, removes its runtime entry, and
 * looks at the processes of its mount namespace. After a mount through fusermount3 the process keeps all, because
 * that helper also unmounts, and its setuid bit must work.
 */
export function dropPrivileges(mount: FuseMount | undefined, writable: boolean, log: Log): void {
  if (mount?.way === 'mount') dropMainPrivileges(writable, log)
}

/** @param writable there are temporary changes to be removed */
function dropMainPrivileges(writable: boolean, log: Log): void {
  // To remove the changes of a temporary mount, whose directories with the sticky bit hold files of others.
  keepForMain(writable ? ['FOWNER'] : [], log)
}

/** The same for a server of several mounts. Threads of writable mounts that come later have no more than it keeps. */
export function dropServerPrivileges(log: Log): void {
  keepForMain(WRITER_CAPABILITIES, log)
}

function keepForMain(more: readonly Capability[], log: Log): void {
  givingUp(() => {
    // SYS_CHROOT: threads that start later look for nothing by path (src/sys/process/without-root.ts).
    keepCapabilities(['SYS_ADMIN', 'SYS_CHROOT', 'DAC_OVERRIDE', 'SYS_PTRACE', ...more])
    forbidNewPrivileges()
  }, log)
}
