import { describe, expect, test } from 'vitest'
import { parseMountOptions, splitOptions } from '../../src/request/mount-options.ts'

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
    expect(parse().workers).toBeGreaterThan(0)
  })

  test('the parser of mount options reads typed values from several -o, and the last one counts', () => {
    expect(
      parse('uid=7,gid=8', 'subdir=usr/lib,cache_size=16M', 'threads=3,max_read=64K,uid=9,noexec'),
    ).toMatchObject({
      uid: 9,
      gid: 8,
      subdir: 'usr/lib',
      cacheSize: 16 * 2 ** 20,
      workers: 3,
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
    expect(parseMountOptions(['verify=eager', 'offset=4K'])).toMatchObject({ verify: 'eager', offset: 4096 })
    expect(parse('notify_pipe=p').notifyPipe).toBe(`${process.cwd()}/p`)
    expect(parse('debug,ino32_t').kernel).toMatchObject({ debug: true, ino32: true })
    expect(parse('driver=fuse-native').driver).toBe('fuse-native')
    expect(parse('driver=fuse-native,driver=builtin').driver).toBe('builtin')
  })

  test('the parser of mount options reads how changes are kept', () => {
    expect(parse().upper).toEqual({
      fsync: 'auto',
      volatileSign: true,
      redirectDir: true,
    })
    expect(parse().kernel).toEqual({
      debug: false,
      writeback: true,
      copyUpAtOpen: false,
      ino32: false,
      countsOpens: false,
    })
    expect(
      parse('fsync=strict,redirect_dir=off,xattr_permissions=2', 'xattr=trusted,writeback=0').upper,
    ).toMatchObject({ fsync: 'strict', redirectDir: false, recordOwners: 'user', markers: 'trusted' })
    for (const [value, redirectDir, follows] of [
      ['on', true, true],
      ['follow', false, true],
      ['nofollow', false, false],
      ['off', false, false],
    ] as const) {
      const { options, followsRedirects } = parseMountOptions([`redirect_dir=${value}`])
      expect([options.upper.redirectDir, followsRedirects], value).toEqual([redirectDir, follows])
    }
    expect(parse('copyup=open').kernel.copyUpAtOpen).toBe(true)
    expect(parse('copyup=open,copyup=change').kernel.copyUpAtOpen).toBe(false)
    expect(() => parse('copyup=close')).toThrow('copyup=close')
    for (const [last, writeback] of [
      ['writeback', true],
      ['writeback=1', true],
      ['writeback=on', true],
      ['writeback=off', false],
    ] as const) {
      expect(parse(`writeback=${writeback ? 0 : 1},${last}`).kernel.writeback, last).toBe(writeback)
    }
    expect(parse('volatile').upper.fsync).toBe('volatile')
    expect(parse('xattr_permissions=0').upper.recordOwners).toBe('never')
    expect(parse('xattr_permissions=1').upper.recordOwners).toBe('security')
    expect(parse('xattr_permissions=1,xattr_permissions=auto').upper.recordOwners).toBeUndefined()
    expect(parse('ro').showsOnly).toBe(true)
    expect(parse('ro,rw').showsOnly).toBe(false)
    expect(parse('rw,ro').showsOnly).toBe(true)
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
