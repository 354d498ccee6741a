import { describe, expect, test } from 'vitest'
import { mountRequest } from '../../../src/cli/commands/mount.ts'

/** A source that is there. */
const FILE = process.execPath

describe('the options of mount', () => {
  test('--offset says the same as -o offset=', async () => {
    const request = await mountRequest(FILE, '/t', { offset: '4K', o: ['subdir=usr'] })
    expect(request).toMatchObject({
      source: { container: 'file', path: FILE, offset: 4096 },
      name: FILE,
      options: { subdir: 'usr' },
    })
  })

  test('--writeable and --writable both make a mount that can be changed', async () => {
    for (const flags of [{ writeable: true }, { writable: true }]) {
      expect((await mountRequest(FILE, '/t', flags)).changes).toEqual({ kind: 'temporary' })
    }
  })

  test('--ready-fd takes a descriptor number and refuses anything else', async () => {
    expect((await mountRequest(FILE, '/t', { readyFd: '5' })).readyFd).toBe(5)
    for (const readyFd of ['', '0', 'x', '-1', '5x']) {
      await expect(mountRequest(FILE, '/t', { readyFd })).rejects.toThrow('--ready-fd')
    }
  })

  test('--driver-path takes a list of folders', async () => {
    const { driverPath } = await mountRequest(FILE, '/t', { driverPath: '/a:/b' })
    expect(driverPath).toEqual(['/a', '/b'])
  })

  test('values of options that make no sense are refused', async () => {
    await expect(mountRequest(FILE, '/t', { logLevel: 'loud' })).rejects.toThrow('--log-level')
    await expect(mountRequest(FILE, '/t', { verify: 'never' })).rejects.toThrow('auto, lazy or eager')
    await expect(mountRequest('', '/t', {})).rejects.toThrow('source is empty')
    await expect(mountRequest(FILE, '', {})).rejects.toThrow('target is empty')
  })
})
