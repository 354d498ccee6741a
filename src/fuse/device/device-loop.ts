import type { Log } from '../../base/index.ts'
import { addressOf } from '../../sys/ffi/ffi.ts'
import { EAGAIN, EINTR, ENODEV, ENOENT, Poller, readAt, writeFrom } from '../../sys/mounts/device-io.ts'
import { clearBell } from '../../sys/process/bell.ts'
import { type Protocol, REQUEST_BUFFER_SIZE } from '../protocol/protocol.ts'

export interface DeviceLoopOptions {
  /** `/dev/fuse`, mounted, opened with O_NONBLOCK. */
  readonly fd: number
  readonly protocol: Protocol
  readonly log: Log
  /**
   * Empty reads before the thread goes to sleep in poll(2). One costs about 0.3 µs; the next request of a busy
   * client comes within some 20 µs, and waking a sleeping thread costs more than that.
   */
  readonly spins: number
  /** Called again and again while there are no requests, until it returns false; each call should be short. */
  readonly idleWork?: () => boolean
  /** Rung by other threads when work has ended that requests wait for (`openBell`). */
  readonly bell?: number
}

/** Without requests for this long, whoever mounted has gone on to something else. */
const QUIET_MS = 5

/** The device went away in another way than an unmount. */
export class DeviceError extends Error {}

/**
 * Reads requests and writes replies until the file system is unmounted (ENODEV, the normal end).
 * Blocks the calling thread. @throws DeviceError
 */
export function runDeviceLoop(options: DeviceLoopOptions): void {
  const { fd, protocol, spins, log, bell } = options
  const requestAddress = addressOf(protocol.requestBytes)
  const replyAddress = addressOf(protocol.replyBytes)
  const poller = bell === undefined ? new Poller(fd) : new Poller(fd, bell)
  let emptyReads = 0
  let hasIdleWork = options.idleWork !== undefined
  let isQuiet = false

  function send(): void {
    const written = writeFrom(fd, replyAddress, protocol.replySize)
    // ENOENT: the caller was interrupted and no longer waits for this answer.
    if (written < 0 && written !== -ENOENT && written !== -ENODEV) {
      log('error', `reply of ${protocol.replySize} bytes refused by the kernel: errno ${-written}`)
      protocol.failLast()
      writeFrom(fd, replyAddress, protocol.replySize)
    }
  }

  function sleep(timeoutMs: number): number {
    const ready = poller.wait(timeoutMs)
    // It is looked after what it was rung for before the next sleep.
    if (bell !== undefined && ready > 0) clearBell(bell)
    return ready
  }

  for (;;) {
    const length = readAt(fd, requestAddress, REQUEST_BUFFER_SIZE)
    if (length > 0) {
      emptyReads = 0
      isQuiet = false
      if (protocol.handle(length) === 'reply') send()
      // However many requests come, those that wait go on.
      if (protocol.postponed > 0) protocol.proceed(send)
      continue
    }
    // ENOENT: the request was interrupted before it was read. EINTR: a signal of the runtime.
    if (length === -ENOENT || length === -EINTR) continue
    if (length === -ENODEV) return
    if (length !== -EAGAIN) throw new DeviceError(`read from /dev/fuse: errno ${-length}`)
    if (protocol.postponed > 0 && protocol.proceed(send) === 'more') continue
    if (++emptyReads <= spins) continue
    emptyReads = 0
    if (protocol.postponed > 0) {
      sleep(1000)
      // The bell rings for each piece of work: no spin after it, which would take the CPU from who does the next one.
      emptyReads = spins
    } else if (!hasIdleWork) sleep(1000)
    else if (!isQuiet) isQuiet = sleep(QUIET_MS) === 0
    else {
      hasIdleWork = options.idleWork?.() ?? false
      // One look at the device between two pieces of such work, no spin.
      emptyReads = spins
    }
  }
}
