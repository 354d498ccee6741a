import { describe, expect, test } from 'vitest'
import { parseOverlayOptions, splitOverlayOptions } from '../../src/request/overlay-options.ts'

describe('splitOverlayOptions', () => {
  test('the overlay option list is split at commas outside quotation marks, and escapes of other characters are kept', () => {
    expect(splitOverlayOptions('a=1,,b="x,y",c\\,d,e\\"f,g\\:h,i\\\\:j')).toEqual([
      'a=1',
      'b=x,y',
      'c,d',
      'e"f',
      'g\\:h',
      'i\\:j',
    ])
    expect(splitOverlayOptions('end\\')).toEqual(['end\\'])
    expect(splitOverlayOptions('"open,end')).toEqual(['open,end'])
  })
})

describe('parseOverlayOptions', () => {
  test('the overlay parser reads directories with colons in their names, escaped once or twice', () => {
    expect(parseOverlayOptions(['lowerdir=/a:b\\:c:/d\\\\:e', 'upperdir=u:v,workdir=w\\:x'])).toMatchObject({
      lowers: ['/a', 'b:c', '/d:e'],
      upper: 'u:v',
      work: 'w:x',
      ignored: [],
    })
    expect(parseOverlayOptions(['lowerdir=a\\b::c']).lowers).toEqual(['a\\b', 'c'])
  })

  test('the overlay parser reads options that mount knows, drops options without effect, and names unknown ones', () => {
    const { parsed, ignored } = parseOverlayOptions([
      'lowerdir=a,timeout=5,threaded=1,xino=auto,noacl=0,fast_ino=1,index=off,metacopy=on',
      'uidmapping=:0:1:2,squash_to_root,noatime,fsname=x\\,y,foo,bar=1,allow_other',
    ])
    expect(parsed.options).toMatchObject({
      uid: 0,
      gid: 0,
      flags: ['noatime'],
      fsname: 'x,y',
      allowOther: true,
      upper: { redirectDir: false },
    })
    expect(ignored).toEqual(['unknown argument ignored: foo', 'unknown argument ignored: bar=1'])
  })

  const SYNCS = { fsync: 'auto', volatileSign: true }
  test.each([
    ['fsync=0', { fsync: 'volatile', volatileSign: false }],
    ['fsync=1', SYNCS],
    ['fsync=strict', { fsync: 'strict' }],
    ['sync=0', { fsync: 'volatile', volatileSign: false }],
    ['volatile', { fsync: 'volatile', volatileSign: true }],
    // The last word counts.
    ['fsync=0,fsync=1', SYNCS],
    ['fsync=0,volatile', { fsync: 'volatile', volatileSign: true }],
    ['volatile,fsync=0', { fsync: 'volatile', volatileSign: false }],
    ['userxattr', { markers: 'user' }],
    ['redirect_dir=on', { redirectDir: true }],
    ['redirect_dir=on,redirect_dir=nofollow', { redirectDir: false }],
  ])('the overlay parser reads from %s how changes are kept', (words, upper) => {
    expect(parseOverlayOptions([`lowerdir=a,${words}`]).parsed.options.upper).toMatchObject(upper)
  })

  test.each([
    ['redirect_dir=on', true],
    ['redirect_dir=follow', true],
    ['redirect_dir=nofollow', false],
    ['noatime', false],
  ])('the overlay parser reads from %s whether redirects are followed: %s', (words, follows) => {
    expect(parseOverlayOptions([`lowerdir=a,${words}`]).parsed.followsRedirects).toBe(follows)
  })

  test.each([
    ['writeback=0', { writeback: false }],
    ['writeback=0,writeback', { writeback: true }],
    ['writeback=0,writeback=1', { writeback: true }],
    ['ino32_t', { ino32: true }],
    ['ino32_t,ino32_t=0', { ino32: false }],
    ['debug', { debug: false }],
  ])('the overlay parser reads from %s how the kernel is served', (words, kernel) => {
    expect(parseOverlayOptions([`lowerdir=a,${words}`]).parsed.options.kernel).toMatchObject(kernel)
  })

  test('the overlay parser reports an option that switches nothing off, but not what Apptainer always gives', () => {
    const { ignored } = parseOverlayOptions(['lowerdir=a,noacl,noxattrs=1,static_nlink,noxattrs=0'])
    expect(ignored).toEqual([
      'argument ignored: noxattrs: extended attributes are shown and kept',
      'argument ignored: static_nlink: merged directories have one link anyway, others what they count themselves',
    ])
  })

  test('the overlay parser names an option of mount whose value is wrong', () => {
    expect(() => parseOverlayOptions(['lowerdir=a,xattr_permissions=3'])).toThrow(
      /^option xattr_permissions=3:/,
    )
    expect(() => parseOverlayOptions(['lowerdir=a,fsync=2'])).toThrow(/^option fsync=2:/)
    expect(() => parseOverlayOptions(['lowerdir=a,uid'])).toThrow("'uid' needs a value")
  })

  test('the overlay parser requires a lower directory, and a work directory for a writable upper one', () => {
    expect(() => parseOverlayOptions([])).toThrow(/no lower directory.*lowerdir=/)
    expect(() => parseOverlayOptions(['lowerdir='])).toThrow(/no lower directory/)
    expect(() => parseOverlayOptions(['lowerdir=a,upperdir=b'])).toThrow(/needs workdir=/)
    expect(() => parseOverlayOptions(['lowerdir=a,upperdir=b,ro,rw'])).toThrow(/needs workdir=/)
    expect(parseOverlayOptions(['lowerdir=a,upperdir=b,ro']).upper).toBe('b')
  })
})
