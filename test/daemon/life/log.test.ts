import { fstatSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { LogLevel } from '../../../src/base/index.ts'
import { formatSyslog, limitLog } from '../../../src/daemon/life/log.ts'
import { isJournal } from '../../../src/sys/process/journal.ts'

describe('limitLog', () => {
  test.each([
    ['error', 'e'],
    ['warn', 'ew'],
    ['info', 'ewi'],
    ['debug', 'ewid'],
  ] as const)('the log level %s lets pass messages that are at least as severe', (limit, expected) => {
    let passed = ''
    const log = limitLog(limit, (_, message) => {
      passed += message
    })
    for (const level of ['error', 'warn', 'info', 'debug'] as LogLevel[]) log(level, level[0]!)
    expect(passed).toBe(expected)
  })
})

describe('the journal', () => {
  test('the journal is recognized by the device and inode of the stream', () => {
    const { dev, ino } = fstatSync(0)
    expect(isJournal(0, { JOURNAL_STREAM: `${dev}:${ino}` })).toBe(true)
    expect(isJournal(0, { JOURNAL_STREAM: `${dev}:${ino + 1}` })).toBe(false)
    expect(isJournal(0, {})).toBe(false)
  })

  test('the journal gets one line for each event, with facility and severity', () => {
    expect(formatSyslog('error', 'a\nb')).toBe(`<27>atomfs-fuse[${process.pid}]: a\\nb`)
    expect(formatSyslog('info', 'x')).toMatch(/^<30>/)
  })
})
