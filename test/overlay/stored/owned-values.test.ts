import { describe, expect, test } from 'vitest'
import { ACCESS_ACL, DEFAULT_ACL } from '../../../overlay/stored/acl.ts'
import { shownValue, storedValue } from '../../../overlay/stored/owned-values.ts'

/** Entries as `TAG PERMISSIONS ID` (include/uapi/linux/posix_acl.h), behind the version. */
function acl(...entries: readonly (readonly [number, number, number])[]): Buffer {
  const bytes = Buffer.alloc(4 + entries.length * 8)
  bytes.writeUInt32LE(2)
  entries.forEach(([tag, permissions, id], at) => {
    bytes.writeUInt16LE(tag, 4 + at * 8)
    bytes.writeUInt16LE(permissions, 6 + at * 8)
    bytes.writeUInt32LE(id, 8 + at * 8)
  })
  return bytes
}

const NONE = 0xffff_ffff
const list = (...named: readonly (readonly [number, number, number])[]) =>
  acl([0x01, 6, NONE], ...named, [0x10, 7, NONE], [0x20, 0, NONE])

/** Version 3: sets, and the user id that is root of the namespace for which it counts. */
function capability(root: number): Buffer {
  const bytes = Buffer.alloc(24, 5)
  bytes.writeUInt32LE(0x0300_0001)
  bytes.writeUInt32LE(root, 20)
  return bytes
}

const RANGES = {
  uid: [{ stored: 0, shown: 1000, count: 10 }],
  gid: [{ stored: 0, shown: 2000, count: 10 }],
}
const NO_RULE = { uid: undefined, gid: undefined }

describe('attribute values with ids', () => {
  test('ids in access lists and capabilities follow the mapping of owners, users and groups apart', () => {
    const [stored, shown] = [list([0x02, 4, 3], [0x08, 5, 3]), list([0x02, 4, 1003], [0x08, 5, 2003])]
    for (const name of [ACCESS_ACL, DEFAULT_ACL]) {
      expect(shownValue(RANGES, name, stored)).toEqual(shown)
      expect(storedValue(RANGES, name, shown)).toEqual(stored)
    }
    expect(shownValue({ uid: 7, gid: undefined }, ACCESS_ACL, stored)).toEqual(
      list([0x02, 4, 7], [0x08, 5, 3]),
    )
    expect(shownValue(RANGES, 'security.capability', capability(3))).toEqual(capability(1003))
    expect(storedValue(RANGES, 'security.capability', capability(1003))).toEqual(capability(3))
  })

  test('an unmapped id is removed from a shown access list, and is EINVAL in a new value', () => {
    const shown = shownValue(RANGES, ACCESS_ACL, list([0x02, 7, 77], [0x02, 4, 3]))
    expect(shown).toEqual(list([0x02, 4, 1003]))
    // As the host shows an id to a user namespace that does not map it.
    expect(shownValue(NO_RULE, ACCESS_ACL, list([0x02, 7, NONE], [0x08, 4, 3]))).toEqual(list([0x08, 4, 3]))
    expect(shownValue(RANGES, 'security.capability', capability(77))).toEqual(capability(NONE))
    const refused = expect.objectContaining({ code: 'EINVAL' })
    expect(() => storedValue(RANGES, ACCESS_ACL, list([0x02, 7, 3]))).toThrow(refused)
    expect(() => storedValue(RANGES, 'security.capability', capability(3))).toThrow(refused)
  })

  test('attribute values are unchanged without a mapping, and values without ids always are', () => {
    const value = list([0x02, 4, 3])
    expect(shownValue(NO_RULE, ACCESS_ACL, value)).toBe(value)
    expect(storedValue(NO_RULE, ACCESS_ACL, value)).toBe(value)
    expect(shownValue(RANGES, 'user.x', value)).toBe(value)
    const version2 = Buffer.from('0100000201000000000000000000000000000000', 'hex')
    expect(shownValue(RANGES, 'security.capability', version2)).toEqual(version2)
  })
})
