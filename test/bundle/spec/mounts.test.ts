import { describe, expect, test } from 'vitest'
import { parseMount, wantedMount } from '../../../src/bundle/spec/mounts.ts'
import { readMountInfo, topMountAt } from '../../../src/sys/mounts/mountinfo.ts'

const parse = (text: string) => parseMount(text, Number)

describe('--mount', () => {
  test.each([
    ['/a:/b', { type: 'bind', source: '/a', target: '/b', readOnly: false }],
    ['/a:/b:ro', { type: 'bind', source: '/a', target: '/b', readOnly: true }],
    ['type=bind,source=/a,target=/b,readonly', { type: 'bind', source: '/a', target: '/b', readOnly: true }],
    ['src=a,dst=/b,ro=false', { type: 'bind', source: 'a', target: '/b', readOnly: false }],
    ['type=tmpfs,destination=/t,tmpfs-size=100', { type: 'tmpfs', target: '/t', readOnly: false, size: 100 }],
  ])('%s', (text, expected) => {
    expect(parse(text)).toEqual(expected)
  })

  test.each([
    ['', 'SOURCE:TARGET'],
    ['/a:/b:x', 'SOURCE:TARGET'],
    ['type=overlay,target=/b', 'bind or tmpfs'],
    ['type=bind,source=/a,target=/b,shared=true', 'shared is not known'],
    ['type=tmpfs,source=/a,target=/b', 'a tmpfs has no source'],
    ['type=bind,source=/a,target=/b,size=1', 'size is for a tmpfs'],
    ['type=bind,source=/a,target=/b,ro=maybe', 'readonly is true or false'],
  ])('%s is refused: %s', (text, message) => {
    expect(() => parse(text)).toThrow(message)
  })

  test('of a source that is missing is refused', () => {
    expect(() => wantedMount(parse('/no/such/place:/b'))).toThrow('mount of /no/such/place: ENOENT')
    expect(() => wantedMount(parse('type=bind,target=/b'))).toThrow('mount on /b: its source is missing')
  })

  test('keeps the flags of the mount in which the source lies', () => {
    const flags = ['ro', 'nosuid', 'nodev', 'noexec']
    const there = topMountAt(readMountInfo(), '/proc')?.mountOptions.filter((flag) => flags.includes(flag))
    const { options, source, type } = wantedMount(parse('/proc/version:/b'))
    expect({ type, source }).toEqual({ type: 'none', source: '/proc/version' })
    expect(options).toEqual(['rbind', ...(there ?? [])])
  })
})
