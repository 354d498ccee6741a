import { ByteReader, FsError } from '../../src/base/index.ts'

/** The version of lists on the disk, and of those that the system calls have (include/uapi/linux/posix_acl_xattr.h). */
const STORED_VERSION = 1
const SHOWN_VERSION = 2
const SHORT_ENTRY = 4
/** Entries of named users and groups alone have an id (include/uapi/linux/posix_acl.h). */
const USER = 0x02
const GROUP = 0x08
const NO_ID = 0xffff_ffff

/**
 * An access control list as `system.posix_acl_access` and `system.posix_acl_default` have it, from the shorter form on the
 * disk (fs/ext4/acl.c:ext4_acl_from_disk).
 * @param what for messages
 * @throws FsError EIO
 */
export function shownAcl(stored: Uint8Array, what: string): Buffer {
  const reader = ByteReader.over(stored, what)
  const version = reader.u32()
  if (version !== STORED_VERSION)
    throw new FsError('EIO', `${what}: version ${version}, expected ${STORED_VERSION}`)
  const shown = Buffer.alloc(4 + (reader.remaining / SHORT_ENTRY) * 8)
  shown.writeUInt32LE(SHOWN_VERSION)
  let at = 4
  while (reader.remaining > 0) {
    const tag = reader.u16()
    shown.writeUInt16LE(tag, at)
    shown.writeUInt16LE(reader.u16(), at + 2)
    shown.writeUInt32LE(tag === USER || tag === GROUP ? reader.u32() : NO_ID, at + 4)
    at += 8
  }
  return shown.subarray(0, at)
}
