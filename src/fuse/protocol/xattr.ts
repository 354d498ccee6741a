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
  ({ fileSystem }, { nodeId }, reply, { room, name }) => {
    // After ENOSYS the kernel sends no more GETXATTR; otherwise it asks at each execve(2) (fs/fuse/xattr.c). LISTXATTR
    // gives an empty list instead, because getfattr and tar report an error for each file on EOPNOTSUPP.
    if (fileSystem.attributes === 'none') throw new FsError('ENOSYS', 'no attributes')
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
