import { setTimeout as sleep } from 'node:timers/promises'
import { FsError, stackOf } from '../../base/index.ts'
import type { EndReason } from '../../drivers/index.ts'
import { deferred } from '../../sys/plain/promises.ts'
import { removeOwnEntry, setChangesAside } from '../runtime/entries.ts'
import type { DaemonHost } from './daemon-host.ts'
import { detach } from './detach.ts'
import { isStillUsed, watchIdle } from './idle.ts'
import { notifyManager } from './notify.ts'
import type { ServingProcess } from './serving-process.ts'
import { type Progress, tearDown } from './tear-down.ts'

/** How long those who have files open are served after the mount is detached. A service manager kills after 90 s. */
const LAST_USERS_TIMEOUT_MS = 60_000

/**
 * The same where the caller waits, and has detached the mount itself before it asked. Apptainer gives the last users a
 * second before it asks, and kills one second later (apptainer: imagedriver.go, `stop`).
 */
const DETACHED_TIMEOUT_MS = 250

/** A covered mount cannot be detached, so the daemon cannot learn when its last user has gone. */
const COVERED_TIMEOUT_MS = 2000

/**
 * Serves until the mount is over, and undoes it.
 * @param idleTimeout seconds
 * @returns why it ended
 */
export async function waitForEnd(
  progress: Progress,
  host: DaemonHost,
  process: ServingProcess,
  idleTimeout: number | undefined,
): Promise<EndReason> {
  const { server } = progress
  if (server === undefined) throw new FsError('EIO', 'no server')
  // At once, while the caller's umount(8) is about to return: the file system of the upper may be unmounted next.
  const ended = server.ended.then((end) => {
    if (end.reason === 'unmounted') releaseChanges(progress, process)
    return end
  })
  const idle = deferred<'signal'>()
  const stopWatching = watchIdle(idleTimeout, server, async () => {
    host.log('info', `nobody used the mount for ${idleTimeout} s`)
    if (!(await isStillUsed(progress.mount, host.log))) idle.resolve('signal')
  })
  let end: EndReason
  try {
    const asked = Promise.race([
      host.stopRequested.then(() => 'signal' as const),
      endOfNamespace(host),
      idle.promise,
    ])
    end = await Promise.race([ended, host.fault, asked]).then(async (first) => {
      await notifyManager('STOPPING=1', host.log)
      return typeof first === 'string' ? await drain(progress, ended, host, first) : first
    })
  } catch (error) {
    end = {
      reason: 'failed',
      message: stackOf(error),
    }
  } finally {
    stopWatching()
  }
  if (end.reason === 'failed') {
    host.log('error', end.message)
    // The entry stays, for its log; the next mount or umount of the target removes it.
    await tearDown({ ...progress, entry: undefined }, 'cut off', process, host.log)
    if (progress.entry !== undefined) setChangesAside(progress.entry.held.runDir, progress.entry.held.entry)
  } else {
    await tearDown({ ...progress, mount: undefined }, 'cut off', process, host.log)
  }
  return end
}

/** The dispatcher, which alone changes the upper, has ended. Never throws. */
function releaseChanges(progress: Progress, process: ServingProcess): void {
  const { upper, mount } = progress
  if (upper === undefined || mount === undefined) return
  progress.upper = undefined
  process.closeUpper(upper, 'complete', mount)
}

async function endOfNamespace(host: DaemonHost): Promise<'namespace'> {
  await host.namespaceEnd()
  host.log('info', 'nobody is left in the mount namespace')
  return 'namespace'
}

/**
 * Detaches the mount, and serves on until the last user has closed its files, we are asked again, or time is up.
 * @param asked by whom: where the namespace has ended, nobody can have a file open in a mount that stays there
 */
async function drain(
  progress: Progress,
  ended: Promise<EndReason>,
  host: DaemonHost,
  asked: 'signal' | 'namespace',
): Promise<EndReason> {
  const { isFree, wasDetached } = await detach(progress.mount, host.log)
  if (progress.entry !== undefined) removeOwnEntry(progress.entry)
  // An inherited connection has no place to be unmounted from: its owner does that, when we are gone.
  if (progress.mount?.way === 'inherited') return { reason: 'unmounted' }
  if (!isFree && asked === 'namespace') return { reason: 'unmounted' }
  const patience = wasDetached && host.isAwaited ? DETACHED_TIMEOUT_MS : LAST_USERS_TIMEOUT_MS
  const limit = isFree ? patience : COVERED_TIMEOUT_MS
  const unmounted: EndReason = { reason: 'unmounted' }
  const impatient = host.stopAgain.then(() => unmounted)
  const expired = sleep(limit, undefined, { ref: false }).then(() => {
    host.log(
      'warn',
      `still in use ${limit / 1000} s after it was asked to end: its last users get errors from now on`,
    )
    return unmounted
  })
  return await Promise.race([ended, host.fault, impatient, expired])
}
