import { type Log, messageOf } from '../../base/index.ts'
import type { RunningServer } from '../../drivers/index.ts'
import type { FuseMount } from '../../sys/mounts/mount.ts'
import { placesOf, readMountInfo } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'

/** How often activity is looked at, as squashfuse does it (ll.c:alarm_tick). */
const LOOK_INTERVAL_MS = 1000

/** What a mount without `timeout=` has: nothing is watched. */
const NOTHING = (): void => undefined

/** What tells whether a mount is in use. */
export type Activity = Pick<RunningServer, 'stats'>

/**
 * Calls `onIdle` when for longer than `seconds` no request has come and no file or directory was open. What the kernel
 * answers from its caches is no request. After `onIdle` the time begins anew.
 * @param seconds 0 or absent: never
 * @returns stops watching
 */
export function watchIdle(
  seconds: number | undefined,
  server: Activity,
  onIdle: () => Promise<void>,
): () => void {
  if (seconds === undefined || seconds === 0) return NOTHING
  let requests = -1
  let last = performance.now()
  const timer = setInterval(() => {
    const { counters } = server.stats()
    const now = performance.now()
    if (counters.requests !== requests || counters.openFiles > 0) {
      requests = counters.requests
      last = now
    } else if (now - last > seconds * 1000) {
      last = now
      void onIdle()
    }
  }, LOOK_INTERVAL_MS)
  timer.unref()
  return () => clearInterval(timer)
}

/**
 * Unmounts an idle mount as umount(8) does. That fails where a process has it as working directory.
 * @returns false where the mount is gone, or was inherited: nobody but its owner can unmount that
 */
export async function isStillUsed(mount: FuseMount | undefined, log: Log): Promise<boolean> {
  if (mount?.device === undefined || mount.way === 'inherited') return false
  try {
    for (const { place, isReachable } of placesOf(readMountInfo(), mount.device)) {
      if (place === '/' || !isReachable) return true
      await unmountFuse(place, false)
    }
    return false
  } catch (error) {
    log('debug', messageOf(error))
    return true
  }
}
