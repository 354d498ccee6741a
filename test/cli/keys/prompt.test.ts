import { describe, expect, test } from 'vitest'
import { HiddenLine } from '../../../src/cli/keys/prompt.ts'

function typed(text: string): { state: string; line: string } {
  const line = new HiddenLine()
  let state = 'more'
  for (const byte of Buffer.from(text)) {
    state = line.type(byte)
    if (state !== 'more') break
  }
  return { state, line: line.bytes.toString() }
}

describe('a line that is typed and not shown', () => {
  test.each([
    ['secret\r', 'done', 'secret'],
    ['secret\nmore', 'done', 'secret'],
    ['secret\x04', 'done', 'secret'],
    ['sec\x03', 'interrupted', 'sec'],
    ['wrong\x15right\r', 'done', 'right'],
    ['ab\x7fc\x08d\r', 'done', 'ad'],
    ['\x7f\x7fx\r', 'done', 'x'],
    ['a€\x7fb\r', 'done', 'ab'],
    ['grün\r', 'done', 'grün'],
    ['', 'more', ''],
  ])('%j is %s: %j', (text, state, line) => {
    expect(typed(text)).toEqual({ state, line })
  })

  test('more bytes than a passphrase has are left out, and all are forgotten', () => {
    const line = new HiddenLine()
    for (let i = 0; i < 600; i++) line.type(0x61)
    expect(line.bytes.length).toBe(512)
    line.wipe()
    expect(line.bytes.length).toBe(0)
  })
})
