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

  test('options for the source and the daemon are taken after -o, too', async () => {
    const hash = 'ab'.repeat(32)
    const list = `ro,persist=/p\\,q,fsname=a\\,b,root_hash=${hash},allow_missing_verity`
    const request = await mountRequest(FILE, '/t', { o: [list, 'metadir=/m,log=/l,log_level=error'] })
    expect(request).toMatchObject({
      changes: { kind: 'persist', folder: '/p,q' },
      rootHash: hash,
      allowMissingVerity: true,
      metadataDir: '/m',
      log: '/l',
      logLevel: 'error',
      options: { showsOnly: true, fsname: 'a,b' },
    })
    expect((await mountRequest(FILE, '/t', { o: ['rw,writable'] })).changes).toEqual({ kind: 'temporary' })
    const given = await mountRequest(FILE, '/t', { upper: '/u', o: ['upper=/other'] })
    expect(given.changes).toEqual({ kind: 'upper', upper: '/u' })
    await expect(mountRequest(FILE, '/t', { o: ['persist'] })).rejects.toThrow("'persist' needs a value")
    await expect(mountRequest(FILE, '/t', { o: ['writable=1'] })).rejects.toThrow('takes no value')
    await expect(mountRequest(FILE, '/t', { o: ['upper=/u,persist=/p'] })).rejects.toThrow('one of them')
    await expect(mountRequest(FILE, '/t', { o: ['ready_fd=3'] })).rejects.toThrow("unknown option 'ready_fd'")
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
