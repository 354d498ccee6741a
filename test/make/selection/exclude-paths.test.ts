import { expect, test } from 'vitest'
import { ExcludePaths } from '../../../src/make/selection/exclude-paths.ts'

test('lists what is left out, one path a line and an empty line at the end', () => {
  const paths = new ExcludePaths()
  expect(paths.toString()).toBe('\n')
  paths.addExclude('/usr')
  paths.addExclude('/etc/')
  expect(paths.toString()).toBe('/usr\n/etc\n\n')
})

test('what is included takes itself and all above it back, whichever was said first', () => {
  const paths = new ExcludePaths()
  paths.addExclude('/usr')
  paths.addExclude('/usr/share')
  paths.addInclude('/usr/bin/ls')
  paths.addExclude('/usr/bin')
  paths.addExclude('/usr/bin/ls')
  paths.addExclude('/')
  expect(paths.toString()).toBe('/usr/share\n\n')
})

test('a name that only begins with the same letters is another one', () => {
  const paths = new ExcludePaths()
  paths.addInclude('/usr/bin/ls')
  paths.addExclude('/us')
  paths.addExclude('/usr/bin/l')
  expect(paths.toString()).toBe('/us\n/usr/bin/l\n\n')
})

test('below a root it is what lies there, as bytes', () => {
  const paths = new ExcludePaths()
  for (const path of ['/root/a', '/root/é/b', '/rootless/c', '/d', '/root']) paths.addExclude(path)
  const { excludes } = paths.below('/root/')
  expect(['a', '\xc3\xa9/b'].filter((path) => !excludes(path))).toEqual([])
  expect(['', 'é/b', 'c', 'd', 'less/c', 'a/x'].filter(excludes)).toEqual([])
})
