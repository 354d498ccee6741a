import {
  type ByteReader,
  type DataPath,
  type ErrnoCode,
  type FileSystem,
  type FlagsForm,
  FsError,
  type Name,
  type NodeId,
  type WritableFileSystem,
} from '../../base/index.ts'
import * as abi from './abi.ts'
import { decodeIoctlIn, decodeReadIn, type Request } from './decode.ts'
import { fileOffset } from './decode-write.ts'
import { DirentPacker } from './dirent.ts'
import { encodeAttrOut, encodeEntry, encodeStatFs, encodeStatx, type Reply } from './encode.ts'
import { hasFlag, type Negotiated } from './init.ts'

/**
 * What happens after a handler returned without an error: the reply is sent; the kernel wants none; or somebody else has
 * sent it or will.
 */
export type Outcome = 'reply' | 'no-reply' | 'taken'

export interface OperationContext {
  readonly fileSystem: FileSystem
  readonly dataPath: DataPath
  /** The same file system, where it can be changed. */
  readonly writable: WritableFileSystem | undefined
  /** See `ProtocolOptions`. */
  readonly namesTrusted: boolean
  /** What INIT agreed on; before it, nothing. */
  readonly negotiated: Negotiated
}

/** One row per opcode: everything that is known of it stands in its row. */
export interface Operation {
  readonly name: string
  /** The arguments for a debug line; reads the body, so it is given a body of its own. */
  readonly describe?: (request: Request, body: ByteReader) => string
  readonly handle: (context: OperationContext, request: Request, reply: Reply) => Outcome
}

export function answersError(name: string, code: ErrnoCode): Operation {
  const error = new FsError(code, name)
  return {
    name,
    handle: () => {
      throw error
    },
  }
}

const describeRead = (_: Request, body: ByteReader): string => {
  const { offset, size } = decodeReadIn(body)
  return `offset=${offset} size=${size}`
}

function readDirectory(plus: boolean): Operation['handle'] {
  return ({ fileSystem }, request, reply) => {
    const { offset, size } = decodeReadIn(request.body)
    fileSystem.readdir(request.nodeId, offset, new DirentPacker(reply, size, plus))
    return 'reply'
  }
}

/**
 * The kernel checks reading `trusted.` attributes itself, but not who is told that they exist (fs/xattr.c).
 * Capabilities are not told here, so uid 0 stands for them.
 */
function listedNames({ fileSystem, namesTrusted }: OperationContext, request: Request): readonly Name[] {
  const names = fileSystem.listxattr(request.nodeId)
  return namesTrusted && request.uid === 0 ? names : names.filter((name) => !name.startsWith('trusted.'))
}

/**
 * A file system without attributes has none of this name. To pass EOPNOTSUPP on would make every permission check
 * fail where the kernel looks for an access list (fs/fuse/acl.c:fuse_get_acl).
 */
