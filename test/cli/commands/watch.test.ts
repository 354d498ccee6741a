import { expect, test } from 'vitest'
import { parseWatch } from '../../../src/cli/commands/watch.ts'

test.each([
  [true, undefined, 2, undefined],
  [true, '/mnt', 2, '/mnt'],
  ['0.5', '/mnt', 0.5, '/mnt'],
  ['10', undefined, 10, undefined],
  // `status --watch TARGET`
  ['/mnt', undefined, 2, '/mnt'],
  ['./2', undefined, 2, './2'],
] as const)('--watch with %s and the target %s is every %s s for %s', (value, target, seconds, watched) => {
  expect(parseWatch(value, target)).toEqual({ seconds, target: watched })
})

test.each(['0', '0.09', '86401', '1.2.3', '.', '1e9', '-1'])('--watch=%s is refused', (value) => {
  expect(() => parseWatch(value, '/mnt')).toThrow(`option --watch=${value}: expected 0.1 to 86400 seconds`)
})
