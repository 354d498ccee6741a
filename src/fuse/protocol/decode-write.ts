import {
  type AttributeChanges,
  type ByteReader,
  type Caller,
  FsError,
  type Mutable,
  type Name,
  type NewTime,
  type NodeId,
  PERMISSIONS,
  type RenameMode,
  type XattrMode,
} from '../../base/index.ts'
import * as abi from './abi.ts'
import { fileOffset, type Request } from './decode.ts'
import { hasFlag } from './init.ts'

/** Bodies of the requests that change something, in the order of `enum fuse_opcode`. Damage is EIO. */

/**
 * Bits of `valid` that stand for a wish of the caller. With the write-back cache the kernel adds FATTR_CTIME on its
 * own.
 */
const NAMED =
  abi.FATTR_MODE | abi.FATTR_UID | abi.FATTR_GID | abi.FATTR_SIZE | abi.FATTR_ATIME | abi.FATTR_MTIME

/** `struct fuse_setattr_in`: only the fields that `valid` names count. */
export function decodeSetattrIn(body: ByteReader): AttributeChanges {
  const valid = body.u32()
  body.skip(4 + 8) // padding, fh
  const size = fileOffset(body, 'EFBIG')
  body.skip(8) // lock_owner
  const atime = seconds(body)
  const mtime = seconds(body)
  const ctime = seconds(body)
  const atimeNsec = body.u32()
  const mtimeNsec = body.u32()
  const ctimeNsec = body.u32()
  const mode = body.u32() & PERMISSIONS
  body.skip(4) // unused4
  const uid = body.u32()
  const gid = body.u32()
  body.skip(4) // unused5
  const has = (flag: number) => (valid & flag) !== 0
  // A file system with FUSE_HANDLE_KILLPRIV_V2 takes privileges away at every change of owner; the kernel sets
  // FATTR_KILL_SUIDGID only for a new size (include/uapi/linux/fuse.h). The kernel sends a request without any bit of
  // NAMED to take setuid away before a write, and for chown(2) with the same owner (fs/fuse/dir.c:fuse_setattr). It
  // learns the mode without setuid from the answer.
  const killsPrivileges = has(abi.FATTR_KILL_SUIDGID | abi.FATTR_UID | abi.FATTR_GID) || !has(NAMED)
  // No spreads of conditional fields: eight of them take longer than the rest of the request.
  const changes: Mutable<AttributeChanges> = {}
  if (has(abi.FATTR_MODE)) changes.mode = mode
  if (has(abi.FATTR_UID)) changes.uid = uid
  if (has(abi.FATTR_GID)) changes.gid = gid
  if (has(abi.FATTR_SIZE)) changes.size = size
  if (has(abi.FATTR_ATIME)) changes.atime = newTime(has(abi.FATTR_ATIME_NOW), atime, atimeNsec)
  if (has(abi.FATTR_MTIME)) changes.mtime = newTime(has(abi.FATTR_MTIME_NOW), mtime, mtimeNsec)
  if (has(abi.FATTR_CTIME)) changes.ctime = newTime(false, ctime, ctimeNsec)
  if (killsPrivileges) changes.killPrivileges = true
  return changes
}

function newTime(isNow: boolean, seconds: number, nanoseconds: number): NewTime {
  return isNow ? 'now' : { seconds, nanoseconds }
}

/** A signed number of seconds. File systems hold no times beyond the integers that a `number` holds exactly. */
function seconds(body: ByteReader): number {
  const low = body.u32()
  return body.i32() * 2 ** 32 + low
}

/** `struct fuse_mknod_in` */
export interface MknodIn {
  readonly mode: number
  readonly rdev: number
  readonly caller: Caller
}

/** @throws FsError EIO where the request ends early */
export function decodeMknodIn(request: Request): MknodIn {
  const { body } = request
  const mode = body.u32()
  const rdev = body.u32()
  const umask = body.u32()
  body.skip(4)
  return { mode, rdev, caller: callerOf(request, umask) }
}

/** `struct fuse_mkdir_in` */
export function decodeMkdirIn(request: Request): { readonly mode: number; readonly caller: Caller } {
  const mode = request.body.u32()
  return { mode, caller: callerOf(request, request.body.u32()) }
}

/** The caller of a request. SYMLINK has no umask, because symbolic links have no permissions. */
export function callerOf(request: Request, umask = 0): Caller {
  return { uid: request.uid, gid: request.gid, umask: umask & 0o777 }
}

/** `struct fuse_rename_in` or `struct fuse_rename2_in`, and two names */
export interface RenameIn {
  readonly name: Name
  readonly newParent: NodeId
  readonly newName: Name
  readonly mode: RenameMode
  readonly whiteout: boolean
}

/**
 * @param hasFlags RENAME2.
 * @throws EINVAL for flags that are unknown or exclude each other (fs/namei.c:do_renameat2)
 */
