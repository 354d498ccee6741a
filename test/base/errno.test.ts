import { describe, expect, test } from 'vitest'
import { FsError, outcomeOf } from '../../src/base/index.ts'

describe('outcomeOf', () => {
  test('an FsError is answered with its code and without a complaint', () => {
    expect(outcomeOf(new FsError('ENOTDIR', 'a file'), 'LOOKUP node 7')).toEqual({ code: 'ENOTDIR' })
  })

  test('damage and bugs are logged, and a bug with its place in the code', () => {
    const damage = outcomeOf(new FsError('EIO', 'block 3 is damaged'), 'READ node 7')
    expect(damage).toEqual({ code: 'EIO', complaint: 'READ node 7: block 3 is damaged' })
    const bug = outcomeOf(new TypeError('undefined is no function'), 'READ node 7')
    expect(bug.code).toBe('EIO')
    expect(bug.complaint).toMatch(/^READ node 7: bug: TypeError: undefined is no function\n.*errno\.test/)
    expect(outcomeOf('text', 'read /a')).toEqual({ code: 'EIO', complaint: 'read /a: bug: text' })
  })
})