function getxattr(fileSystem: FileSystem, node: NodeId, name: Name): Uint8Array | undefined {
  try {
    return fileSystem.getxattr(node, name)
  } catch (error) {
    if (error instanceof FsError && error.code === 'EOPNOTSUPP') return undefined
    throw error
  }
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

/** `struct fuse_ioctl_out` of a command that succeeded. */
function replyIoctl(reply: Reply, data: Uint8Array): Outcome {
  reply.zeros(16)
  reply.data(data)
  return 'reply'
}

/** Of all the commands that programs try on files (isatty(3) among them), none but these means something. */
const ioctl: Operation = {
  name: 'IOCTL',
  describe: (_, body) => `command=0x${decodeIoctlIn(body).command.toString(16)}`,
  handle: ({ fileSystem, writable }, request, reply) => {
    const { command, data, room } = decodeIoctlIn(request.body)
    const form = FLAGS_FORMS.get(command)
    if (form === undefined) throw new FsError('ENOTTY', `ioctl 0x${command.toString(16)}`)
    if (form.sets) {
      if (writable === undefined) throw new FsError('EROFS', 'ioctl')
      if (data.length < form.length) throw new FsError('EINVAL', `ioctl: ${data.length} bytes of flags`)
      writable.setInodeFlags(request.nodeId, form.form, data)
      return replyIoctl(reply, data.subarray(0, Math.min(room, form.length)))
    }
    const flags = fileSystem.inodeFlags?.(request.nodeId, form.form)
    if (flags === undefined) throw new FsError('ENOTTY', 'no inode flags')
    return replyIoctl(reply, flags.subarray(0, room))
  },
}

interface FlagsCommand {
  readonly form: FlagsForm
  readonly length: number
  readonly sets: boolean
}

const FLAGS_FORMS: ReadonlyMap<number, FlagsCommand> = new Map([
  [abi.FS_IOC_GETFLAGS, { form: 'flags', length: 4, sets: false }],
  [abi.FS_IOC_SETFLAGS, { form: 'flags', length: 4, sets: true }],
  [abi.FS_IOC_FSGETXATTR, { form: 'fsxattr', length: 28, sets: false }],
  [abi.FS_IOC_FSSETXATTR, { form: 'fsxattr', length: 28, sets: true }],
])

/** The rows of a read-only mount; a writable one lays `WRITE_OPERATIONS` over them. */
export const OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [
    abi.FUSE_LOOKUP,
    {
      name: 'LOOKUP',
      describe: (request) => `name=${JSON.stringify(request.name())}`,
      handle: ({ fileSystem }, request, reply) => {
        const entry = fileSystem.lookup(request.nodeId, request.name())
        encodeEntry(reply, entry?.nodeId ?? 0, entry?.stat)
        return 'reply'
      },
    },
  ],
  [
    abi.FUSE_FORGET,
    {
      name: 'FORGET',
      describe: (_, body) => `nlookup=${body.offset64()}`,
      handle: ({ fileSystem }, request) => {
        fileSystem.forget(request.nodeId, request.body.offset64())
        return 'no-reply'
      },
    },
  ],
  [
    abi.FUSE_BATCH_FORGET,
    {
      name: 'BATCH_FORGET',
      describe: (_, body) => `count=${body.u32()}`,
      handle: ({ fileSystem }, request) => {
        const body = request.body
        const count = body.u32()
        body.skip(4)
        for (let i = 0; i < count; i++) fileSystem.forget(body.offset64(), body.offset64())
        return 'no-reply'
      },
    },
  ],
  [
    abi.FUSE_GETATTR,
    {
      name: 'GETATTR',
      handle: ({ fileSystem }, request, reply) => {
        encodeAttrOut(reply, fileSystem.getattr(request.nodeId))
        return 'reply'
      },
    },
  ],
  [
    abi.FUSE_STATX,
    {
      name: 'STATX',
      handle: ({ fileSystem }, request, reply) => {
        encodeStatx(reply, fileSystem.getattr(request.nodeId))
        return 'reply'
      },
    },
  ],
  [
    abi.FUSE_READLINK,
    {
      name: 'READLINK',
      handle: ({ fileSystem }, request, reply) => {
        reply.data(fileSystem.readlink(request.nodeId))
        return 'reply'
      },
    },
  ],
  [
    abi.FUSE_READ,
    {
      name: 'READ',
      describe: describeRead,
      handle: ({ dataPath }, request, reply) => {
        const { offset, size } = decodeReadIn(request.body)
        const { token, nodeId } = request
        return dataPath.read({ token, nodeId, offset, size }, reply)
      },
    },
  ],
  [abi.FUSE_READDIR, { name: 'READDIR', describe: describeRead, handle: readDirectory(false) }],
  [abi.FUSE_READDIRPLUS, { name: 'READDIRPLUS', describe: describeRead, handle: readDirectory(true) }],
  [
    abi.FUSE_STATFS,
    {
      name: 'STATFS',
      handle: ({ fileSystem }, _, reply) => {
        encodeStatFs(reply, fileSystem.statfs())
        return 'reply'
      },
    },
  ],
  [
    abi.FUSE_GETXATTR,
    {
      name: 'GETXATTR',
      describe: (request, body) => {
        const room = body.u32()
        request.body.skip(8)
        return `room=${room} name=${JSON.stringify(request.name())}`
      },
      handle: ({ fileSystem }, request, reply) => {
        // Where no file can ever have an attribute the kernel is told so once, and does not ask at each execve(2) any
        // more (fs/fuse/xattr.c). Lists stay empty: EOPNOTSUPP makes getfattr and tar complain of each file.
        if (fileSystem.attributes === 'none') throw new FsError('ENOSYS', 'no attributes')
        const room = request.body.u32()
        request.body.skip(4)
        const name = request.name()
        const value = getxattr(fileSystem, request.nodeId, name)
        if (value === undefined) throw new FsError('ENODATA', name)
        return encodeXattr(reply, room, value.length, () => reply.data(value))
      },
    },
  ],
  [
    abi.FUSE_LISTXATTR,
    {
      name: 'LISTXATTR',
      handle: (context, request, reply) => {
        const room = request.body.u32()
        const names = listedNames(context, request)
        const length = names.reduce((sum, name) => sum + name.length + 1, 0)
        return encodeXattr(reply, room, length, () => {
          for (const name of names) reply.name(`${name}\0`)
        })
      },
    },
  ],
  [
    abi.FUSE_LSEEK,
    {
      name: 'LSEEK',
      handle: ({ fileSystem, negotiated }, request, reply) => {
        // Before LSEEK the kernel does not send what it has collected (fs/fuse/file.c:fuse_file_llseek), so data would
        // be taken for a hole. With ENOSYS it answers by itself: all is data.
        if (hasFlag(negotiated.flags, abi.FUSE_WRITEBACK_CACHE))
          throw new FsError('ENOSYS', 'lseek: write-back')
        const body = request.body
        body.skip(8)
        const offset = fileOffset(body, 'ENXIO')
        const whence = body.u32()
        if (whence !== abi.SEEK_DATA && whence !== abi.SEEK_HOLE) {
          throw new FsError('EINVAL', `lseek: whence ${whence}`)
        }
        reply.u64(fileSystem.seek(request.nodeId, offset, whence === abi.SEEK_DATA ? 'data' : 'hole'))
        return 'reply'
      },
    },
  ],
  [abi.FUSE_IOCTL, ioctl],
  // The answer to the interrupted request is on its way; it may be a whole one (fuse.rst, "Interrupting").
  [abi.FUSE_INTERRUPT, { name: 'INTERRUPT', handle: () => 'no-reply' }],
  [abi.FUSE_DESTROY, { name: 'DESTROY', handle: () => 'reply' }],
  // ENOSYS here means "no need to ask": the kernel opens without us and keeps its caches (FUSE_NO_OPEN_SUPPORT).
  [abi.FUSE_OPEN, answersError('OPEN', 'ENOSYS')],
  [abi.FUSE_OPENDIR, answersError('OPENDIR', 'ENOSYS')],
  [abi.FUSE_RELEASE, answersError('RELEASE', 'ENOSYS')],
  [abi.FUSE_RELEASEDIR, answersError('RELEASEDIR', 'ENOSYS')],
  [abi.FUSE_FLUSH, answersError('FLUSH', 'ENOSYS')],
  [abi.FUSE_FSYNC, answersError('FSYNC', 'ENOSYS')],
  [abi.FUSE_FSYNCDIR, answersError('FSYNCDIR', 'ENOSYS')],
  // The kernel checks permissions itself (default_permissions).
  [abi.FUSE_ACCESS, answersError('ACCESS', 'ENOSYS')],
  [abi.FUSE_SETATTR, answersError('SETATTR', 'EROFS')],
  [abi.FUSE_SYMLINK, answersError('SYMLINK', 'EROFS')],
  [abi.FUSE_MKNOD, answersError('MKNOD', 'EROFS')],
  [abi.FUSE_MKDIR, answersError('MKDIR', 'EROFS')],
  [abi.FUSE_UNLINK, answersError('UNLINK', 'EROFS')],
  [abi.FUSE_RMDIR, answersError('RMDIR', 'EROFS')],
  [abi.FUSE_RENAME, answersError('RENAME', 'EROFS')],
  [abi.FUSE_RENAME2, answersError('RENAME2', 'EROFS')],
  [abi.FUSE_LINK, answersError('LINK', 'EROFS')],
  [abi.FUSE_WRITE, answersError('WRITE', 'EROFS')],
  [abi.FUSE_CREATE, answersError('CREATE', 'EROFS')],
  [abi.FUSE_TMPFILE, answersError('TMPFILE', 'EROFS')],
  [abi.FUSE_SETXATTR, answersError('SETXATTR', 'EROFS')],
  [abi.FUSE_REMOVEXATTR, answersError('REMOVEXATTR', 'EROFS')],
  [abi.FUSE_FALLOCATE, answersError('FALLOCATE', 'EROFS')],
  [abi.FUSE_COPY_FILE_RANGE, answersError('COPY_FILE_RANGE', 'EROFS')],
  [abi.FUSE_COPY_FILE_RANGE_64, answersError('COPY_FILE_RANGE_64', 'EROFS')],
])
