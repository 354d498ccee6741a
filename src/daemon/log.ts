import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs'

export type LogLevel = 'error' | 'warn' | 'info' | 'debug'
export type LogFunction = (level: LogLevel, message: string) => void

/** A log file is renamed at this size, and one older file is kept: the log is bounded by twice as much. */
const MAX_LOG_BYTES = 1 << 20

/** A line for people: time, level, message. Line ends in the message are shown, not made. */
export function formatLine(level: LogLevel, message: string, now = new Date()): string {
  return `${now.toISOString()} ${level}: ${message.replaceAll('\n', '\\n')}\n`
}

/** Writes to stderr: the log of a process in the foreground. A reader that is gone is no reason to end. */
export function logToStderr(debug: boolean): LogFunction {
  return (level, message) => {
    if (level === 'debug' && !debug) return
    try {
      writeSync(2, formatLine(level, message))
    } catch {
      // Nowhere left to say it.
    }
  }
}

/** The log of a daemon: a bounded file in its runtime entry. Lines are kept until the file is opened. */
export class LogFile {
  readonly #debug: boolean
  #path: string | undefined
  #fd: number | undefined
  #size = 0
  #early: string[] = []

  constructor(debug: boolean) {
    this.#debug = debug
  }

  readonly log: LogFunction = (level, message) => {
    if (level === 'debug' && !this.#debug) return
    const line = formatLine(level, message)
    if (this.#path === undefined) {
      if (this.#early.length < 1000) this.#early.push(line)
    } else this.#write(line)
  }

  /** From here on lines go to `path`. A log that cannot be written never fails the mount. */
  open(path: string): void {
    this.#path = path
    this.#reopen()
    for (const line of this.#early) this.#write(line)
    this.#early = []
  }

  #reopen(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#size = 0
    if (this.#path === undefined) return
    try {
      this.#fd = openSync(this.#path, 'a', 0o600)
      this.#size = fstatSync(this.#fd).size
    } catch {
      // The folder went away under us; the daemon goes on without a log.
    }
  }

  #write(line: string): void {
    if (this.#fd === undefined || this.#path === undefined) return
    try {
      if (this.#size >= MAX_LOG_BYTES) {
        renameSync(this.#path, `${this.#path}.1`)
        this.#reopen()
      }
      if (this.#fd !== undefined) this.#size += writeSync(this.#fd, line)
    } catch {
      // Disk full or folder gone: dropping lines is better than ending the mount.
    }
  }
}
