import { closeSync, readSync, writeSync } from 'node:fs'
import { FsError, type Log, messageOf } from '../../base/index.ts'
import { closeInheritedDescriptors } from '../../sys/process/process.ts'
import { startSession } from '../../sys/process/session.ts'
import type { MountRequest } from '../request.ts'
import type { DaemonParts } from '../serve/server-types.ts'
import { failureText } from './failure.ts'
import { openLogSink } from './log-sink.ts'
import { namespaceEnd, TITLE } from './namespace-watch.ts'
import { processEvents } from './process-events.ts'
import { serveMount } from './serve-mount.ts'

/**
 * The channel to the parent: one line of JSON each way. The parent sends the request; the daemon answers with
 * `{ "ready": true, "warnings": [...] }` or `{ "error": "..." }` and closes it.
 */
export const CHANNEL_FD = 3

export type DaemonAnswer =
  | { readonly ready: true; readonly warnings: readonly string[] }
  | { readonly error: string }

/** A request is a few paths; more than this is not ours. */
const MAX_REQUEST_BYTES = 1 << 20

/** The daemon process, from its channel to its exit code. */
export async function runInBackground(parts: DaemonParts): Promise<number> {
  // Numbers below these were marked at the start of the process and not inherited at all.
  closeInheritedDescriptors([CHANNEL_FD])
  const request = readRequest()
  process.title = `${TITLE} ${request.source} ${request.target}`
  try {
    const sink = openLogSink(request)
    const end = await serveMount(request, parts, {
      ...sink,
      ...processEvents(false, sink.log),
      namespaceEnd,
      mounted: () => leaveCaller(sink.log),
      ready: (warnings) => sendAnswer({ ready: true, warnings }),
    })
    return end.reason === 'unmounted' ? 0 : 1
  } catch (error) {
    sendFailure(error)
    return 1
  }
}

/** A terminal that is closed, or a job that is ended, takes no daemon with it. */
function leaveCaller(log: Log): void {
  try {
    startSession()
  } catch (error) {
    log('debug', messageOf(error))
  }
}

/** Sends the parent the reason why there is no mount; a fault of this program comes with its place in the code. */
export function sendFailure(error: unknown): void {
  try {
    sendAnswer({ error: failureText(error) })
  } catch {
    // The parent was killed, so there is no receiver.
  }
}

function readRequest(): MountRequest {
  const chunk = Buffer.alloc(64 << 10)
  let text = ''
  while (!text.endsWith('\n')) {
    const length = readSync(CHANNEL_FD, chunk, 0, chunk.length, null)
    if (length === 0 || text.length > MAX_REQUEST_BYTES)
      throw new FsError('EIO', 'no request from the parent')
    text += chunk.toString('latin1', 0, length)
  }
  return JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) as MountRequest
}

/** @throws EPIPE when the parent is gone */
function sendAnswer(answer: DaemonAnswer): void {
  writeSync(CHANNEL_FD, `${JSON.stringify(answer)}\n`)
  closeSync(CHANNEL_FD)
}
