import {
  type ByteReader,
  type FileSystem,
  FsError,
  isErrno,
  type Name,
  type NodeId,
} from '../../base/index.ts'
import type { Request } from './decode.ts'
import type { Reply } from './encode.ts'
import { type OperationContext, type Outcome, row } from './operation.ts'

/** Reading extended attributes. */

/**
 * Thrown again and again: the kernel asks for `security.capability` before the first write to each file, and making an
 * error with its stack costs more than the rest of the request.
 */
const NO_ATTRIBUTE = new FsError('ENODATA', 'no such attribute')

/** `struct fuse_getxattr_in`. @returns most bytes of the value or of the names; 0 asks for their number */
function decodeRoom(body: ByteReader): number {
  const room = body.u32()
  body.skip(4) // padding
  return room
}

export const getxattr = row(
  'GETXATTR',
  (request) => ({ room: decodeRoom(request.body), name: request.name() }),
  (context, { nodeId }, reply, { room, name }) => {
    const { fileSystem } = context
    // After ENOSYS the kernel sends no more GETXATTR; otherwise it asks at each execve(2) (fs/fuse/xattr.c). LISTXATTR
    // gives an empty list instead, because getfattr and tar report an error for each file on EOPNOTSUPP.
    if (fileSystem.attributes === 'none') throw new FsError('ENOSYS', 'no attributes')
    if (isUnsupported(context, name)) throw new FsError('EOPNOTSUPP', name)
    const value = readValue(fileSystem, nodeId, name)
    if (value === undefined) throw NO_ATTRIBUTE
    return encodeXattr(reply, room, value.length, () => reply.data(value))
  },
)

export const listxattr = row(
  'LISTXATTR',
  ({ body }) => ({ room: decodeRoom(body) }),
  (context, request, reply, { room }) => {
    const names = listedNames(context, request)
    const length = names.reduce((sum, name) => sum + name.length + 1, 0)
    return encodeXattr(reply, room, length, () => {
      for (const name of names) reply.name(`${name}\0`)
    })
  },
)

const ACCESS_LIST_PREFIX = 'system.posix_acl_'
const LABEL = 'security.selinux'

/**
 * ls(1) asks for two attributes of each file that it lists, and the kernel remembers no answer. After EOPNOTSUPP it asks for
 * that attribute no more on this file system (`getfilecon_cache` and `file_has_acl_cache` in coreutils: src/ls.c). So that
 * is the answer where no file can have it: for access lists as from the kernel's squashfs, for labels as from a file system
 * that has no labels. Not for other names: getcap(8) takes only ENODATA for "has none".
 * Without FUSE_POSIX_ACL no permission check asks for a list (fs/fuse/acl.c:fuse_get_inode_acl).
 */
function isUnsupported({ fileSystem, writable }: OperationContext, name: Name): boolean {
  if (writable !== undefined) return false
  if (name.startsWith(ACCESS_LIST_PREFIX)) return fileSystem.attributes === 'no-acls'
  return name === LABEL && fileSystem.neverHas?.(name) === true
}

/**
 * A layer without attributes has none of this name. EOPNOTSUPP would make every permission check fail where the kernel
 * looks for an ACL (fs/fuse/acl.c:fuse_get_acl).
 */
function readValue(fileSystem: FileSystem, node: NodeId, name: Name): Uint8Array | undefined {
  try {
    return fileSystem.getxattr(node, name)
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP')) return undefined
    throw error
  }
}

/**
 * The kernel checks who reads `trusted.` attributes, but not who lists their names (fs/xattr.c). Requests carry no
 * capabilities, so uid 0 stands for them.
 */
function listedNames({ fileSystem, namesTrusted }: OperationContext, request: Request): readonly Name[] {
  const names = fileSystem.listxattr(request.nodeId)
  return namesTrusted && request.uid === 0 ? names : names.filter((name) => !name.startsWith('trusted.'))
}

/** The size/data convention of GETXATTR and LISTXATTR (`struct fuse_getxattr_out`). */
function encodeXattr(reply: Reply, room: number, length: number, write: () => void): Outcome {
  if (room === 0) {
    reply.u32(length)
    reply.u32(0)
  } else if (length > room) {
    throw new FsError('ERANGE', `xattr: ${length} bytes do not fit into ${room}`)
  } else {
    write()
  }
  return 'reply'
}
