import type { Log } from '../../base/index.ts'
import { Poller } from '../../sys/files/device-io.ts'
import type { Protocol } from '../protocol/protocol.ts'
import { Device } from './device.ts'
import { type Sleeper, Waiting, type WaitOptions } from './waiting.ts'

/** What the loop over the requests of a mount needs. */
export interface DeviceLoopOptions extends WaitOptions {
  /** `/dev/fuse`, mounted, opened with O_NONBLOCK. */
  readonly fd: number
  readonly protocol: Protocol
  readonly log: Log
}

/** The loop over the requests of one mount. */
export class DeviceLoop {
  readonly #protocol: Protocol
  readonly #device: Device
  readonly #waiting: Waiting
  readonly #send: () => void

  /** @param sleeper what the thread sleeps in where there is no request */
  constructor(options: DeviceLoopOptions, sleeper: Sleeper) {
    const { fd, protocol, log } = options
    const device = new Device(fd, protocol, log)
    this.#protocol = protocol
    this.#device = device
    this.#waiting = new Waiting(sleeper, options)
    this.#send = () => device.send()
  }

  /** Handles a request, or does what can be done while there is none. @returns false after the unmount. @throws DeviceError */
  turn(): boolean {
    const protocol = this.#protocol
    protocol.settle()
    const received = this.#device.receive()
    if (received === 'end') return false
    if (received === 'request') {
      this.#waiting.gotRequest()
      if (protocol.handle(this.#device.length) === 'reply') this.#send()
      // New requests must not starve the postponed ones.
      if (protocol.postponed > 0) protocol.proceed(this.#send)
    } else if (protocol.postponed === 0 || protocol.proceed(this.#send) !== 'more') {
      this.#waiting.gotNothing(protocol.postponed > 0)
    }
    return true
  }
}

/**
 * Reads requests and writes replies until the file system is unmounted (the normal end). Blocks the calling thread.
 * @throws DeviceError
 */
export function runDeviceLoop(options: DeviceLoopOptions): void {
  const { fd, bell, pressure } = options
  const loop = new DeviceLoop(options, new Poller(bell === undefined ? [fd] : [fd, bell], pressure))
  while (loop.turn());
}
