import { expect, test } from 'vitest'
import { Priorities } from '../../../src/make/selection/priorities.ts'

test('a file has the priority of its line, or of the nearest directory that has one', () => {
  const list = '# boot first\n\n/lib 5\n  ./lib/slow\t-7\nlib/slow/fast 32767\nwith\\ blank 3\n'
  const priorities = new Priorities(list, 'list')
  const of = (path: string): number => priorities.of(path)
  expect(['lib/a', 'lib/slow/b', 'lib/slow/fast', 'with blank', 'else', 'library'].map(of)).toEqual([
    5, -7, 32767, 3, 0, 0,
  ])
})

test('a line for the root holds for all that has no other', () => {
  expect(new Priorities('/ -1\na 2\n', 'list').of('b/c')).toBe(-1)
})

test.each(['a', 'a b', 'a 1 2', 'a 32768', 'a -32769', '../a 1'])('the line %j is refused', (line) => {
  expect(() => new Priorities(`# first\n${line}\n`, 'order.txt')).toThrow(/order\.txt, line 2/)
})
