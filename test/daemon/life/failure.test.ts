import { describe, expect, it } from 'vitest'
import { DamageError, FsError, UsageError } from '../../../src/base/index.ts'
import { failureText } from '../../../src/daemon/life/failure.ts'

describe('failureText', () => {
  it.each([
    ['a mistake of the user', new UsageError('give --one'), 'give --one'],
    ['a file that is missing', new FsError('ENOENT', 'a: no such file'), 'a: no such file'],
    [
      'damage',
      new DamageError('sha256:a', 4096, 'layer sha256:a: data block 1'),
      'layer sha256:a: data block 1',
    ],
  ])('is the message for %s', (_, error, text) => {
    expect(failureText(error)).toBe(text)
  })

  it('adds what to do about a limit', () => {
    expect(failureText(new FsError('EMFILE', 'x'))).toMatch(/^x: too many open files .*ulimit -n/)
  })

  it('names the place in the code of any other error', () => {
    expect(failureText(new TypeError('x is not a function'))).toMatch(
      /^internal error: TypeError: x is not a function at /,
    )
  })
})
