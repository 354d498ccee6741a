import type { ReplyToken } from '../../base/index.ts'
import { addressOf } from '../../sys/ffi/ffi.ts'
import { writeFrom } from '../../sys/files/device-io.ts'
import { JobTable, MAX_JOBS } from '../blocks/jobs.ts'
import type { SharedBuffers } from '../blocks/shared-buffers.ts'
import { FUSE_NOTIFY_RESEND, OUT_HEADER_SIZE } from '../protocol/abi.ts'
import { encodeErrorHeader } from '../protocol/encode.ts'
import type { LeftBehind } from '../protocol/under-way.ts'

/** What became of requests whose thread has ended: their callers wait for another answer, or got EIO, or some wait for ever. */
export type Settled = 'asked again' | 'EIO' | 'some are lost'

/**
 * Sees to it that each request gets an answer that the ended dispatcher of a mount has read. For another thread, before a
 * new dispatcher starts.
 * @param fd of `/dev/fuse`, mounted
 * @param mayAsk false: as if the kernel could not send them again
 * @param shared in which data workers may still answer READs: whichever answer comes second, the kernel refuses
 * @param device whose READs alone count, in a server of several mounts
 */
export function settleRequests(
  fd: number,
  left: LeftBehind,
  shared: SharedBuffers,
  mayAsk = true,
  device?: number,
): Settled {
  if (mayAsk && askAgain(fd)) return 'asked again'
  for (const token of [...left.tokens, ...readsUnderWay(shared, device)]) refuse(fd, token)
  return left.isComplete ? 'EIO' : 'some are lost'
}

/**
 * Asks the kernel to send all requests again that have no answer (fs/fuse/dev.c:fuse_resend). It marks them in their token,
 * so an answer to the token that they had before is refused.
 * @returns false where the kernel cannot do that (before Linux 6.9)
 */
function askAgain(fd: number): boolean {
  const message = Buffer.alloc(OUT_HEADER_SIZE)
  message.writeUInt32LE(OUT_HEADER_SIZE, 0)
  // A message to token 0 is a notification, and its error says which (fs/fuse/dev.c:fuse_dev_do_write).
  message.writeInt32LE(FUSE_NOTIFY_RESEND, 4)
  return writeFrom(fd, addressOf(message), OUT_HEADER_SIZE) === OUT_HEADER_SIZE
}

/** Answers a request with EIO. The kernel does nothing where it has an answer: it gives no token twice. */
export function refuse(fd: number, token: ReplyToken): void {
  const message = Buffer.alloc(OUT_HEADER_SIZE)
  encodeErrorHeader(new DataView(message.buffer, message.byteOffset, OUT_HEADER_SIZE), 'EIO', token)
  writeFrom(fd, addressOf(message), OUT_HEADER_SIZE)
}

function readsUnderWay(shared: SharedBuffers, device?: number): ReplyToken[] {
  const jobs = new JobTable(shared)
  const tokens: ReplyToken[] = []
  for (let job = 0; job < MAX_JOBS; job++) {
    if (jobs.age(job, device) !== undefined && jobs.kind(job) === 'reply') tokens.push(jobs.token(job))
  }
  return tokens
}
