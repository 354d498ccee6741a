import { describe, expect, test } from 'vitest'
import { ALL, Selection, wantedBelow } from '../../src/contents/extract/selection.ts'

/** Whether a path is extracted. The last name is that of a file. */
function takes(selection: Selection, path: string): boolean {
  const names = path.split('/')
  let wanted: ReturnType<typeof wantedBelow> = selection.root
  for (const [at, name] of names.entries()) {
    if (wanted === undefined) return false
    wanted = wantedBelow(wanted, name, at < names.length - 1)
  }
  return wanted === ALL
}

describe('Selection', () => {
  test.each([
    [[], 'any/thing', true],
    [['/'], 'any/thing', true],
    [['etc'], 'etc/passwd', true],
    [['/etc/'], 'etc/a/b', true],
    [['etc/passwd'], 'etc/passwd', true],
    [['etc/passwd'], 'etc/group', false],
    [['etc/passwd'], 'etc', false],
    [['etc', 'usr/*/x'], 'usr/lib/x/y', true],
    [['usr/*/x'], 'usr/lib/y', false],
    [['*.txt'], 'a.txt', true],
    [['*.txt'], 'd/a.txt', false],
    [['a?c'], 'abc', true],
    [['a?c'], 'ac', false],
    [['[ab]x'], 'bx', true],
    [['[!ab]x'], 'bx', false],
    [['[a-c]x'], 'bx', true],
    [['[]]x'], ']x', true],
    [['a\\*'], 'a*', true],
    [['a\\*'], 'ab', false],
    [['a.b'], 'axb', false],
    [['a**b'], 'aXXb', true],
    [['x[y'], 'x[y', true],
    [['new\nline*'], 'new\nline 2', true],
  ] as const)('%j takes %s: %s', (paths, path, expected) => {
    expect(takes(new Selection(paths), path)).toBe(expected)
  })

  test('says which paths were not met', () => {
    const selection = new Selection(['a/b', 'c*', 'd'])
    expect(takes(selection, 'cx')).toBe(true)
    expect(takes(selection, 'a/x')).toBe(false)
    expect(selection.missing).toEqual(['a/b', 'd'])
  })

  test('compares bytes, and takes no path that leads upwards', () => {
    expect(takes(new Selection(['\udcff']), '\xff')).toBe(true)
    expect(takes(new Selection(['ä']), '\xc3\xa4')).toBe(true)
    expect(() => new Selection(['a/../b'])).toThrow(/not possible/)
  })
})
