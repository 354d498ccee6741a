import { describe, expect, test } from 'vitest'
import { nameFromUpper, nameInUpper } from '../../../overlay/stored/upper-xattrs.ts'
import { OVERRIDE, REAL } from '../upper/support.ts'

const NAMES = [
  'user.a',
  'user.overlay.overlay.opaque',
  'security.capability',
  'trusted.b\xe9',
  'system.posix_acl_access',
  'system.posix_acl_default',
]

describe('names of attributes in the upper', () => {
  test('attribute names in the upper are unchanged if owners are real', () => {
    for (const name of [...NAMES, OVERRIDE.ownerRecord]) {
      expect(nameInUpper(name, REAL)).toBe(name)
      expect(nameFromUpper(name, REAL)).toBe(name)
    }
  })

  test('attribute names are stored in the user namespace if owners are recorded, and are decoded again', () => {
    for (const name of NAMES) {
      const stored = nameInUpper(name, OVERRIDE)!
      expect(stored.startsWith('user.')).toBe(true)
      expect(nameFromUpper(stored, OVERRIDE)).toBe(name)
    }
    // The form that fuse-overlayfs reads.
    expect(nameInUpper('security.capability', OVERRIDE)).toBe('user.containers.override_security.capability')
  })

  test('the attributes that hold owner records cannot be read through the mount', () => {
    for (const name of [OVERRIDE.ownerRecord, 'user.containers.override_security.capability']) {
      expect(nameInUpper(name, OVERRIDE)).toBeUndefined()
    }
    expect(nameFromUpper(OVERRIDE.ownerRecord, OVERRIDE)).toBeUndefined()
    expect(nameFromUpper('user.containers.override_stat', { ...OVERRIDE, ownerRecord: 'security.x' })).toBe(
      undefined,
    )
    // It would stand for a second `user.a`.
    expect(nameFromUpper('user.containers.override_user.a', OVERRIDE)).toBeUndefined()
  })

  test('attributes of the host file itself are not shown', () => {
    expect(nameFromUpper('security.selinux', OVERRIDE)).toBeUndefined()
    expect(nameFromUpper('system.posix_acl_access', OVERRIDE)).toBeUndefined()
  })

  test('an attribute name that becomes too long in the upper is EOPNOTSUPP', () => {
    expect(nameInUpper(`trusted.${'x'.repeat(222)}`, OVERRIDE)).toHaveLength(255)
    expect(() => nameInUpper(`trusted.${'x'.repeat(223)}`, OVERRIDE)).toThrow(
      expect.objectContaining({ code: 'EOPNOTSUPP' }),
    )
    expect(nameInUpper(`user.${'x'.repeat(250)}`, OVERRIDE)).toHaveLength(255)
  })
})
