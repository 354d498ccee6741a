import { describe, expect, test } from 'vitest'
import { parseMountOptions } from '../../src/request/mount-options.ts'
import { buildMountRequest, type MountWish } from '../../src/request/mount-request.ts'
import { FLAGS, SETTERS } from '../../src/request/option-table.ts'
import { decodeRequest } from '../../src/request/schema.ts'

function build({ o = [], ...wish }: Partial<MountWish> & { readonly o?: readonly string[] }) {
  const source = { container: 'file', path: '/s' } as const
  return buildMountRequest({ source, name: 's', target: '/t', parsed: parseMountOptions(o), ...wish })
}

describe('buildMountRequest', () => {
  test('a mount request is plain data with absolute paths, which the daemon understands', () => {
    const source = { container: 'oci', path: '/dir', tag: 'a:b' } as const
    const request = build({
      source,
      name: 'oci:dir:a:b',
      target: 'a/../b',
      metadataDir: 'm',
      rootHash: 'ABCDEF00'.repeat(8),
      driverPath: ['d', '/e'],
      readyFd: 5,
      o: ['notify_pipe=pipe'],
    })
    const cwd = process.cwd()
    expect(decodeRequest(JSON.stringify(request))).toEqual(request)
    expect(request).toMatchObject({
      source,
      name: 'oci:dir:a:b',
      target: `${cwd}/a/../b`,
      metadataDir: `${cwd}/m`,
      rootHash: 'abcdef00'.repeat(8),
      verify: 'auto',
      foreground: false,
      allowMissingVerity: false,
      driverPath: [`${cwd}/d`, '/e'],
      options: { notifyPipe: `${cwd}/pipe` },
    })
  })

  test('--verify takes precedence over -o verify=', () => {
    expect(build({ o: ['verify=lazy'] }).verify).toBe('lazy')
    expect(build({ o: ['verify=lazy'], verify: 'eager' }).verify).toBe('eager')
  })

  test('an offset belongs to an image file and is refused for an OCI image', () => {
    expect(build({ o: ['offset=4K'] }).source).toEqual({ container: 'file', path: '/s', offset: 4096 })
    const source = { container: 'oci', path: '/dir' } as const
    expect(() => build({ source, o: ['offset=0'] })).toThrow(/^offset= is for an image file/)
  })

  test.each([
    [{ persist: 'd' }, { kind: 'persist', folder: `${process.cwd()}/d` }],
    [
      { persist: '/d', writable: true },
      { kind: 'persist', folder: '/d' },
    ],
    [{ upper: 'd/.' }, { kind: 'upper', upper: `${process.cwd()}/d/.` }],
    [{ writable: true }, { kind: 'temporary' }],
    [{}, undefined],
    [{ o: ['rw,dev,suid'] }, undefined],
    [{ writable: true, o: ['ro'] }, undefined],
    [
      { upper: '/d', o: ['rw,ro'] },
      { kind: 'upper', upper: '/d' },
    ],
  ])('a mount request with %o says where changes go', (wish, changes) => {
    const request = build(wish)
    expect(request.changes).toEqual(changes)
    expect(request.options.showsOnly).toBe('o' in wish && wish.o.some((list) => list.includes('ro')))
  })

  test.each([
    [{ o: ['rw,ro'], persist: '' }, /--persist: .*empty/],
    [{ upper: 'a', persist: 'b' }, /give one of them/],
    [{ writable: true, o: ['driver=fuse-native'] }, /fuse-native is for read-only mounts/],
    [{ target: '' }, /target is empty/],
  ])('a mount request refuses %o', (wish, message) => {
    expect(() => build(wish)).toThrow(message)
  })

  test.each(['', 'abc', 'xy', 'a'.repeat(130)])('a mount request refuses %j as a root hash', (rootHash) => {
    expect(() => build({ rootHash })).toThrow('--root-hash')
  })

  test('the default log level depends on foreground, and --debug overrides --log-level', () => {
    expect(build({}).logLevel).toBe('info')
    expect(build({ foreground: true }).logLevel).toBe('warn')
    expect(build({ debug: true, logLevel: 'error' })).toMatchObject({
      logLevel: 'debug',
      options: { kernel: { debug: true } },
    })
    expect(build({ o: ['debug'] })).toMatchObject({
      logLevel: 'debug',
      options: { kernel: { debug: true } },
    })
    expect(build({ log: 'syslog', logLevel: 'error' })).toMatchObject({ log: 'syslog', logLevel: 'error' })
    expect(build({ log: 'file' }).log).toBe(`${process.cwd()}/file`)
  })
})

