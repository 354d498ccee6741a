import { describe, expect, test } from 'vitest'
import { findUser } from '../../../src/bundle/spec/users.ts'

const PASSWD = [
  'root:x:0:0:root:/root:/bin/sh',
  '+nis::::::',
  '# a comment:x:1:1::/x:',
  'broken',
  'app:x:1000:1001:An "app", with quotes:/home/app:/bin/sh',
  'relative:x:7:7::home:',
  'big:x:99999999999:1::/:',
  '1002:x:5:5::/five:',
].join('\n')
const GROUP = [
  'root:x:0:',
  'app:x:1001:',
  'audio:x:29:app,root',
  'video:x:44:other,app',
  'own:x:1001:app',
].join('\n')
const FILES: Readonly<Record<string, string>> = { '/etc/passwd': PASSWD, '/etc/group': GROUP }
const read = (path: string): string | undefined => FILES[path]
const find = (text: string) => findUser(text, read, 'image')

describe('user of an image', () => {
  test('is root where none is named, also without lists of users', () => {
    expect(find('')).toEqual({ uid: 0, gid: 0, home: '/root' })
    expect(findUser('', () => undefined, 'image')).toEqual({ uid: 0, gid: 0, home: '/' })
  })

  test('by name has its group, home and further groups, each once and without its own', () => {
    expect(find('app')).toEqual({ uid: 1000, gid: 1001, additionalGids: [29, 44], home: '/home/app' })
  })

  test('by number has its group and home, but no further groups', () => {
    expect(find('1000')).toEqual({ uid: 1000, gid: 1001, home: '/home/app' })
    expect(find('4242')).toEqual({ uid: 4242, gid: 0, home: '/' })
  })

  test('with a group has that group alone', () => {
    expect(find('app:video')).toEqual({ uid: 1000, gid: 44, home: '/home/app' })
    expect(find('4242:99')).toEqual({ uid: 4242, gid: 99, home: '/' })
    expect(find('app:')).toMatchObject({ gid: 1001, additionalGids: [29, 44] })
  })

  test('digits are a number, also where a user has such a name', () => {
    expect(find('1002')).toEqual({ uid: 1002, gid: 0, home: '/' })
  })

  test('a home that is no absolute path is the root', () => {
    expect(find('relative').home).toBe('/')
  })

  test.each(['nobody', 'app:nobody', '+nis', 'broken', 'big'])('%s is not known', (text) => {
    expect(() => find(text)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    expect(() => find(text)).toThrow(/image: its \/etc\/(passwd|group) has no (user|group)/)
  })

  test.each(['4294967295', '99999999999', '0:4294967295'])('%s is no id', (text) => {
    expect(() => find(text)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })
})
