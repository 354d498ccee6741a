import { describe, expect, test } from 'vitest'
import { parseIdRanges } from '../../src/request/id-mapping.ts'
import { parseMountOptions } from '../../src/request/mount-options.ts'

const parse = (...lists: string[]) => parseMountOptions(lists).options

describe('uidmapping= and gidmapping=', () => {
  test('the id mapping options take the form of fuse-overlayfs, with and without the colon that containers/storage puts first', () => {
    const ranges = [
      { stored: 0, shown: 100_000, count: 65_536 },
      { stored: 70_000, shown: 5, count: 1 },
    ]
    expect(parse('uidmapping=0:100000:65536:70000:5:1').uid).toEqual(ranges)
    expect(parse('gidmapping=:0:100000:65536:70000:5:1').gid).toEqual(ranges)
    expect(parse('gidmapping=0:1:2').uid).toBeUndefined()
  })

  test.each([
    ':',
    '0:1',
    '0:1:2:3',
    '0:1:-2',
    'a:b:c',
    '0:1:0',
    '0:0:4294967296',
    '4294967290:0:6',
    '::0:1:2',
    `0${':0:1'.repeat(1300)}`,
  ])('an id mapping option refuses %s', (value) => {
    expect(() => parseIdRanges('uidmapping', value)).toThrow(/^option uidmapping/)
  })
})

describe('options that set one owner for all files', () => {
  test('one owner for all files takes precedence over ranges, and a given id over root', () => {
    expect(parse('squash_to_root,uidmapping=0:1:2')).toMatchObject({ uid: 0, gid: 0 })
    expect(parse('squash_to_uid=7,squash_to_root')).toMatchObject({ uid: 7, gid: 0 })
    expect(parse('uid=3,squash_to_uid=4,squash_to_gid=5')).toMatchObject({ uid: 4, gid: 5 })
    expect(() => parse('squash_to_root=1')).toThrow("'squash_to_root' takes no value")
    expect(() => parse('squash_to_uid=x')).toThrow('squash_to_uid=x')
  })
})
