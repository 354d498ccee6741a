import { fstatSync } from 'node:fs'

/**
 * True where a descriptor leads to the journal, which adds the time itself and takes a severity for each line.
 * `JOURNAL_STREAM` holds device and inode of the stream (systemd.exec(5)).
 */
export function isJournal(fd: number, environment: NodeJS.ProcessEnv = process.env): boolean {
  const stream = environment['JOURNAL_STREAM']
  if (stream === undefined) return false
  try {
    const { dev, ino } = fstatSync(fd)
    return stream === `${dev}:${ino}`
  } catch {
    return false
  }
}
