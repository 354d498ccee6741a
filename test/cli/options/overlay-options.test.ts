import { describe, expect, test } from 'vitest'
import { buildOverlayRequest } from '../../../src/cli/commands/overlay.ts'
import { parseOverlayOptions, splitOverlayOptions } from '../../../src/cli/options/overlay-options.ts'
import { fuseOverlayfsVersion } from '../../../src/cli/personality.ts'

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

  test('the overlay parser passes on options that mount knows, drops options without effect, and names unknown ones', () => {
    const { others, ignored, neverSyncs } = parseOverlayOptions([
      'lowerdir=a,timeout=5,threaded=1,xino=auto,noacl=0,fast_ino=1,index=off,metacopy=on',
      'uidmapping=:0:1:2,squash_to_root,noatime,fsname=x\\,y,foo,bar=1,allow_other',
    ])
    expect(others).toEqual([
      'redirect_dir=off',
      'uidmapping=:0:1:2',
      'squash_to_root',
      'noatime',
      'fsname=x\\,y',
      'allow_other',
    ])
    expect(ignored).toEqual(['unknown argument ignored: foo', 'unknown argument ignored: bar=1'])
    expect(neverSyncs).toBe(false)
  })

  test.each([
    ['fsync=0', ['redirect_dir=off'], true],
    ['fsync=1', ['redirect_dir=off'], false],
    ['fsync=strict', ['redirect_dir=off', 'fsync=strict'], false],
    ['sync=0', ['redirect_dir=off'], true],
    ['volatile', ['redirect_dir=off', 'volatile'], false],
    ['writeback=0', ['redirect_dir=off', 'writeback=0'], false],
    ['writeback=1', ['redirect_dir=off', 'writeback=1'], false],
    ['ino32_t', ['redirect_dir=off', 'ino32_t'], false],
    ['ino32_t=0', ['redirect_dir=off'], false],
    ['writeback', ['redirect_dir=off', 'writeback=1'], false],
    ['redirect_dir=on', ['redirect_dir=off', 'redirect_dir=on'], false],
    ['redirect_dir=follow', ['redirect_dir=off', 'redirect_dir=follow'], false],
    ['redirect_dir=nofollow', ['redirect_dir=off', 'redirect_dir=off'], false],
    ['userxattr', ['redirect_dir=off', 'xattr=user'], false],
  ])('the overlay parser translates %s', (option, others, neverSyncs) => {
    expect(parseOverlayOptions([`lowerdir=a,${option}`])).toMatchObject({ others, neverSyncs })
  })

  test('the overlay parser reports an option that switches nothing off', () => {
    const { ignored, others } = parseOverlayOptions(['lowerdir=a,noacl,noxattrs=1,static_nlink,noacl=0'])
    expect(ignored).toEqual([
      'argument ignored: noacl: access lists are enforced',
      'argument ignored: noxattrs: extended attributes are shown and kept',
      'argument ignored: static_nlink: merged directories have one link anyway, others what they count themselves',
    ])
    expect(others).toEqual(['redirect_dir=off'])
  })

  test('the overlay parser requires a lower directory, and a work directory for a writable upper one', () => {
    expect(() => parseOverlayOptions([])).toThrow(/no lower directory.*lowerdir=/)
    expect(() => parseOverlayOptions(['lowerdir='])).toThrow(/no lower directory/)
    expect(() => parseOverlayOptions(['lowerdir=a,upperdir=b'])).toThrow(/needs workdir=/)
    expect(parseOverlayOptions(['lowerdir=a,upperdir=b,ro']).upper).toBe('b')
  })
})

describe('buildOverlayRequest', () => {
  test('an overlay request is plain data with absolute paths', () => {
    const { request, ignored } = buildOverlayRequest('mnt', {
      o: ['lowerdir=l:/m,upperdir=u,workdir=w,uidmapping=:0:5:1,context="a:b:c1,c2",nope'],
      metadir: 'run',
    })
    expect(JSON.parse(JSON.stringify(request))).toEqual(request)
    const cwd = process.cwd()
    expect(request).toMatchObject({
      source: 'overlay',
      lowers: [`${cwd}/l`, '/m'],
      target: `${cwd}/mnt`,
      metadataDir: `${cwd}/run`,
      changes: { kind: 'pair', upper: `${cwd}/u`, work: `${cwd}/w` },
      options: {
        uid: [{ stored: 0, shown: 5, count: 1 }],
        context: 'a:b:c1,c2',
        upper: { redirectDir: false },
      },
    })
    expect(ignored).toEqual(['unknown argument ignored: nope'])
  })

  test('fsync=0 means that the mount never syncs and leaves no volatile sign', () => {
    const { upper } = buildOverlayRequest('m', { o: ['lowerdir=l,upperdir=u,workdir=w,fsync=0'] }).request
      .options
    expect(upper).toMatchObject({ fsync: 'volatile', volatileSign: false })
  })

  test('root may run setuid programs in an overlay mount unless nosuid is given', () => {
    const nosuid = (o: string) => buildOverlayRequest('m', { o: [`lowerdir=l${o}`] }).request.options.nosuid
    expect(nosuid('')).toBe(process.geteuid?.() !== 0)
    expect(nosuid(',nosuid')).toBe(true)
  })

  test('an overlay request refuses options that apply only to images', () => {
    expect(() => buildOverlayRequest('m', { o: ['lowerdir=l,driver=fuse-native'] })).toThrow(/driver=builtin/)
    expect(() => buildOverlayRequest('m', { o: ['lowerdir=l,offset=1'] })).toThrow(/offset=/)
    expect(() => buildOverlayRequest('', { o: ['lowerdir=l'] })).toThrow(/target is empty/)
  })
})

describe('fuseOverlayfsVersion', () => {
  test('the version line has the form that clients of fuse-overlayfs look for', () => {
    expect(fuseOverlayfsVersion('0.1.0')).toMatch(
      /^fuse-overlayfs: version \d+\.\d+ \(atomfs-fuse 0\.1\.0\)$/,
    )
  })
})
