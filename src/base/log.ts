export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

/** Takes one message; never throws. Line ends and other bytes that are no text may be in it: whoever writes it deals with them. */
export type Log = (level: LogLevel, message: string) => void
