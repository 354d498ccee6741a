import { type Log, messageOf } from '../../base/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { startProcessGroup } from '../../sys/process/session.ts'
import { notifyManager, writeReadyFd } from '../mount/notify.ts'
import { serveMount } from '../mount/serve-mount.ts'
import { openLogSink } from './log-sink.ts'
import { namespaceEnd, TITLE } from './namespace-watch.ts'
import { processEvents } from './process-events.ts'

export interface ForegroundOptions {
  /** Leaves the process group of the caller, whose terminal sends Ctrl-C to all of it. */
  readonly ownGroup?: boolean
}

/**
 * Serves the mount in this process until it is unmounted or a signal comes. Silent unless something is wrong.
 * @throws FsError what kept it from serving, or ended it
 */
export async function runInForeground(
  request: MountRequest,
  { ownGroup = false }: ForegroundOptions = {},
): Promise<number> {
  // Now, because the caller may be gone when the mount serves.
  const parent = process.ppid
  const { log, report } = openLogSink(request)
  const { readyFd } = request
  const end = await serveMount(request, {
    ...processEvents(true, log),
    log,
    report,
    namespaceEnd: () => namespaceEndOfOrphan(parent, request),
    isAwaited: true,
    hasSuccessor: false,
    entryCreated: () => undefined,
    mounted: () => {
      if (ownGroup) leaveGroup(log)
    },
    ready: () => {
      if (readyFd !== undefined) writeReadyFd(readyFd, log)
      void notifyManager(`READY=1\nMAINPID=${process.pid}`, log)
    },
  })
  return end.reason === 'unmounted' ? 0 : 1
}

/** Not before the mount is made: autofs lets only the process group of its caller look at the target. */
function leaveGroup(log: Log): void {
  try {
    startProcessGroup()
  } catch (error) {
    // The leader of a session, and so of its group.
    log('debug', messageOf(error))
  }
}

/** A look at the parent costs less than a microsecond. */
const ORPHAN_INTERVAL_MS = 1000

/**
 * While the caller waits for this process, the end of a namespace does not end it. A caller that was killed waits no
 * more: the mount of a container must not stay for ever because nobody has ended it.
 */
async function namespaceEndOfOrphan(parent: number, { name, target }: MountRequest): Promise<void> {
  await endOfParent(parent)
  // From now on it keeps the namespace alive for no other daemon.
  process.title = `${TITLE} ${name} ${target}`
  await namespaceEnd()
}

/** Resolves when another process than `parent` is the parent of this one. Does not keep the process alive. */
function endOfParent(parent: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (process.ppid === parent) return
      clearInterval(timer)
      resolve()
    }, ORPHAN_INTERVAL_MS)
    timer.unref()
  })
}
