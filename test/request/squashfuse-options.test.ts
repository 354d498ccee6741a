import { expect, test } from 'vitest'
import { parseSquashfuseOptions, type SquashfuseName } from '../../src/request/squashfuse-options.ts'
import { isInitialUserNamespace } from '../../src/sys/plain/namespaces.ts'

const parse = (list: string, program: SquashfuseName = 'squashfuse_ll') =>
  parseSquashfuseOptions([list], program)

test.each([
  ['squashfuse', 'uid=0,gid=0', 0, 0],
  ['squashfuse', 'uid=5,gid=6', 5, 6],
  ['squashfuse_ll', 'uid=0,gid=0', undefined, undefined],
  ['squashfuse_ll', 'uid=5,gid=0', 5, undefined],
  ['squashfuse_ll', 'uid=5,uid=0', undefined, undefined],
] as const)('%s shows owners as it does: %s', (program, list, uid, gid) => {
  expect(parse(list, program).parsed.options).toMatchObject({ uid, gid })
})

test('squashfuse lets other users in on request only, and allow_root lets nobody in', () => {
  expect(parse('').parsed.options.allowOther).toBe(false)
  expect(parse('allow_root').parsed.options.allowOther).toBe(false)
  expect(parse('allow_root').refused).toBeUndefined()
  expect(parse('allow_other').parsed.options.allowOther).toBe(true)
})

test('permissions bind others whom allow_other lets in, and those who mount on request only', () => {
  const checks = (list: string) => parse(list).parsed.options.defaultPermissions
  expect([checks(''), checks('ro,uid=5'), checks('allow_root')]).toEqual([false, false, false])
  expect(checks('default_permissions')).toBe(true)
  expect(checks('allow_other')).toBe(isInitialUserNamespace())
  expect(checks('allow_other,default_permissions')).toBe(true)
})

test('squashfuse takes the options of libfuse', () => {
  const list =
    'rw,auto_unmount,subtype=x,fsname=y,clone_fd,max_idle_threads=3,max_threads=4,dev,suid,offset=8192'
  expect(parse(list)).toMatchObject({ parsed: { offset: 8192, options: { fsname: 'y' } } })
  expect(parse(list).refused).toBeUndefined()
})

test.each([
  ['squashfuse', 'nix', false],
  ['squashfuse', 'offset=x', true],
  ['squashfuse', 'uid=x', false],
  ['squashfuse_ll', 'uid=x', true],
] as const)('%s reports the first wrong option, and reads the others: %s', (program, list, isOwn) => {
  const { parsed, refused } = parse(`${list},notify_pipe=/fifo,nix2`, program)
  expect(refused).toMatchObject({ isOwn, error: { message: expect.stringContaining(list.split('=')[0]!) } })
  expect(parsed.options.notifyPipe).toBe('/fifo')
})

test('timeout= is a number of seconds, and 0 for never', () => {
  const options = (list: string) => parse(list).parsed.options
  expect(options('timeout=90')).toMatchObject({ idleTimeout: 90, kernel: { countsOpens: true } })
  expect(options('timeout=90,timeout=0').idleTimeout).toBeUndefined()
  expect(options('timeout=90,timeout=0').kernel.countsOpens).toBe(false)
  expect(parse('timeout=-1').refused).toMatchObject({ isOwn: true })
})
