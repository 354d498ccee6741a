import { ByteReader, FsError } from '../../src/base/index.ts'

/**
 * Access control lists as `system.posix_acl_access` and `system.posix_acl_default` hold them
 * (include/uapi/linux/posix_acl_xattr.h): a version in 32 bits, then entries of tag and permissions in 16 bits each
 * and an id in 32 bits, all little-endian.
 */
export const ACCESS_ACL = 'system.posix_acl_access'
export const DEFAULT_ACL = 'system.posix_acl_default'

const VERSION = 2
const HEADER_SIZE = 4
const ENTRY_SIZE = 8

// Tags (include/uapi/linux/posix_acl.h).
const USER_OBJ = 0x01
const USER = 0x02
const GROUP_OBJ = 0x04
const GROUP = 0x08
const MASK = 0x10
const OTHER = 0x20

interface AclEntry {
  readonly tag: number
  /** rwx in the lowest three bits. */
  permissions: number
  readonly id: number
}

/** Gives an id of a list another one; undefined leaves its entry out. */
export interface IdMap {
  readonly uid: (id: number) => number | undefined
  readonly gid: (id: number) => number | undefined
}

/** What a new file gets from the default list of its directory. */
export interface Inherited {
  /** Permission bits of the new file. */
  readonly mode: number
  /** Undefined where the mode says it all. */
  readonly access: Uint8Array | undefined
}

/** @throws FsError EINVAL */
function decodeAcl(value: Uint8Array): AclEntry[] {
  const reader = ByteReader.over(value, 'access list')
  if (
    value.length < HEADER_SIZE ||
    (value.length - HEADER_SIZE) % ENTRY_SIZE !== 0 ||
    reader.u32() !== VERSION
  ) {
    throw new FsError('EINVAL', `access list of ${value.length} bytes`)
  }
  const entries: AclEntry[] = []
  while (reader.remaining > 0) {
    entries.push({ tag: reader.u16(), permissions: reader.u16() & 7, id: reader.u32() })
  }
  return entries
}

function encodeAcl(entries: readonly AclEntry[]): Uint8Array {
  const bytes = Buffer.alloc(HEADER_SIZE + entries.length * ENTRY_SIZE)
  bytes.writeUInt32LE(VERSION)
  let at = HEADER_SIZE
  for (const { tag, permissions, id } of entries) {
    bytes.writeUInt16LE(tag, at)
    bytes.writeUInt16LE(permissions, at + 2)
    bytes.writeUInt32LE(id, at + 4)
    at += ENTRY_SIZE
  }
  return bytes
}

/** The list with other ids for named users and groups; the same value where nothing changes. @throws FsError EINVAL */
export function mapAcl(acl: Uint8Array, map: IdMap): Uint8Array {
  let same = true
  const mapped: AclEntry[] = []
  for (const entry of decodeAcl(acl)) {
    const { tag, permissions, id } = entry
    const other = tag === USER ? map.uid(id) : tag === GROUP ? map.gid(id) : id
    if (other !== id) same = false
    if (other !== undefined) mapped.push({ tag, permissions, id: other })
  }
  return same ? acl : encodeAcl(mapped)
}

/** Whose three bits of the mode an entry stands for, as a shift; undefined for named users and groups. */
function shiftOf(tag: number, hasMask: boolean): number | undefined {
  if (tag === USER_OBJ) return 6
  if (tag === OTHER) return 0
  if (tag === MASK || (tag === GROUP_OBJ && !hasMask)) return 3
  return undefined
}

/**
 * Mode and list of a new file in a directory with a default list: it takes the place of the umask
 * (fs/posix_acl.c:posix_acl_create_masq).
 * @throws FsError EINVAL
 */
export function inheritAcl(defaultAcl: Uint8Array, mode: number): Inherited {
  const entries = decodeAcl(defaultAcl)
  const hasMask = entries.some(({ tag }) => tag === MASK)
  let permissions = mode
  for (const entry of entries) {
    const shift = shiftOf(entry.tag, hasMask)
    if (shift === undefined) continue
    entry.permissions &= mode >>> shift
    permissions = (permissions & ~(7 << shift)) | (entry.permissions << shift)
  }
  const plain = entries.every(({ tag }) => tag === USER_OBJ || tag === GROUP_OBJ || tag === OTHER)
  return { mode: permissions, access: plain ? undefined : encodeAcl(entries) }
}

/** The permission bits that setting a list gives to a file (fs/posix_acl.c:posix_acl_equiv_mode). @throws EINVAL */
export function modeOfAcl(acl: Uint8Array, mode: number): { readonly mode: number; readonly plain: boolean } {
  const entries = decodeAcl(acl)
  const hasMask = entries.some(({ tag }) => tag === MASK)
  let permissions = mode
  for (const { tag, permissions: bits } of entries) {
    const shift = shiftOf(tag, hasMask)
    if (shift !== undefined) permissions = (permissions & ~(7 << shift)) | (bits << shift)
  }
  const plain = !entries.some(({ tag }) => tag === USER || tag === GROUP || tag === MASK)
  return { mode: permissions, plain }
}

/** The list after chmod(2) (fs/posix_acl.c:__posix_acl_chmod_masq). @throws FsError EINVAL */
export function aclOfMode(acl: Uint8Array, mode: number): Uint8Array {
  const entries = decodeAcl(acl)
  const hasMask = entries.some(({ tag }) => tag === MASK)
  for (const entry of entries) {
    const shift = shiftOf(entry.tag, hasMask)
    if (shift !== undefined) entry.permissions = (mode >>> shift) & 7
  }
  return encodeAcl(entries)
}
