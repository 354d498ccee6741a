import {
  type AttributeChanges,
  type Entry,
  FsError,
  isDirectory,
  type WritableFileSystem,
} from '../../base/index.ts'
import * as abi from './abi.ts'
import type { Request } from './decode.ts'
import {
  callerOf,
  decodeCopyFileRangeIn,
  decodeFallocateIn,
  decodeFsyncIn,
  decodeMkdirIn,
  decodeMknodIn,
  decodeRename,
  decodeSetattrIn,
  decodeSetxattr,
  decodeWriteIn,
} from './decode-write.ts'
import { encodeAttrOut, encodeEntry, type Reply } from './encode.ts'
import { hasFlag } from './init.ts'
import { answersError, type Operation, type OperationContext, type Outcome } from './opcodes.ts'

/**
 * Most bytes that one COPY_FILE_RANGE copies: all other requests wait meanwhile, some 10 ms where the host has to
 * copy. Callers go on after a short count.
 */
const MAX_COPY = 16 << 20

const ACCESS_ACL = 'system.posix_acl_access'
const S_ISUID = 0o4000
const S_ISGID = 0o2000
const S_IXGRP = 0o0010
const S_IWGRP = 0o0020
const S_IWOTH = 0o0002

type Change = (
  fileSystem: WritableFileSystem,
  request: Request,
  reply: Reply,
  context: OperationContext,
) => Outcome

function changes(name: string, handle: Change, describe?: Operation['describe']): Operation {
  return {
    name,
    ...(describe !== undefined && { describe }),
    handle: (context, request, reply) => {
      if (context.writable === undefined) throw new FsError('EROFS', name)
      try {
        return handle(context.writable, request, reply, context)
      } catch (error) {
        // For the kernel ENOSYS means "never again". One file on one host file system does not say that.
        if (error instanceof FsError && error.code === 'ENOSYS') {
          throw new FsError('EOPNOTSUPP', error.message, { cause: error })
        }
        throw error
      }
    },
  }
}

function replyEntry(reply: Reply, entry: Entry): Outcome {
  encodeEntry(reply, entry.nodeId, entry.stat)
  return 'reply'
}

const rename =
  (hasFlags: boolean): Change =>
  (fileSystem, request) => {
    const { name, newParent, newName, mode, whiteout } = decodeRename(request, hasFlags)
    fileSystem.rename(request.nodeId, name, newParent, newName, mode, whiteout)
    return 'reply'
  }

function isOnlyToTakePrivileges({ killPrivileges, ctime, ...rest }: AttributeChanges): boolean {
  return killPrivileges === true && Object.keys(rest).length === 0
}

/**
 * What is left of chown(2) without owner and group comes from anybody: the kernel takes the change of mode out of it,
 * and with that its own check (fs/fuse/dir.c:fuse_setattr). The same request is sent before fallocate(2) by somebody
 * who may write, who must not be refused. Other groups than the first one are not told.
 * @throws FsError EPERM
 */
function assertMayTakePrivileges(
  fileSystem: WritableFileSystem,
  { nodeId, uid: caller, gid: group }: Request,
): void {
  const { mode, uid, gid } = fileSystem.getattr(nodeId)
  const isPrivileged = (mode & S_ISUID) !== 0 || ((mode & S_ISGID) !== 0 && (mode & S_IXGRP) !== 0)
  if (isDirectory(mode) || !isPrivileged || caller === 0 || caller === uid) return
  if ((mode & S_IWOTH) !== 0 || ((mode & S_IWGRP) !== 0 && group === gid)) return
  throw new FsError('EPERM', `SETATTR by ${caller}: the file is ${uid}'s`)
}

const fsync: Change = (fileSystem, request) => {
  fileSystem.fsync(request.nodeId, decodeFsyncIn(request.body))
  return 'reply'
}

/** @returns bytes copied */
function copyFileRange(fileSystem: WritableFileSystem, request: Request): number {
  const { fromOffset, to, toOffset, length } = decodeCopyFileRangeIn(request.body)
  return fileSystem.copyFileRange(request.nodeId, fromOffset, to, toOffset, Math.min(length, MAX_COPY))
}

const describeName = (request: Request): string => `name=${JSON.stringify(request.name())}`

/** For requests with a structure of `length` bytes before the name. */
const describeNameAfter =
  (length: number) =>
  (request: Request): string => {
    request.body.skip(length)
    return describeName(request)
  }

