import { expect, test } from 'vitest'
import { excludeGlobs } from '../../../src/make/selection/glob.ts'

const bytes = (text: string): string => Buffer.from(text).toString('latin1')

test.each([
  ['*.pyc', ['a.pyc', 'lib/b.pyc', '.pyc'], ['a.py', 'a.pyc/x', 'pyc']],
  ['/boot', ['boot'], ['lib/boot', 'boot/x', 'boots']],
  ['usr/share/doc', ['usr/share/doc'], ['x/usr/share/doc', 'usr/share/doc/x']],
  ['usr/*/doc/', ['usr/share/doc'], ['usr/doc', 'usr/a/b/doc']],
  ['./cache', ['cache'], ['var/cache']],
  ['var/**', ['var/a', 'var/a/b'], ['var', 'variable']],
  ['**/test', ['test', 'a/test', 'a/b/test'], ['test/a', 'atest']],
  ['a/**/z', ['a/z', 'a/b/z', 'a/b/c/z'], ['z', 'b/a/z', 'az']],
  ['[a-c]?', ['a1', 'cé', 'd/b2'], ['d1', 'a', 'abc']],
  ['[!a]', ['b', 'x/c'], ['a', '/']],
  ['[]x]', [']', 'x'], ['[', 'y']],
  ['\\*', ['*', 'd/*'], ['a']],
  ['a.b+(c)', ['a.b+(c)'], ['axb+(c)', 'a.bb(c)']],
  ['n\\[1]', ['n[1]'], ['n1']],
  ['new\nline', ['new\nline'], ['new']],
  ['é*', ['é', 'éa'], ['e']],
])('%j names %j and not %j', (pattern, matching, others) => {
  const { excludes } = excludeGlobs([pattern])
  expect(matching.map(bytes).filter((path) => !excludes(path))).toEqual([])
  expect(others.map(bytes).filter(excludes)).toEqual([])
})

test('a byte that belongs to no character is one for "?"', () => {
  const { excludes } = excludeGlobs(['a?b'])
  expect(excludes('a\xffb')).toBe(true)
  expect(excludes('a/b')).toBe(false)
})

test.each([
  ['', /names nothing/],
  ['/', /names nothing/],
  ['./', /names nothing/],
  ['[z-a]', /ends before it begins/],
  ['[é]', /is none/],
])('the pattern %j is refused', (pattern, message) => {
  expect(() => excludeGlobs([pattern])).toThrow(message)
})
