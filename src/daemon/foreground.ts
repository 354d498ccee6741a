import { processEvents } from './host.ts'
import { logToStderr } from './log.ts'
import type { MountRequest } from './request.ts'
import { serveMount } from './run.ts'
import type { DaemonParts } from './server-types.ts'

/**
 * Serves the mount in this process until it is unmounted or a signal comes. Silent unless something is wrong.
 * @throws FsError what kept it from serving, or ended it
 */
export async function runInForeground(request: MountRequest, parts: DaemonParts): Promise<number> {
  const log = logToStderr(request.debug)
  const quiet: typeof log = (level, message) => {
    if (level !== 'info' || request.debug) log(level, message)
  }
  const end = await serveMount(request, parts, {
    ...processEvents(true, quiet),
    log: quiet,
    entryCreated: () => undefined,
    ready: () => undefined,
  })
  return end.reason === 'unmounted' ? 0 : 1
}
