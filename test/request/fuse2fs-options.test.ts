import { describe, expect, test } from 'vitest'
import { parseFuse2fsOptions, preloadedOffset } from '../../src/request/fuse2fs-options.ts'

describe('the options of fuse2fs', () => {
  test.each([
    ['ro,fakeroot', { allowOther: false, showsOnly: true }],
    ['allow_other,ro,fakeroot', { allowOther: true }],
    ['uid=0,gid=0,ro,offset=4096', { uid: 0, gid: 0 }],
    ['ro,acl,norecovery,errors=continue,no_default_opts', {}],
  ])('%s is taken as its callers mean it', (list, options) => {
    expect(parseFuse2fsOptions([list]).options).toMatchObject(options)
  })

  test('nothing but reading is done', () => {
    for (const list of ['', 'fakeroot', 'ro,rw'])
      expect(() => parseFuse2fsOptions([list])).toThrow(/only reads: give -o ro;/)
    expect(() => parseFuse2fsOptions(['ro,nonsense'])).toThrow(/unknown option 'nonsense'/)
  })

  test('an offset by variables counts for the file that they name', () => {
    const env = { OFFSETPRELOAD_FILE: '/proc/self/fd/3', OFFSETPRELOAD_OFFSET: '8192' }
    expect(preloadedOffset('/proc/self/fd/3', env)).toBe('offset=8192')
    expect(preloadedOffset('/other', env)).toBeUndefined()
    expect(preloadedOffset('/other', {})).toBeUndefined()
  })
})
