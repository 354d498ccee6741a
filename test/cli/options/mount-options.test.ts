import { describe, expect, test } from 'vitest'
import { buildMountRequest } from '../../../src/cli/commands/mount.ts'
import { parseMountOptions, splitOptions } from '../../../src/cli/options/mount-options.ts'
import { withVerb } from '../../../src/cli/verb.ts'

const parse = (...lists: string[]) => parseMountOptions(lists).options

describe('parseMountOptions', () => {
  test('the parser of mount options gives safe defaults', () => {
    expect(parse()).toMatchObject({
      nosuid: true,
      nodev: true,
      noexec: false,
      driver: 'builtin',
      defaultPermissions: true,
      allowOther: process.geteuid?.() === 0,
      cacheSize: 64 * 2 ** 20,
    })
    expect(parse().threads).toBeGreaterThan(0)
  })

  test('the parser of mount options reads typed values from several -o, and the last one counts', () => {
    expect(
      parse(
        'uid=7,gid=8,offset=4096',
        'subdir=usr/lib,cache_size=16M',
        'threads=3,max_read=64K,uid=9,noexec',
      ),
    ).toMatchObject({
      uid: 9,
      gid: 8,
      offset: 4096,
      subdir: 'usr/lib',
      cacheSize: 16 * 2 ** 20,
      threads: 3,
      maxRead: 65536,
      noexec: true,
    })
    expect(parse('uid=me,squash_to_gid=me')).toMatchObject({
      uid: process.geteuid!(),
      gid: process.getegid!(),
    })
    expect(parse('cache_size=2g').cacheSize).toBe(2 * 2 ** 30)
    expect(parse('allow_other,noallow_other').allowOther).toBe(false)
    expect(parse('fsname=a\\,b,notify_pipe=/p').fsname).toBe('a,b')
    expect(parseMountOptions(['verify=eager']).verify).toBe('eager')
    expect(parse('driver=fuse-native').driver).toBe('fuse-native')
    expect(parse('driver=fuse-native,driver=builtin').driver).toBe('builtin')
  })

  test('the parser of mount options reads how changes are kept', () => {
    expect(parse().upper).toEqual({
      fsync: 'auto',
      volatileSign: true,
      redirectDir: true,
      writeback: true,
      copyUpAtOpen: false,
    })
    expect(
      parse('fsync=strict,redirect_dir=off,xattr_permissions=2', 'xattr=trusted,writeback=0').upper,
    ).toMatchObject({ fsync: 'strict', redirectDir: false, owners: 2, markers: 'trusted', writeback: false })
    for (const [value, redirectDir, followRedirects] of [
      ['on', true, true],
      ['follow', false, true],
      ['nofollow', false, false],
      ['off', false, false],
    ] as const) {
      const options = parse(`redirect_dir=${value}`)
      expect([options.upper.redirectDir, options.followRedirects], value).toEqual([
        redirectDir,
        followRedirects,
      ])
    }
    expect(parse('copyup=open').upper.copyUpAtOpen).toBe(true)
    expect(parse('copyup=open,copyup=change').upper.copyUpAtOpen).toBe(false)
    expect(() => parse('copyup=close')).toThrow('copyup=close')
    for (const [last, writeback] of [
      ['writeback', true],
      ['writeback=1', true],
      ['writeback=on', true],
      ['writeback=off', false],
    ] as const) {
      expect(parse(`writeback=${writeback ? 0 : 1},${last}`).upper.writeback, last).toBe(writeback)
    }
    expect(parse('volatile').upper.fsync).toBe('volatile')
    expect(parse('xattr_permissions=0').upper.owners).toBe(0)
    expect(parse('xattr_permissions=1,xattr_permissions=auto').upper).not.toHaveProperty('owners')
    expect(parse('ro').readOnly).toBe(true)
    expect(parse('ro,rw').readOnly).toBe(false)
    expect(parse('rw,ro').readOnly).toBe(true)
  })

  test('the parser of mount options accepts and drops options for mount(8), systemd and access times', () => {
    const plain = parse()
    expect(
      parse(
        '_netdev,nofail,defaults,auto,noauto,user,users,x-systemd.automount,x-gdu.hide,X-mount.mkdir=0755',
      ),
    ).toEqual(plain)
    expect(parse('', ',,rw,')).toEqual(plain)
    expect(parse('loop,iversion,user=alice,group,helper=x,comment=y,sizelimit=7,silent,mand')).toEqual(plain)
    expect(
      parse('subtype=x,auto_unmount,kernel_cache,entry_timeout=1,attr_timeout=0.5,clone_fd,max_threads=2'),
    ).toEqual(plain)
  })

  test.each([
    ['', []],
    ['sync,dirsync', ['sync', 'dirsync']],
    ['sync,async,nosymfollow', ['nosymfollow']],
    ['nosymfollow,symfollow,nodiratime', ['nodiratime']],
    ['noatime', ['noatime']],
    ['noatime,relatime', ['relatime']],
    ['relatime,strictatime,lazytime', ['strictatime', 'lazytime']],
    ['noatime,atime,nodiratime,diratime,lazytime,nolazytime', []],
  ])('the parser of mount options turns %j into the flags %o', (list, flags) => {
    expect(parse(list).flags).toEqual(flags)
  })

  test.each([
    ['flubber', /unknown option 'flubber'.*cache_size=.*threads=/],
    ['__proto__', /unknown option '__proto__'/],
    ['constructor=1', /unknown option 'constructor'/],
    ['uid', /'uid' needs a value/],
    ['uid=', /'uid' needs a value/],
    ['ro=1', /'ro' takes no value/],
    ['writeback=', /'writeback' needs a value/],
    ['writeback=2', /writeback=2: expected 0, 1, on, off/],
    ['uid=-1', /uid=-1: expected a whole number/],
    ['uid=4294967295', /from 0 to 4294967294/],
    ['gid=1.5', /whole number/],
    ['offset=0x10', /whole number/],
    ['offset=99999999999999999999', /whole number/],
    ['cache_size=4T', /whole number/],
    ['cache_size=1', /from 1048576/],
    ['threads=65', /from 0 to 64/],
    ['max_read=100', /from 4096/],
    ['verify=never', /auto, lazy or eager/],
    ['driver=libfuse', /^driver is builtin or fuse-native, not 'libfuse'$/],
    ['driver', /'driver' needs a value/],
    ['fsync=1', /fsync=1: expected auto, strict, volatile/],
    ['redirect_dir=always', /redirect_dir=always: expected on, follow, nofollow, off/],
    ['xattr_permissions=3', /xattr_permissions=3: expected 0, 1, 2, auto/],
    ['xattr=trusted.', /expected user, trusted/],
    ['volatile=1', /'volatile' takes no value/],
    ['context="a"', /no quotation marks/],
    ['allow_root', /use allow_other/],
  ])('the parser of mount options refuses %s', (option, message) => {
    expect(() => parse(option)).toThrow(message)
  })

  test('the option list is split at commas, but not at escaped ones', () => {
    expect(splitOptions('a,b\\,c,,d\\\\,e=f\\=g')).toEqual(['a', 'b,c', 'd\\', 'e=f=g'])
    expect(splitOptions('end\\')).toEqual(['end\\'])
  })
})

