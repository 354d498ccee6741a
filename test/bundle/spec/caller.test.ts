import { describe, expect, test } from 'vitest'
import { type CallerFacts, callerOf, firstRange } from '../../../src/bundle/spec/caller.ts'

const ONE = '         0       1000          1\n'
const MANY = '         0       1000          1\n         1     100000      65535\n'
const FACTS: CallerFacts = {
  uid: 0,
  gid: 0,
  isSysAdmin: true,
  isInitialNamespace: true,
  uidMap: MANY,
  gidMap: MANY,
  mayAllowOther: true,
}
const SUBORDINATE = { uid: { first: 100_000, count: 65_536 }, gid: { first: 200_000, count: 1000 } }

describe('caller of a container', () => {
  test('root of the machine maps nothing', () => {
    const caller = callerOf(FACTS)
    expect(caller.mode).toBe('root')
    expect(caller.mappings).toBeUndefined()
    expect(caller.mountWords).toEqual([])
  })

  test('root of a user namespace of one id shows everything as its own', () => {
    const caller = callerOf({ ...FACTS, isInitialNamespace: false, uidMap: ONE, gidMap: ONE })
    expect(caller).toMatchObject({ mode: 'namespace-one', mountWords: ['uid=0', 'gid=0'] })
    expect(caller.mappings).toBeUndefined()
  })

  test('one id of either kind is one id', () => {
    expect(callerOf({ ...FACTS, isInitialNamespace: false, gidMap: ONE }).mode).toBe('namespace-one')
  })

  test('root of a user namespace of many ids has those', () => {
    const caller = callerOf({ ...FACTS, isInitialNamespace: false })
    expect(caller.mode).toBe('namespace-many')
    expect(caller.uids).toEqual([
      { first: 0, count: 1 },
      { first: 1, count: 65_535 },
    ])
  })

  test('a plain user becomes root of a namespace of one id', () => {
    const caller = callerOf({ ...FACTS, uid: 1000, gid: 1001, isSysAdmin: false })
    expect(caller).toMatchObject({
      mode: 'user-one',
      mountWords: ['uid=1000', 'gid=1001'],
      mappings: {
        uid: [{ containerID: 0, hostID: 1000, size: 1 }],
        gid: [{ containerID: 0, hostID: 1001, size: 1 }],
      },
    })
  })

  test('a plain user with subordinate ids has them behind its own, and the mount shows owners by the same ranges', () => {
    const facts = { ...FACTS, uid: 1000, gid: 1001, isSysAdmin: false, subordinate: SUBORDINATE }
    const caller = callerOf(facts)
    expect(caller.mode).toBe('user-many')
    expect(caller.mountWords).toEqual([
      'allow_other',
      'uidmapping=0:1000:1:1:100000:65535',
      'gidmapping=0:1001:1:1:200000:1000',
    ])
    expect(caller.mappings?.gid).toEqual([
      { containerID: 0, hostID: 1001, size: 1 },
      { containerID: 1, hostID: 200_000, size: 1000 },
    ])
    expect(callerOf({ ...facts, mayAllowOther: false }).mode).toBe('user-one')
  })

  test('root without the right to mount is a plain user', () => {
    expect(callerOf({ ...FACTS, isSysAdmin: false }).mode).toBe('user-one')
  })

  test('subordinate ids are found by name or number, the largest range of them', () => {
    const text = 'other:1:70000\nme:100000:10\n1000:200000:65536\nme:x:1\nme:5:0\n'
    expect(firstRange(text, ['1000', 'me'])).toEqual({ first: 200_000, count: 65_536 })
    expect(firstRange(text, ['nobody'])).toBeUndefined()
  })
})
