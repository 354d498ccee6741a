import { fstatSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { LogLevel } from '../../../src/base/index.ts'
import { buildMountRequest } from '../../../src/cli/commands/mount.ts'
import { formatSyslog, isJournal, limitLog } from '../../../src/daemon/life/log.ts'

describe('limitLog', () => {
  it.each([
    ['error', 'e'],
    ['warn', 'ew'],
    ['info', 'ewi'],
    ['debug', 'ewid'],
  ] as const)('%s lets pass what is as severe', (limit, expected) => {
    let passed = ''
    const log = limitLog(limit, (_, message) => {
      passed += message
    })
    for (const level of ['error', 'warn', 'info', 'debug'] as LogLevel[]) log(level, level[0]!)
    expect(passed).toBe(expected)
  })
})

describe('the journal', () => {
  it('is recognized by the device and inode of the stream', () => {
    const { dev, ino } = fstatSync(0)
    expect(isJournal(0, { JOURNAL_STREAM: `${dev}:${ino}` })).toBe(true)
    expect(isJournal(0, { JOURNAL_STREAM: `${dev}:${ino + 1}` })).toBe(false)
    expect(isJournal(0, {})).toBe(false)
  })

  it('gets one line an event, with facility and severity', () => {
    expect(formatSyslog('error', 'a\nb')).toBe(`<27>atomfs-fuse[${process.pid}]: a\\nb`)
    expect(formatSyslog('info', 'x')).toMatch(/^<30>/)
  })
})

describe('log options', () => {
  it('have a level for each way of running', () => {
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

  it('take a descriptor for the word that it is ready', () => {
    expect(buildMountRequest('s', '/t', { readyFd: '5' }).readyFd).toBe(5)
    for (const readyFd of ['', '0', 'x', '-1', '5x']) {
      expect(() => buildMountRequest('s', '/t', { readyFd })).toThrow('--ready-fd')
    }
  })
})