describe('withVerb', () => {
  test.each([
    ['/a.sqfs /mnt -o ro,nodev', true],
    ['oci:x:y mnt', true],
    ['x@sha256:ab mnt -o ro', true],
    ['-o ro -f ./a mnt', true],
    ['-oro ./a mnt', true],
    ['./a mnt --metadir /run/x', true],
    ['package.json mnt -o ro', true],
    ['mount /a /b', false],
    ['umount /a', false],
    ['doctor', false],
    ['mout a b', false],
    ['./a', false],
    ['./a b c', false],
    ['--help', false],
    ['', false],
  ])('the mount verb is added only to a command line without a verb: %s', (line, isMount) => {
    const words = line.split(' ').filter((word) => word !== '')
    expect(withVerb(words)).toEqual(isMount ? ['mount', ...words] : words)
  })
})

describe('buildMountRequest', () => {
  test('a mount request is plain data with absolute paths', () => {
    const request = buildMountRequest('oci:dir:tag', 'a/../b', {
      metadir: 'm',
      rootHash: 'ABCDEF00'.repeat(8),
      o: ['notify_pipe=pipe'],
    })
    expect(JSON.parse(JSON.stringify(request))).toEqual(request)
    expect(request).toMatchObject({
      source: 'oci:dir:tag',
      target: `${process.cwd()}/a/../b`,
      metadataDir: `${process.cwd()}/m`,
      rootHash: 'abcdef00'.repeat(8),
      verify: 'auto',
      foreground: false,
      allowMissingVerity: false,
      options: { notifyPipe: `${process.cwd()}/pipe` },
    })
  })

  test('--verify takes precedence over -o verify=', () => {
    expect(buildMountRequest('s', '/t', { o: ['verify=lazy'] }).verify).toBe('lazy')
    expect(buildMountRequest('s', '/t', { o: ['verify=lazy'], verify: 'eager' }).verify).toBe('eager')
  })

  test.each([
    [{ persist: 'd' }, { kind: 'persist', folder: `${process.cwd()}/d` }],
    [
      { persist: '/d', writeable: true },
      { kind: 'persist', folder: '/d' },
    ],
    [{ upper: 'd/.' }, { kind: 'upper', upper: `${process.cwd()}/d/.` }],
    [{ writeable: true }, { kind: 'temporary' }],
    [{ writable: true }, { kind: 'temporary' }],
    [{}, undefined],
    [{ o: ['rw,dev,suid'] }, undefined],
    [{ writable: true, o: ['ro'] }, undefined],
    [
      { upper: '/d', o: ['rw,ro'] },
      { kind: 'upper', upper: '/d' },
    ],
  ])('a mount request says for %o where changes go', (flags, changes) => {
    const request = buildMountRequest('s', '/t', flags)
    expect(request.changes).toEqual(changes)
    expect(request.options.readOnly).toBe('o' in flags && flags.o.some((list) => list.includes('ro')))
  })

  test.each([
    [{ o: ['rw,ro'], persist: '' }, /--persist: .*empty/],
    [{ upper: 'a', persist: 'b' }, /give one of them/],
    [{ writeable: true, o: ['driver=fuse-native'] }, /fuse-native is for read-only mounts/],
  ])('a mount request refuses %o', (flags, message) => {
    expect(() => buildMountRequest('s', '/t', flags)).toThrow(message)
  })

  test('a mount request refuses empty names and a malformed root hash', () => {
    expect(() => buildMountRequest('', '/t', {})).toThrow('source is empty')
    expect(() => buildMountRequest('s', '', {})).toThrow('target is empty')
    for (const rootHash of ['', 'abc', 'xy', 'a'.repeat(130)]) {
      expect(() => buildMountRequest('s', '/t', { rootHash })).toThrow('--root-hash')
    }
    expect(buildMountRequest('s', '/t', { offset: '4K' }).options.offset).toBe(4096)
  })
})
