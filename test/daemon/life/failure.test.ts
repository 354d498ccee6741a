import { describe, expect, test } from 'vitest'
import { DamageError, FsError, UsageError } from '../../../src/base/index.ts'
import { failureCode, failureText } from '../../../src/daemon/life/failure.ts'

describe('failureText', () => {
  test.each([
    ['a mistake of the user', new UsageError('give --one'), 'give --one'],
    ['a file that is missing', new FsError('ENOENT', 'a: no such file'), 'a: no such file'],
    [
      'damage',
      new DamageError('sha256:a', 4096, 'layer sha256:a: data block 1'),
      'layer sha256:a: data block 1',
    ],
  ])('the failure text is the message of %s', (_, error, text) => {
    expect(failureText(error)).toBe(text)
  })

  test.each([
    ['EINVAL', new UsageError('x')],
    ['ENOENT', new FsError('ENOENT', 'x')],
    ['EIO', new DamageError('sha256:a', 4096, 'x')],
    ['EMFILE', Object.assign(new Error('x'), { code: 'EMFILE', errno: -24, syscall: 'open' })],
    ['EIO', new TypeError('x is not a function')],
  ])('the failure code is %s of %s', (code, error) => {
    expect(failureCode(error)).toBe(code)
  })

  test('the failure text adds what to do about a limit', () => {
    expect(failureText(new FsError('EMFILE', 'x'))).toMatch(/^x: too many open files .*ulimit -n/)
  })

  test('the failure text of an unexpected error names its place in the code', () => {
    expect(failureText(new TypeError('x is not a function'))).toMatch(
      /^internal error: TypeError: x is not a function at /,
    )
  })
})
