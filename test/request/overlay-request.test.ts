import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/base/index.ts'
import { buildOverlayRequest } from '../../src/request/overlay-request.ts'
import { decodeRequest } from '../../src/request/schema.ts'

const build = (list: string, target = 'm') => buildOverlayRequest({ target, lists: [list] })
const options = (list: string) => build(list).request.options

describe('buildOverlayRequest', () => {
  test('an overlay request is plain data with absolute paths, which the daemon understands', () => {
    const list = 'lowerdir=l:/m,upperdir=u,workdir=w,uidmapping=:0:5:1,context="a:b:c1,c2",nope'
    const { request, ignored } = buildOverlayRequest({ target: 'mnt', lists: [list], metadataDir: 'run' })
    expect(decodeRequest(JSON.stringify(request))).toEqual(request)
    const cwd = process.cwd()
    expect(request).toMatchObject({
      source: { lowers: [`${cwd}/l`, '/m'], followsRedirects: false },
      name: 'overlay',
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
    const { upper } = options('lowerdir=l,upperdir=u,workdir=w,fsync=0')
    expect(upper).toMatchObject({ fsync: 'volatile', volatileSign: false })
  })

  test('root may run setuid programs in an overlay mount unless the last word says otherwise', () => {
    const isRoot = process.geteuid?.() === 0
    const nosuid = (words: string) => options(`lowerdir=l${words}`).nosuid
    expect(nosuid('')).toBe(!isRoot)
    expect(nosuid(',suid')).toBe(!isRoot)
    expect(nosuid(',nosuid')).toBe(true)
    expect(nosuid(',suid,nosuid')).toBe(true)
    expect(nosuid(',nosuid,suid')).toBe(!isRoot)
  })

  test('an overlay request shows an upper directory without a work directory, and names no path that was not given', () => {
    expect(build('lowerdir=/l,upperdir=/u,rw,ro').request.changes).toEqual({ kind: 'pair', upper: '/u' })
    expect(() => build('lowerdir=/l,upperdir=/u,ro,rw')).toThrow(
      new UsageError('upperdir= needs workdir=DIR, on the same file system'),
    )
  })

  test('an overlay request refuses options that apply only to images', () => {
    expect(() => build('lowerdir=l,driver=fuse-native')).toThrow(/driver=builtin/)
    expect(() => build('lowerdir=l,offset=1')).toThrow(/offset=/)
    expect(() => build('lowerdir=l', '')).toThrow(/target is empty/)
  })
})
