import { readSync } from 'node:fs'
import { FsError, type Log, messageOf } from '../../base/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { decodeRequest } from '../../request/schema.ts'
import { closeInheritedDescriptors } from '../../sys/process/process.ts'
import { startSession } from '../../sys/process/session.ts'
import { CHANNEL_FD, sendAnswer, sendFailure } from './channel.ts'
import { openLogSink } from './log-sink.ts'
import { namespaceEnd, TITLE } from './namespace-watch.ts'
import { processEvents } from './process-events.ts'
import { serveMount } from './serve-mount.ts'

/** A request is a few paths; more than this is not ours. */
const MAX_REQUEST_BYTES = 1 << 20

/** The daemon process, from its channel to its exit code. */
export async function runInBackground(): Promise<number> {
  // Numbers below these were marked at the start of the process and not inherited at all.
  closeInheritedDescriptors([CHANNEL_FD])
  try {
    const request = readRequest()
    process.title = `${TITLE} ${request.name} ${request.target}`
    const sink = openLogSink(request)
    const end = await serveMount(request, {
      ...sink,
      ...processEvents(false, sink.log),
      namespaceEnd,
      isAwaited: false,
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

function readRequest(): MountRequest {
  const chunk = Buffer.alloc(64 << 10)
  let text = ''
  while (!text.endsWith('\n')) {
    const length = readSync(CHANNEL_FD, chunk, 0, chunk.length, null)
    if (length === 0 || text.length > MAX_REQUEST_BYTES)
      throw new FsError('EIO', 'no request from the parent')
    text += chunk.toString('latin1', 0, length)
  }
  return decodeRequest(Buffer.from(text, 'latin1').toString('utf8'))
}
