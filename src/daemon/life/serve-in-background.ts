import { type Log, messageOf } from '../../base/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { startSession } from '../../sys/process/session.ts'
import type { DaemonHost } from '../mount/daemon-host.ts'
import { serveMount } from '../mount/serve-mount.ts'
import { openLogSink } from './log-sink.ts'
import { namespaceEnd, TITLE } from './namespace-watch.ts'
import { processEvents } from './process-events.ts'

/**
 * Serves a mount in this process, which leaves the session of its caller.
 * @returns the exit code
 * @throws FsError what kept it from serving
 */
export async function serveInBackground(
  request: MountRequest,
  caller: Pick<DaemonHost, 'ready' | 'hasSuccessor'>,
): Promise<number> {
  process.title = `${TITLE} ${request.name} ${request.target}`
  const sink = openLogSink(request)
  const events = processEvents(false, sink.log)
  if (caller.hasSuccessor) process.on('SIGINT', stopStart)
  const end = await serveMount(request, {
    ...sink,
    ...events,
    ...caller,
    namespaceEnd,
    isAwaited: false,
    mounted: () => {
      process.off('SIGINT', stopStart)
      leaveCaller(sink.log)
    },
  })
  return end.reason === 'unmounted' ? 0 : 1
}

/** Ctrl-C while the launcher waits: it cannot end before this process does. */
function stopStart(): void {
  process.kill(process.pid, 'SIGTERM')
}

/** A terminal that is closed, or a job that is ended, takes no daemon with it. */
function leaveCaller(log: Log): void {
  try {
    startSession()
  } catch (error) {
    log('debug', messageOf(error))
  }
}