export function decodeRenameIn(request: Request, hasFlags: boolean): RenameIn {
  const { body } = request
  const newParent = body.offset64()
  const flags = hasFlags ? body.u32() : 0
  if (hasFlags) body.skip(4)
  const name = request.name()
  const newName = request.name()
  const exchange = (flags & abi.RENAME_EXCHANGE) !== 0
  const noreplace = (flags & abi.RENAME_NOREPLACE) !== 0
  const whiteout = (flags & abi.RENAME_WHITEOUT) !== 0
  if (flags > 7 || (exchange && (noreplace || whiteout))) {
    throw new FsError('EINVAL', `rename: flags ${flags}`)
  }
  const mode = exchange ? 'exchange' : noreplace ? 'noreplace' : 'replace'
  return { name, newParent, newName, mode, whiteout }
}

/** `struct fuse_write_in` and the data, a view that is valid until the next request is read */
export interface WriteIn {
  readonly offset: number
  readonly data: Uint8Array
  readonly killPrivileges: boolean
}

/** The data lie in the request: they are valid until the next one is read. @throws FsError EFBIG, EIO */
export function decodeWriteIn(body: ByteReader): WriteIn {
  body.skip(8) // fh
  const offset = fileOffset(body, 'EFBIG')
  const size = body.u32()
  const flags = body.u32()
  body.skip(8 + 4 + 4) // lock_owner, flags, padding
  return { offset, data: body.bytes(size), killPrivileges: hasFlag(flags, abi.FUSE_WRITE_KILL_SUIDGID) }
}

/** `struct fuse_fsync_in`. @returns whether only data, and what is needed to find them, must be on disk */
export function decodeFsyncIn(body: ByteReader): boolean {
  body.skip(8) // fh
  const flags = body.u32()
  body.skip(4)
  return hasFlag(flags, abi.FUSE_FSYNC_FDATASYNC)
}

/** `struct fuse_setxattr_in`, the name and the value, a view that is valid until the next request is read */
export interface SetxattrIn {
  readonly name: Name
  readonly value: Uint8Array
  readonly mode: XattrMode
  /** The new access ACL takes setgid away: the caller is not in the group of the file. */
  readonly killSetgid: boolean
}

/** @param isExtended FUSE_SETXATTR_EXT was negotiated. @throws EINVAL for unknown flags of setxattr(2) */
export function decodeSetxattrIn(request: Request, isExtended: boolean): SetxattrIn {
  const { body } = request
  const size = body.u32()
  const flags = body.u32()
  const extension = isExtended ? body.u32() : 0
  if (isExtended) body.skip(4)
  const name = request.name()
  const value = body.bytes(size)
  return {
    name,
    value,
    mode: xattrMode(flags),
    killSetgid: hasFlag(extension, abi.FUSE_SETXATTR_ACL_KILL_SGID),
  }
}

function xattrMode(flags: number): XattrMode {
  switch (flags) {
    case 0:
      return 'either'
    case abi.XATTR_CREATE:
      return 'create'
    case abi.XATTR_REPLACE:
      return 'replace'
    default:
      throw new FsError('EINVAL', `setxattr: flags ${flags}`)
  }
}

/** `struct fuse_fallocate_in` */
export interface FallocateIn {
  readonly mode: number
  readonly offset: number
  readonly length: number
}

/** @throws FsError EFBIG beyond 2^53 bytes, EIO */
export function decodeFallocateIn(body: ByteReader): FallocateIn {
  body.skip(8) // fh
  const offset = fileOffset(body, 'EFBIG')
  const length = fileOffset(body, 'EFBIG')
  const mode = body.u32()
  body.skip(4)
  if (!Number.isSafeInteger(offset + length)) throw new FsError('EFBIG', `fallocate: ${offset}+${length}`)
  return { mode, offset, length }
}

/** `struct fuse_copy_file_range_in` without the node to read, which is in the header */
export interface CopyFileRangeIn {
  readonly fromOffset: number
  readonly to: NodeId
  readonly toOffset: number
  /** Bytes. A length above 2^53 becomes `Number.MAX_SAFE_INTEGER`. */
  readonly length: number
}

/** @throws FsError EFBIG, EIO; EINVAL for flags, of which Linux has none */
export function decodeCopyFileRangeIn(body: ByteReader): CopyFileRangeIn {
  body.skip(8) // fh_in
  const fromOffset = fileOffset(body, 'EFBIG')
  const to = body.offset64()
  body.skip(8) // fh_out
  const toOffset = fileOffset(body, 'EFBIG')
  const low = body.u32()
  const length = Math.min(body.u32() * 2 ** 32 + low, Number.MAX_SAFE_INTEGER)
  const flags = body.u32() + body.u32()
  if (flags !== 0) throw new FsError('EINVAL', `copy_file_range: flags ${flags}`)
  return { fromOffset, to, toOffset, length }
}
