import type { MountRequest } from '../../request/index.ts'
import { openLogSink } from './log-sink.ts'
import { notifyManager, writeReadyFd } from './notify.ts'
import { processEvents } from './process-events.ts'
import { serveMount } from './serve-mount.ts'

/**
 * Serves the mount in this process until it is unmounted or a signal comes. Silent unless something is wrong.
 * @throws FsError what kept it from serving, or ended it
 */
export async function runInForeground(request: MountRequest): Promise<number> {
  const { log, report } = openLogSink(request)
  const { readyFd } = request
  const end = await serveMount(request, {
    ...processEvents(true, log),
    log,
    report,
    // The caller waits for this process, so the end of a namespace does not end it.
    namespaceEnd: () => new Promise(() => undefined),
    entryCreated: () => undefined,
    mounted: () => undefined,
    ready: () => {
      if (readyFd !== undefined) writeReadyFd(readyFd, log)
      void notifyManager(`READY=1\nMAINPID=${process.pid}`, log)
    },
  })
  return end.reason === 'unmounted' ? 0 : 1
}
