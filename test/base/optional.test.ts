import { expect, test } from 'vitest'
import { omitUndefined } from '../../src/base/index.ts'

test('undefined fields are left out, and null, 0, false and empty text stay', () => {
  const fields: { a: number | undefined; b: string | undefined; c: boolean; d: number; e: null } = {
    a: undefined,
    b: '',
    c: false,
    d: 0,
    e: null,
  }
  const kept: { readonly a?: number; readonly b?: string; readonly c: boolean; readonly d: number } =
    omitUndefined(fields)
  expect(Object.keys(kept)).toEqual(['b', 'c', 'd', 'e'])
})
