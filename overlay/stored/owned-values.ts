import { FsError, type Name } from '../../src/base/index.ts'
import { ACCESS_ACL, DEFAULT_ACL, mapAcl } from './acl.ts'
import { mappedId, type OwnerRule, unmappedId } from './owner.ts'

/** Attributes whose values hold ids follow the rule for owners, in both directions. */

const CAPABILITY = 'security.capability'
/** `struct vfs_ns_cap_data` (include/uapi/linux/capability.h): magic, two pairs of sets, and the root that it is for. */
const CAPABILITY_3_SIZE = 24
const CAPABILITY_3_MAGIC = 3
const ROOT_ID = 20
/** The id that no user can have (include/linux/uidgid.h:INVALID_UID). */
const NOBODY_AT_ALL = 0xffff_ffff

/** Whether the value of this attribute may hold ids. */
function holdsIds(name: Name): boolean {
  return name === ACCESS_ACL || name === DEFAULT_ACL || name === CAPABILITY
}

/**
 * The value of an attribute as it is shown. Entries of an access list for ids that the mount does not have are left out,
 * because the kernel would refuse the whole list (fs/posix_acl.c:posix_acl_from_xattr). A capability for such a root gets
 * the invalid id, so it gives no rights.
 */
export function shownValue(owner: OwnerRule, name: Name, value: Uint8Array): Uint8Array {
  if (!holdsIds(name)) return value
  if (name === CAPABILITY) return withRoot(value, (id) => mappedId(owner.uid, id) ?? NOBODY_AT_ALL)
  const existing = (id: number | undefined) => (id === NOBODY_AT_ALL ? undefined : id)
  return mapAcl(value, {
    uid: (id) => existing(mappedId(owner.uid, id)),
    gid: (id) => existing(mappedId(owner.gid, id)),
  })
}

/**
 * The value of an attribute as it is stored. @throws FsError EINVAL for an id that the mount does not have, as where a
 * user namespace does not map it
 */
export function storedValue(owner: OwnerRule, name: Name, value: Uint8Array): Uint8Array {
  if (!holdsIds(name) || (owner.uid === undefined && owner.gid === undefined)) return value
  if (name === CAPABILITY) return withRoot(value, (id) => required(unmappedId(owner.uid, id), name))
  return mapAcl(value, {
    uid: (id) => required(unmappedId(owner.uid, id), name),
    gid: (id) => required(unmappedId(owner.gid, id), name),
  })
}

function required(id: number | undefined, name: Name): number {
  if (id === undefined) throw new FsError('EINVAL', `xattr ${name}: an id that is not mapped`)
  return id
}

function withRoot(value: Uint8Array, map: (id: number) => number): Uint8Array {
  // The magic is little-endian with the version in its highest byte.
  if (value.length !== CAPABILITY_3_SIZE || value[3] !== CAPABILITY_3_MAGIC) return value
  const copy = Buffer.from(value)
  copy.writeUInt32LE(map(copy.readUInt32LE(ROOT_ID)), ROOT_ID)
  return copy
}
