import type { Log } from '../../base/index.ts'
import type { FuseMount } from '../../sys/mounts/mount.ts'
import { forbidNewPrivileges, givingUp, keepCapabilities } from '../../sys/process/privileges.ts'

/**
 * Gives up what the main thread does not need once the mount is made: it unmounts, removes its runtime entry, and
 * looks at the processes of its mount namespace. After a mount through fusermount3 the process keeps all, because
 * that helper also unmounts, and its setuid bit must work.
 */
export function dropPrivileges(mount: FuseMount | undefined, writable: boolean, log: Log): void {
  if (mount?.way === 'mount') dropMainPrivileges(writable, log)
}

/** @param writable there are temporary changes to be removed */
export function dropMainPrivileges(writable: boolean, log: Log): void {
  givingUp(() => {
    // To remove the changes of a temporary mount, whose directories with the sticky bit hold files of others.
    const remover = writable ? (['FOWNER'] as const) : []
    // SYS_CHROOT: threads that start later look for nothing by path (src/sys/process/without-root.ts).
    keepCapabilities(['SYS_ADMIN', 'SYS_CHROOT', 'DAC_OVERRIDE', 'SYS_PTRACE', ...remover])
    forbidNewPrivileges()
  }, log)
}
