import { describe, expect, test } from 'vitest'
import { printable } from '../../src/base/index.ts'

describe('printable', () => {
  test.each([
    ['a line\nand\r\tmore', 'a line\\nand\\r\\tmore'],
    ['\u001b[2J\u0007\0\u007f', '\\x1b[2J\\x07\\x00\\x7f'],
    ['\u0085\u009b31m', '\\u0085\\u009b31m'],
    [
      'a\u202egnp.exe\u202c \u2066x\u2069 \u200f\u061c',
      'a\\u202egnp.exe\\u202c \\u2066x\\u2069 \\u200f\\u061c',
    ],
    ['one\u2028two\u2029', 'one\\u2028two\\u2029'],
    ['x\udcff\udcfey \ud800', 'x\\xff\\xfey \\ud800'],
  ])('printable escapes control characters in %j', (text, shown) => {
    expect(printable(text)).toBe(shown)
    expect(printable(shown)).toBe(shown)
  })

  test('printable leaves printable text of every script unchanged', () => {
    const text = 'Grüße, שלום, مرحبا, 漢字, 𝄞, é, \\ " \''
    expect(printable(text)).toBe(text)
  })
})
