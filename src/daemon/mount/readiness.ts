import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, type Log, type PathText, systemPath } from '../../base/index.ts'
import type { MountOptions } from '../../request/index.ts'

/** Tells the reader of `notify_pipe` whether the mount serves or failed. Telling never fails a mount. */
export async function announce(
  { notifyPipe }: Pick<MountOptions, 'notifyPipe'>,
  succeeded: boolean,
  log: Log,
): Promise<void> {
  if (notifyPipe !== undefined) await writeNotifyPipe(notifyPipe, succeeded ? 's' : 'f', log)
}

/** How long a reader may take to open its end. Opening without a reader would block for ever. */
const READER_TIMEOUT_MS = 5000

/** squashfuse's protocol: one byte into a FIFO that the caller made. Nothing but a FIFO is written to. */
async function writeNotifyPipe(path: PathText, status: 's' | 'f', log: Log): Promise<void> {
  const deadline = performance.now() + READER_TIMEOUT_MS
  for (;;) {
    try {
      const fd = openSync(systemPath(path), constants.O_WRONLY | constants.O_NONBLOCK)
      try {
        if (fstatSync(fd).isFIFO()) writeSync(fd, status)
        else log('warn', `notify_pipe ${path} is not a FIFO: nothing was written to it`)
      } finally {
        closeSync(fd)
      }
      return
    } catch (error) {
      const code = codeOf(error)
      if (code !== 'ENXIO' || performance.now() >= deadline) {
        log('warn', `notify_pipe ${path}: ${code === 'ENXIO' ? 'nobody reads it' : code}`)
        return
      }
      await sleep(10)
    }
  }
}
