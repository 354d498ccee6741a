import type { FuseMount } from '../sys/mount.ts'
import { forbidNewPrivileges, keepCapabilities } from '../sys/privileges.ts'
import type { LogFunction } from './log.ts'

/**
 * Gives up what the main thread does not need once the mount is made: it unmounts, removes its runtime entry, and
 * looks at the processes of its mount namespace. Whoever mounted through fusermount3 keeps all, since that helper is
 * what unmounts, and its setuid bit must work.
 */
export function dropPrivileges(mount: FuseMount | undefined, log: LogFunction): void {
  if (mount?.way !== 'mount') return
  drop(() => {
    keepCapabilities(['SYS_ADMIN', 'DAC_OVERRIDE', 'SYS_PTRACE'])
    forbidNewPrivileges()
  }, log)
}

/** For a thread that reads images: it has all descriptors, and decodes what strangers wrote. */
export function dropThreadPrivileges(log: LogFunction): void {
  drop(() => {
    keepCapabilities([])
    forbidNewPrivileges()
  }, log)
}

/** Not being able to give up rights is no reason to refuse a mount. */
function drop(action: () => void, log: LogFunction): void {
  try {
    action()
  } catch (error) {
    log('debug', `keeps its privileges: ${error instanceof Error ? error.message : String(error)}`)
  }
}
