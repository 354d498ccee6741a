import { statSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  codeOf,
  errnoCodeOf,
  FsError,
  fromNodeError,
  ignoring,
  isErrno,
  messageOf,
  unlessFailed,
  withFsError,
} from '../../src/base/index.ts'

const missing = () => statSync('/nothing/is/here')
const failing = (error: unknown) => () => {
  throw error
}

function errorOf(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('errors of Node', () => {
  test('an error of Node becomes an FsError with errno, action and cause', () => {
    const error = errorOf(() => withFsError('layer', missing))
    expect(error).toBeInstanceOf(FsError)
    expect(error).toMatchObject({ code: 'ENOENT', cause: { syscall: 'stat' } })
    expect(messageOf(error)).toMatch(/^layer: ENOENT: .*here/)
  })

  test('an FsError or an error of another kind stays as it is', () => {
    for (const error of [new FsError('EIO', 'damage'), new TypeError('bug'), 'text', undefined]) {
      expect(fromNodeError('x', error)).toBe(error)
    }
  })

  test('an error of Node gives its errno name, and EIO if it has none', () => {
    expect(codeOf(errorOf(missing))).toBe('ENOENT')
    expect(errnoCodeOf(errorOf(missing))).toBe('ENOENT')
    expect(codeOf(new Error('plain'))).toBeUndefined()
    expect(errnoCodeOf(new Error('plain'))).toBe('EIO')
    expect(errnoCodeOf(new FsError('EROFS', 'x'))).toBe('EROFS')
  })
})

describe('errors that are expected', () => {
  test('isErrno compares an FsError by its code', () => {
    expect(isErrno(new FsError('EEXIST', 'x'), 'ENOENT', 'EEXIST')).toBe(true)
    expect(isErrno(new FsError('EIO', 'x'), 'ENOENT', 'EEXIST')).toBe(false)
    expect(isErrno(errorOf(missing), 'ENOENT')).toBe(false)
  })

  test('ignoring ignores the listed codes and throws other errors', () => {
    expect(ignoring(['EEXIST'], () => 1)).toBe(true)
    expect(ignoring(['EEXIST'], failing(new FsError('EEXIST', 'x')))).toBe(false)
    expect(() => ignoring(['EEXIST'], failing(new FsError('EIO', 'x')))).toThrow('x')
  })

  test('unlessFailed gives undefined for an FsError and throws a bug', () => {
    expect(unlessFailed(() => 3)).toBe(3)
    expect(unlessFailed(failing(new FsError('EIO', 'x')))).toBeUndefined()
    expect(() => unlessFailed(failing(new TypeError('bug')))).toThrow('bug')
  })
})
