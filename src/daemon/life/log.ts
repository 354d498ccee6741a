import { closeSync, fstatSync, writeSync } from 'node:fs'
import { type Log, type LogLevel, printable } from '../../base/index.ts'
import { isJournal } from '../../sys/process/journal.ts'

/** Severities of syslog(3), which the journal reads from the start of a line (sd-daemon(3)). */
const SEVERITY: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 }

/** Facility LOG_DAEMON of syslog(3), shifted to its place. */
const FACILITY_DAEMON = 3 << 3

/** A log file is renamed at this size, and one older file is kept: the log is bounded by twice as much. */
const MAX_LOG_BYTES = 1 << 20

/** A line for people: time, level, message. Line ends and control characters in the message are shown escaped. */
export function formatLine(level: LogLevel, message: string, now = new Date()): string {
  return `${now.toISOString()} ${level}: ${printable(message)}\n`
}

/** Passes on what is at least as severe as `limit`. */
export function limitLog(limit: LogLevel, log: Log): Log {
  return (level, message) => {
    if (SEVERITY[level] <= SEVERITY[limit]) log(level, message)
  }
}

/** Writes to stderr: the log of a process in the foreground. A reader that is gone is no reason to end. */
export const logToStderr: Log = (level, message) => {
  try {
    const line = isJournal(2) ? `<${SEVERITY[level]}>${printable(message)}\n` : formatLine(level, message)
    writeSync(2, line)
  } catch {
    // Nowhere left to say it.
  }
}

/** One message in the form of syslog(3) as `/dev/log` takes it. */
export function formatSyslog(level: LogLevel, message: string): string {
  return `<${FACILITY_DAEMON | SEVERITY[level]}>atomfs-fuse[${process.pid}]: ${printable(message)}`
}

/** Where the file of a log is. It is opened again after it was set aside, long after the mount was made. */
export interface LogPlace {
  /** Opens the file for appending. @returns a descriptor */
  open(): number
  /** Gives the present file another name. */
  setAside(): void
}

/** A bounded file. Lines are kept until it is opened; without a file they are dropped. */
export class LogFile {
  #place: LogPlace | undefined
  #fd: number | undefined
  #size = 0
  #mayRotate = false
  #early: string[] = []

  readonly log: Log = (level, message) => {
    const line = formatLine(level, message)
    if (this.#place === undefined) {
      if (this.#early.length < 1000) this.#early.push(line)
    } else this.#write(line)
  }

  /** From here on lines go to `place`. A log that cannot be written never fails the mount. */
  open(place: LogPlace): void {
    this.#place = place
    this.#reopen(place)
    for (const line of this.#early) this.#write(line)
    this.#early = []
  }

  /** Later lines are dropped. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #reopen(place: LogPlace): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#size = 0
    try {
      this.#fd = place.open()
      const stat = fstatSync(this.#fd)
      this.#size = stat.size
      // Not a terminal or a pipe that the user named.
      this.#mayRotate = stat.isFile()
    } catch {
      // The folder went away under us; the daemon goes on without a log.
    }
  }

  #write(line: string): void {
    if (this.#fd === undefined || this.#place === undefined) return
    try {
      if (this.#mayRotate && this.#size >= MAX_LOG_BYTES) {
        this.#place.setAside()
        this.#reopen(this.#place)
      }
      if (this.#fd !== undefined) this.#size += writeSync(this.#fd, line)
    } catch {
      // Disk full or folder gone: dropping lines is better than ending the mount.
    }
  }
}
