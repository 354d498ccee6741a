import { type Log, messageOf } from '../../base/index.ts'
import type { FuseMount } from '../../sys/mounts/mount.ts'
import { placesOf, readMountInfo } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'

interface Detached {
  /** No place is left. */
  readonly isFree: boolean
  /** Somebody else had unmounted it from every place before. */
  readonly wasDetached: boolean
}

/**
 * Unmounts lazily every place where this mount is on top. A place that another mount covers, there or further up, is left
 * alone: the connection ends with this process, and what is below answers ENOTCONN.
 */
export async function detach(mount: FuseMount | undefined, log: Log): Promise<Detached> {
  if (mount?.device === undefined) return { isFree: true, wasDetached: false }
  let isFree = true
  let wasDetached = false
  try {
    const places = placesOf(readMountInfo(), mount.device)
    wasDetached = places.length === 0
    for (const { place, isReachable } of places) {
      // pivot_root(2) made it our own root directory: we use it ourselves, and would wait for our own end.
      if (place === '/') isFree = false
      // A lookup through a mount above could wait for its server, and that one for us: an overlay over the folder in
      // which its layer is mounted.
      if (isReachable) await unmountFuse(place, true)
      else {
        log('warn', `${place} is covered by another mount and stays`)
        isFree = false
      }
    }
  } catch (error) {
    log('warn', messageOf(error))
    isFree = false
  }
  return { isFree, wasDetached }
}
