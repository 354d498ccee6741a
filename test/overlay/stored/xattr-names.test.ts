import { describe, expect, test } from 'vitest'
import { escapedFileName, unescapedFileName } from '../../../overlay/stored/file-names.ts'
import { namesOf, shownName, shownNames, storedName } from '../../../overlay/stored/xattr-names.ts'

describe('an attribute with a meaning for overlays', () => {
  const pairs = [
    ['user.overlay.opaque', 'user.overlay.overlay.opaque'],
    ['trusted.overlay.overlay.redirect', 'trusted.overlay.overlay.overlay.redirect'],
    ['user.overlay.atomfs.ino', 'user.overlay.overlay.atomfs.ino'],
    ['user.fuseoverlayfs.opaque', 'user.fuseoverlayfs.overlay.opaque'],
    ['user.fuseoverlayfs.override_stat', 'user.fuseoverlayfs.overlay.override_stat'],
    ['user.containers.override_stat', 'user.containers.overlay.override_stat'],
    ['user.containers.overlay.override_stat', 'user.containers.overlay.overlay.override_stat'],
    ['security.fuseoverlayfs.override_stat', 'security.fuseoverlayfs.overlay.override_stat'],
  ] as const

  test.each(pairs)('the attribute %s is stored as %s', (shown, stored) => {
    expect(storedName(shown)).toBe(stored)
    expect(shownName(stored)).toBe(shown)
  })

  test.each([
    'user.x',
    'user.containers.x',
    'user.containers.overlay.x',
    'user.overlay',
    'security.capability',
  ])('the attribute %s has no meaning for overlays', (name) => {
    expect(storedName(name)).toBe(name)
    expect(shownName(name)).toBe(name)
    expect(namesOf(name)).toEqual([name])
  })

  test('an overlay attribute is hidden, and an owner record that is not in use is shown once', () => {
    expect(shownName('user.overlay.opaque')).toBeUndefined()
    expect(shownName('user.fuseoverlayfs.origin')).toBeUndefined()
    const record = 'user.containers.override_stat'
    expect(shownNames([record, storedName(record), 'user.overlay.origin', 'user.x'])).toEqual([
      record,
      'user.x',
    ])
    expect(namesOf(record)).toEqual([storedName(record), record])
  })

  test('an escaped attribute name can be too long', () => {
    const longest = `user.overlay.${'x'.repeat(255 - 'user.overlay.overlay.'.length)}`
    expect(storedName(longest)).toHaveLength(255)
    expect(() => storedName(`${longest}x`)).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }))
  })
})

test('a file name that would be a mark is stored with one more dot, and other names unchanged', () => {
  const pairs = [
    ['.wh.x', '..wh.x'],
    ['..wh.x', '...wh.x'],
    ['.wh..wh..opq', '..wh..wh..opq'],
    ['.wh.', '..wh.'],
  ] as const
  for (const [shown, stored] of pairs) {
    expect(escapedFileName(shown)).toBe(stored)
    expect(unescapedFileName(stored)).toBe(shown)
  }
  for (const name of ['.', '..', '.wh', '..wh', '.what', 'wh.x', 'a.wh.x', '.a.wh.x', '']) {
    expect(escapedFileName(name)).toBe(name)
    expect(unescapedFileName(name)).toBe(name)
  }
})
