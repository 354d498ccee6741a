import type { Log } from '../../base/index.ts'
import { Poller } from '../../sys/files/device-io.ts'
import type { Protocol } from '../protocol/protocol.ts'
import { Device } from './device.ts'
import { Waiting, type WaitOptions } from './waiting.ts'

/** What the loop over the requests of a mount needs. */
export interface DeviceLoopOptions extends WaitOptions {
  /** `/dev/fuse`, mounted, opened with O_NONBLOCK. */
  readonly fd: number
  readonly protocol: Protocol
  readonly log: Log
}

/**
 * Reads requests and writes replies until the file system is unmounted (the normal end). Blocks the calling thread.
 * @throws DeviceError
 */
export function runDeviceLoop(options: DeviceLoopOptions): void {
  const { fd, protocol, log } = options
  const device = new Device(fd, protocol, log)
  const { bell, pressure } = options
  const waiting = new Waiting(new Poller(bell === undefined ? [fd] : [fd, bell], pressure), options)
  const send = (): void => device.send()

  for (;;) {
    protocol.settle()
    const received = device.receive()
    if (received === 'end') return
    if (received === 'request') {
      waiting.gotRequest()
      if (protocol.handle(device.length) === 'reply') send()
      // New requests must not starve the postponed ones.
      if (protocol.postponed > 0) protocol.proceed(send)
    } else if (protocol.postponed === 0 || protocol.proceed(send) !== 'more') {
      waiting.gotNothing(protocol.postponed > 0)
    }
  }
}
