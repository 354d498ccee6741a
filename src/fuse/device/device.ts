import type { Log } from '../../base/index.ts'
import { addressOf } from '../../sys/ffi/ffi.ts'
import { EAGAIN, EINTR, ENODEV, ENOENT, readAt, writeFrom } from '../../sys/files/device-io.ts'
import { REQUEST_BUFFER_SIZE } from '../protocol/init.ts'
import type { Protocol } from '../protocol/protocol.ts'

/** Reading /dev/fuse failed for another reason than an unmount. */
export class DeviceError extends Error {}

/**
 * Failures of read(2) one after another that may still be no failure of the device. V8 may collect garbage in this thread
 * between a call and the look at its errno, and leaves one of its own there: an empty device was seen as ENOMEM.
 */
const MOST_ODD_FAILURES = 100

/** `/dev/fuse` and the buffers of the protocol: requests come in, replies go out. */
export class Device {
  readonly #fd: number
  readonly #protocol: Protocol
  readonly #log: Log
  readonly #requestAddress: number
  readonly #replyAddress: number
  #length = 0

  constructor(fd: number, protocol: Protocol, log: Log) {
    this.#fd = fd
    this.#protocol = protocol
    this.#log = log
    this.#requestAddress = addressOf(protocol.requestBytes)
    this.#replyAddress = addressOf(protocol.replyBytes)
  }

  /** Bytes of the request that was received last. */
  get length(): number {
    return this.#length
  }

  /** Takes the next request without waiting. @returns 'end' after the unmount, or where the device was taken away. @throws DeviceError */
  receive(): 'request' | 'none' | 'end' {
    for (let odd = 0; ; ) {
      const length = readAt(this.#fd, this.#requestAddress, REQUEST_BUFFER_SIZE)
      if (length > 0) {
        this.#length = length
        return 'request'
      }
      // The main thread has put an empty file in its place.
      if (length === 0) return 'end'
      switch (-length) {
        case EAGAIN:
          return 'none'
        case ENODEV:
          return 'end'
        // The kernel withdrew the request, because its caller was interrupted.
        case ENOENT:
        // The Node runtime got a signal.
        case EINTR:
          continue
        default:
          odd += 1
          if (odd > MOST_ODD_FAILURES) throw new DeviceError(`read from /dev/fuse: errno ${-length}`)
      }
    }
  }

  /** Writes the reply of the protocol. Where the kernel refuses it, the caller gets EIO. */
  send(): void {
    const size = this.#protocol.replySize
    const written = writeFrom(this.#fd, this.#replyAddress, size)
    // ENOENT: the caller was interrupted and no longer waits for this answer. ENODEV: the mount is gone.
    if (written >= 0 || written === -ENOENT || written === -ENODEV) return
    this.#log('error', `reply of ${size} bytes refused by the kernel: errno ${-written}`)
    this.#protocol.failLast()
    writeFrom(this.#fd, this.#replyAddress, this.#protocol.replySize)
  }
}