describe('the encrypted images of a request', () => {
  const luks = {
    form: 'luks2',
    id: 'a'.repeat(64),
    keySize: 64,
    offset: 1,
    size: 2,
    sectorSize: 512,
    ivTweak: 0,
  }
  const gocryptfs = {
    ...{ form: 'gocryptfs', id: 'b'.repeat(64), keySize: 32, fileId: '0'.repeat(32) },
    pieces: [{ position: 5, length: 6 }, { length: 7 }],
  }
  const decode = (...unlocked: readonly object[]) => decodeRequest(JSON.stringify({ ...build({}), unlocked }))

  test('are plain data without keys, which the daemon understands', () => {
    expect(decode(luks, gocryptfs).unlocked).toEqual([luks, gocryptfs])
  })

  test.each([
    { ...luks, keySize: 48 },
    { ...luks, sectorSize: 513 },
    { ...luks, offset: -1 },
    { ...luks, key: 'secret' },
    { ...gocryptfs, pieces: [{ position: 5 }] },
    { ...gocryptfs, form: 'luks1' },
  ])('%j is refused', (wrong) => {
    expect(() => decode(wrong)).toThrow(/the daemon does not understand the request/)
  })
})

describe('decodeRequest', () => {
  const request = build({})
  const isOneLine = expect.objectContaining({
    code: 'EINVAL',
    message: expect.stringMatching(
      /^the daemon does not understand .*two versions of the program installed\?$/,
    ),
  })

  test.each([
    ['no JSON', '{', /not JSON/],
    ['nothing of ours', '3', /it: expected Object, got 3/],
    ['a field that is missing', JSON.stringify({ ...request, target: undefined }), /\(target: expected/],
    ['a field of another version', JSON.stringify({ ...request, threads: 4 }), /\(threads: expected never/],
    [
      'a value of another type',
      JSON.stringify({ ...request, options: { ...request.options, workers: '4' } }),
      /options.workers: expected number, got "4"/,
    ],
    [
      'an unknown container',
      JSON.stringify({ ...request, source: { container: 'zip' } }),
      /source.container/,
    ],
  ])('the daemon refuses %s as a request, in one line', (_, json, message) => {
    expect(() => decodeRequest(json)).toThrow(message)
    expect(() => decodeRequest(json)).toThrow(isOneLine)
  })

  const VALUES: Readonly<Record<string, string>> = {
    ...{ driver: 'fuse-native', fsync: 'strict', writeback: 'off', copyup: 'open', redirect_dir: 'follow' },
    ...{
      xattr_permissions: '2',
      xattr: 'trusted',
      verify: 'eager',
      max_read: '64K',
      cache_size: '2M',
      size: '1M',
    },
    ...{ uidmapping: '0:1:2', gidmapping: '0:1:2', subdir: 'a', fsname: 'a', context: 'a', notify_pipe: 'a' },
    overlays: 'none',
    server: 'own',
    ext3: 'fuse2fs',
  }
  const words = [
    ...Object.keys(FLAGS).filter((name) => name !== 'allow_root'),
    ...Object.keys(SETTERS).map((name) => `${name}=${VALUES[name] ?? '7'}`),
  ]
  const ofSif = { source: { container: 'sif', path: '/s' } }
  test.each(words)('the daemon understands a request with -o %s', (word) => {
    const asked = build({ o: [word], ...(/^(partition|overlays)=/.test(word) ? ofSif : {}) })
    expect(decodeRequest(JSON.stringify(asked))).toEqual(asked)
  })

  test('a request keeps names that are not UTF-8', () => {
    expect(decodeRequest(JSON.stringify({ ...request, target: '/\udcff' })).target).toBe('/\udcff')
  })
})
