import { closeSync, openSync } from 'node:fs'
import { FsError, type PathText, systemPath } from '../base/index.ts'
import { sendDatagram } from '../sys/unix-datagram.ts'
import { formatSyslog, LogFile, type LogFunction, limitLog, logToStderr } from './log.ts'
import type { MountRequest } from './request.ts'
import { LOG_FILE, type RuntimeEntry } from './runtime-dir.ts'

/** Where syslogd and the journal listen (syslog(3)). */
const SYSLOG_SOCKET = '/dev/log'

export interface LogSink {
  /** Drops what is below the level that was asked for. */
  readonly log: LogFunction
  /** Whatever the level: what a user asked for just now. */
  readonly report: (message: string) => void
  /** A log without a place of its own lies in the runtime entry. */
  entryCreated(entry: RuntimeEntry): void
}

/**
 * Opens the log of one mount: the file of `--log`, syslog for `--log syslog`, else stderr in the foreground and a
 * file in the runtime entry in the background.
 * @throws FsError where the file cannot be written
 */
export function openLogSink(request: MountRequest): LogSink {
  const { log, foreground } = request
  if (log === 'syslog') return sink(request, logToSyslog, () => undefined)
  if (log !== undefined) {
    assertWritable(log)
    const file = new LogFile()
    file.open(log)
    return sink(request, file.log, () => undefined)
  }
  if (foreground) return sink(request, logToStderr, () => undefined)
  const file = new LogFile()
  return sink(request, file.log, (entry) => file.open(`${entry.folder}/${LOG_FILE}`))
}

function sink(request: MountRequest, write: LogFunction, entryCreated: LogSink['entryCreated']): LogSink {
  return { log: limitLog(request.logLevel, write), report: (text) => write('info', text), entryCreated }
}

const logToSyslog: LogFunction = (level, message) => {
  try {
    sendDatagram(SYSLOG_SOCKET, formatSyslog(level, message))
  } catch {
    // Nobody collects logs on this machine.
  }
}

function assertWritable(path: PathText): void {
  try {
    closeSync(openSync(systemPath(path), 'a', 0o600))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new FsError('EIO', `--log ${path}: cannot be written: ${code}`, { cause: error })
  }
}
