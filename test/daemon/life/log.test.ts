import { fstatSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { LogLevel } from '../../../src/base/index.ts'
import { buildMountRequest } from '../../../src/cli/commands/mount.ts'
import { formatSyslog, isJournal, limitLog } from '../../../src/daemon/life/log.ts'

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

describe('log options', () => {
  test('the default log level depends on foreground, and --debug overrides --log-level', () => {
    expect(buildMountRequest('s', '/t', {}).logLevel).toBe('info')
    expect(buildMountRequest('s', '/t', { foreground: true }).logLevel).toBe('warn')
    expect(buildMountRequest('s', '/t', { debug: true, logLevel: 'error' }).logLevel).toBe('debug')
    expect(buildMountRequest('s', '/t', { log: 'syslog', logLevel: 'error' })).toMatchObject({
      log: 'syslog',
      logLevel: 'error',
    })
    expect(buildMountRequest('s', '/t', { log: 'file' }).log).toBe(`${process.cwd()}/file`)
    expect(() => buildMountRequest('s', '/t', { logLevel: 'loud' })).toThrow('--log-level')
  })

  test('--ready-fd takes a descriptor number and refuses anything else', () => {
    expect(buildMountRequest('s', '/t', { readyFd: '5' }).readyFd).toBe(5)
    for (const readyFd of ['', '0', 'x', '-1', '5x']) {
      expect(() => buildMountRequest('s', '/t', { readyFd })).toThrow('--ready-fd')
    }
  })
})
