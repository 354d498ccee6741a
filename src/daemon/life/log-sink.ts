import { closeSync, constants, openSync, statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { codeOf, FsError, type Log, type PathText, systemPath } from '../../base/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { Folder } from '../../sys/files/folder.ts'
import { realPath } from '../../sys/files/real-path.ts'
import { sendDatagram } from '../../sys/process/unix-datagram.ts'
import { LOG_FILE, type OwnEntry } from '../runtime/entries.ts'
import { formatSyslog, LogFile, type LogPlace, limitLog, logToStderr } from './log.ts'

/** Where syslogd and the journal listen (syslog(3)). */
const SYSLOG_SOCKET = '/dev/log'

export interface LogSink {
  /** Drops what is below the level that was asked for. */
  readonly log: Log
  /** Logs at every level: the user asked for this line just now. */
  readonly report: (message: string) => void
  /** A log without a place of its own lies in the runtime entry. */
  entryCreated(entry: OwnEntry): void
  /** Closes its file, where it has one; later lines are dropped. */
  close(): void
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
    const file = new LogFile()
    file.open(namedPlace(log))
    return sink(request, file.log, () => undefined, file)
  }
  if (foreground) return sink(request, logToStderr, () => undefined)
  const file = new LogFile()
  return sink(request, file.log, (entry) => file.open(placeIn(entry.held.entry, LOG_FILE)), file)
}

function sink(
  request: MountRequest,
  write: Log,
  entryCreated: LogSink['entryCreated'],
  file?: LogFile,
): LogSink {
  const log = limitLog(request.logLevel, write)
  return { log, report: (text) => write('info', text), entryCreated, close: () => file?.close() }
}

const logToSyslog: Log = (level, message) => {
  try {
    sendDatagram(SYSLOG_SOCKET, formatSyslog(level, message))
  } catch {
    // This machine has no syslog daemon.
  }
}

/** Both names lie in one folder that is held, and neither is followed as a link. */
export function placeIn(folder: Folder, name: PathText): LogPlace {
  const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants
  return {
    open: () => folder.openFile(name, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o600),
    setAside: () => folder.rename(name, folder, `${name}.1`),
  }
}

/**
 * The file of `--log`: the user's own path, with links in it if he likes, perhaps a terminal or a pipe.
 * @throws FsError where it cannot be written
 */
function namedPlace(path: PathText): LogPlace {
  try {
    const fd = openSync(systemPath(path), 'a', 0o600)
    if (!statSync(systemPath(path)).isFile()) return { open: () => fd, setAside: () => undefined }
    closeSync(fd)
    const real = realPath(path)
    return placeIn(Folder.open(dirname(real), { guarded: false }), basename(real))
  } catch (error) {
    const code = codeOf(error) ?? String(error)
    throw new FsError('EIO', `--log ${path}: cannot be written: ${code}`, { cause: error })
  }
}
