import { readSync } from 'node:fs'
import { FsError } from '../../base/index.ts'
import { addKey, type Unlocked } from '../../crypt/keys/keyring.ts'
import { keepSecret } from '../../crypt/keys/secret.ts'
import type { MountRequest } from '../../request/index.ts'
import { decodeRequest } from '../../request/schema.ts'
import { forbidCoreDumps } from '../../sys/process/limits.ts'
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
  const parts: Buffer[] = []
  let length = 0
  let end = -1
  while (end < 0) {
    const chunk = readChunk()
    if (chunk.length === 0 || length > MAX_REQUEST_BYTES)
      throw new FsError('EIO', 'no request from the parent')
    const at = chunk.indexOf('\n')
    if (at >= 0) end = length + at
    parts.push(chunk)
    length += chunk.length
  }
  const all = Buffer.concat(parts)
  const request = decodeRequest(all.toString('utf8', 0, end))
  receiveKeys(request.unlocked ?? [], all.subarray(end + 1))
  for (const part of [all, ...parts]) part.fill(0)
  return request
}

/** Keys lie behind the request. @param first what has come of them with it */
function receiveKeys(images: readonly Unlocked[], first: Buffer): void {
  if (images.length === 0) return
  forbidCoreDumps()
  let bytes = first
  for (const image of images) {
    while (bytes.length < image.keySize) {
      const chunk = readChunk()
      if (chunk.length === 0) throw new FsError('EIO', 'no key from the parent')
      const joined = Buffer.concat([bytes, chunk])
      for (const part of [bytes, chunk]) part.fill(0)
      bytes = joined
    }
    const key = bytes.subarray(0, image.keySize)
    addKey(image, keepSecret(key))
    key.fill(0)
    bytes = bytes.subarray(image.keySize)
  }
}

/** @returns what is there, at least a byte; nothing at the end of the channel */
function readChunk(): Buffer {
  const chunk = Buffer.alloc(64 << 10)
  return chunk.subarray(0, readSync(CHANNEL_FD, chunk, 0, chunk.length, null))
}