/** The rows that a writable mount has instead of those of `OPERATIONS`. */
export const WRITE_OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [
    abi.FUSE_SETATTR,
    changes(
      'SETATTR',
      (fileSystem, request, reply) => {
        const wanted = decodeSetattrIn(request.body)
        if (isOnlyToTakePrivileges(wanted)) assertMayTakePrivileges(fileSystem, request)
        encodeAttrOut(reply, fileSystem.setattr(request.nodeId, wanted))
        return 'reply'
      },
      (_, body) => JSON.stringify(decodeSetattrIn(body)),
    ),
  ],
  [
    abi.FUSE_SYMLINK,
    changes(
      'SYMLINK',
      (fileSystem, request, reply) => {
        const name = request.name()
        const target = Buffer.from(request.name(), 'latin1')
        return replyEntry(reply, fileSystem.symlink(request.nodeId, name, target, callerOf(request)))
      },
      describeName,
    ),
  ],
  [
    abi.FUSE_MKNOD,
    changes(
      'MKNOD',
      (fileSystem, request, reply) => {
        const { mode, rdev, caller } = decodeMknodIn(request)
        return replyEntry(reply, fileSystem.mknod(request.nodeId, request.name(), mode, rdev, caller))
      },
      describeNameAfter(16),
    ),
  ],
  [
    abi.FUSE_MKDIR,
    changes(
      'MKDIR',
      (fileSystem, request, reply) => {
        const { mode, caller } = decodeMkdirIn(request)
        return replyEntry(reply, fileSystem.mkdir(request.nodeId, request.name(), mode, caller))
      },
      describeNameAfter(8),
    ),
  ],
  [
    abi.FUSE_UNLINK,
    changes(
      'UNLINK',
      (fileSystem, request) => {
        fileSystem.unlink(request.nodeId, request.name())
        return 'reply'
      },
      describeName,
    ),
  ],
  [
    abi.FUSE_RMDIR,
    changes(
      'RMDIR',
      (fileSystem, request) => {
        fileSystem.rmdir(request.nodeId, request.name())
        return 'reply'
      },
      describeName,
    ),
  ],
  [abi.FUSE_RENAME, changes('RENAME', rename(false), describeNameAfter(8))],
  [abi.FUSE_RENAME2, changes('RENAME2', rename(true), describeNameAfter(16))],
  [
    abi.FUSE_LINK,
    changes(
      'LINK',
      (fileSystem, request, reply) => {
        const node = request.body.offset64()
        return replyEntry(reply, fileSystem.link(node, request.nodeId, request.name()))
      },
      describeNameAfter(8),
    ),
  ],
  [
    abi.FUSE_WRITE,
    changes(
      'WRITE',
      (fileSystem, request, reply) => {
        const { offset, data, killPrivileges } = decodeWriteIn(request.body)
        reply.u32(fileSystem.write(request.nodeId, offset, data, killPrivileges))
        reply.u32(0)
        return 'reply'
      },
      (_, body) => {
        const { offset, data } = decodeWriteIn(body)
        return `offset=${offset} size=${data.length}`
      },
    ),
  ],
  [
    abi.FUSE_TMPFILE,
    changes('TMPFILE', (fileSystem, request, reply) => {
      // struct fuse_create_in: flags, mode, umask, open_flags; the name that follows means nothing.
      request.body.skip(4)
      const { mode, caller } = decodeMkdirIn(request)
      request.body.skip(4)
      replyEntry(reply, fileSystem.tmpfile(request.nodeId, mode, caller))
      // Its RELEASE comes only while the kernel has not learnt that OPEN is ENOSYS.
      return replyOpen(reply)
    }),
  ],
  // ENOSYS: the kernel makes the file with MKNOD and opens it without us (fs/fuse/dir.c:fuse_atomic_open).
  [abi.FUSE_CREATE, answersError('CREATE', 'ENOSYS')],
  [abi.FUSE_RELEASE, { name: 'RELEASE', handle: () => 'reply' }],
  [abi.FUSE_FSYNC, changes('FSYNC', fsync)],
  [abi.FUSE_FSYNCDIR, changes('FSYNCDIR', fsync)],
  [
    abi.FUSE_SYNCFS,
    changes('SYNCFS', (fileSystem) => {
      fileSystem.syncfs()
      return 'reply'
    }),
  ],
  [
    abi.FUSE_SETXATTR,
    changes('SETXATTR', (fileSystem, request, _, { negotiated }) => {
      const isExtended = hasFlag(negotiated.flags, abi.FUSE_SETXATTR_EXT)
      const { name, value, mode, killSetgid } = decodeSetxattr(request, isExtended)
      fileSystem.setxattr(request.nodeId, name, value, mode)
      if (killSetgid && name === ACCESS_ACL) dropSetgid(fileSystem, request.nodeId)
      return 'reply'
    }),
  ],
  [
    abi.FUSE_REMOVEXATTR,
    changes(
      'REMOVEXATTR',
      (fileSystem, request) => {
        fileSystem.removexattr(request.nodeId, request.name())
        return 'reply'
      },
      describeName,
    ),
  ],
  [
    abi.FUSE_FALLOCATE,
    changes(
      'FALLOCATE',
      (fileSystem, request) => {
        const { mode, offset, length } = decodeFallocateIn(request.body)
        fileSystem.fallocate(request.nodeId, mode, offset, length)
        return 'reply'
      },
      (_, body) => JSON.stringify(decodeFallocateIn(body)),
    ),
  ],
  [
    abi.FUSE_COPY_FILE_RANGE,
    changes('COPY_FILE_RANGE', (fileSystem, request, reply) => {
      reply.u32(copyFileRange(fileSystem, request))
      reply.u32(0)
      return 'reply'
    }),
  ],
  [
    abi.FUSE_COPY_FILE_RANGE_64,
    changes('COPY_FILE_RANGE_64', (fileSystem, request, reply) => {
      reply.u64(copyFileRange(fileSystem, request))
      return 'reply'
    }),
  ],
])

/** The rows of a writable mount in which files are copied up when they are opened for writing (`copyup=open`). */
export const OPEN_OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [
    abi.FUSE_OPEN,
    changes(
      'OPEN',
      (fileSystem, request, reply) => {
        if ((request.body.u32() & abi.O_ACCMODE) !== abi.O_RDONLY) fileSystem.open(request.nodeId)
        return replyOpen(reply)
      },
      (_, body) => `flags=0${body.u32().toString(8)}`,
    ),
  ],
])

/** `struct fuse_open_out`: there is no handle. */
function replyOpen(reply: Reply): Outcome {
  reply.u64(0)
  reply.u32(abi.FOPEN_KEEP_CACHE)
  reply.u32(0)
  return 'reply'
}

/** As chmod(2) does it for a caller who is not in the group of the file (FUSE_SETXATTR_ACL_KILL_SGID). */
function dropSetgid(fileSystem: WritableFileSystem, node: number): void {
  const { mode } = fileSystem.getattr(node)
  if ((mode & S_ISGID) !== 0) fileSystem.setattr(node, { mode: mode & 0o7777 & ~S_ISGID })
}
