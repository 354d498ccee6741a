import { writeSync } from 'node:fs'
import { codeOf, type Log, messageOf } from '../../base/index.ts'

/**
 * Sends a message to the service manager, if it set NOTIFY_SOCKET (sd_notify(3)). Never fails a mount.
 * @param state lines such as `READY=1`
 */
export async function notifyManager(
  state: string,
  log: Log,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  const address = environment['NOTIFY_SOCKET']
  // Other forms of address (vsock) are for virtual machines.
  if (address === undefined || !/^[/@]./.test(address)) return
  try {
    // Only now: in the command that starts a daemon nothing else needs the FFI.
    const { sendDatagram } = await import('../../sys/process/unix-datagram.ts')
    sendDatagram(address, state)
  } catch (error) {
    log('warn', `NOTIFY_SOCKET: ${messageOf(error)}`)
  }
}

/** `--ready-fd`: one line into the descriptor, which is what s6 and others wait for. */
export function writeReadyFd(fd: number, log: Log): void {
  try {
    writeSync(fd, 'ready\n')
  } catch (error) {
    log('warn', `--ready-fd ${fd}: ${codeOf(error) ?? String(error)}`)
  }
}
