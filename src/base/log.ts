export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

/** Takes one message; never throws. It may contain line ends and control characters: the writer of the log escapes them. */
export type Log = (level: LogLevel, message: string) => void
