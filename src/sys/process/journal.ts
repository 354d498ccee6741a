import { fstatSync } from 'node:fs'

/**
 * Whether a descriptor leads to the journal, which keeps the time itself and takes a severity for each line:
 * `JOURNAL_STREAM` names device and inode of the stream (systemd.exec(5)).
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
