import { readSync } from 'node:fs'
import { FsError } from '../../base/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { decodeRequest } from '../../request/schema.ts'
import { closeInheritedDescriptors } from '../../sys/process/process.ts'
import { CHANNEL_FD, sendAnswer, sendFailure } from './channel.ts'
import { serveInBackground } from './serve-in-background.ts'

/** A request is a few paths; more than this is not ours. */
const MAX_REQUEST_BYTES = 1 << 20

/** The daemon process, from its channel to its exit code. */
export async function runInBackground(): Promise<number> {
  // Numbers below these were marked at the start of the process and not inherited at all.
  closeInheritedDescriptors([CHANNEL_FD])
  try {
    const request = readRequest()
    return await serveInBackground(request, {
      hasSuccessor: false,
      ready: (warnings) => sendAnswer({ ready: true, warnings }),
    })
  } catch (error) {
    sendFailure(error)
    return 1
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
