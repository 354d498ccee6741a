import { type Entry, FsError, isErrno, type WritableFileSystem } from '../../base/index.ts'
import * as abi from './abi.ts'
import type { Request } from './decode.ts'
import {
  callerOf,
  decodeCopyFileRangeIn,
  decodeFallocateIn,
  decodeFsyncIn,
  decodeMkdirIn,
  decodeMknodIn,
  decodeRenameIn,
  decodeSetattrIn,
  decodeSetxattrIn,
  decodeWriteIn,
} from './decode-write.ts'
import { encodeAttrOut, encodeEntry, type Reply } from './encode.ts'
import { hasFlag } from './init.ts'
import { replyOpen } from './open-opcodes.ts'
import {
  answersError,
  nothing,
  type Operation,
  type OperationContext,
  type Outcome,
  onlyName,
  row,
} from './operation.ts'
import { assertMayTakePrivileges, dropSetgid, isOnlyToTakePrivileges } from './privileges.ts'

/**
 * Most bytes that one COPY_FILE_RANGE copies. All other requests wait meanwhile: some 10 ms where the host has to copy.
 * Callers go on after a short count.
 */
const MAX_COPY = 16 << 20

const ACCESS_ACL = 'system.posix_acl_access'

/** Whether what a request asks for may have to wait, see `ChangeGate`. */
type IsChange<Args> = (args: Args) => boolean

const always = (): boolean => true
const never = (): boolean => false

/** A row whose handler gets the writable file system. @param isChange by default it always changes something */
function changes<Args>(
  name: string,
  decode: (request: Request, context: OperationContext) => Args,
  handle: (fileSystem: WritableFileSystem, request: Request, reply: Reply, args: Args) => Outcome,
  isChange: IsChange<Args> = always,
): Operation {
  return row(name, decode, ({ writable, gate }, request, reply, args) => {
    if (writable === undefined) throw new FsError('EROFS', name)
    if (isChange(args)) gate?.pass()
    try {
      return handle(writable, request, reply, args)
    } catch (error) {
      // The kernel takes ENOSYS as "never again". One file on one host file system is no reason for that.
      if (isErrno(error, 'ENOSYS')) {
        throw new FsError('EOPNOTSUPP', error.message, { cause: error })
      }
      throw error
    }
  })
}

function replyEntry(reply: Reply, entry: Entry): Outcome {
  encodeEntry(reply, entry)
  return 'reply'
}

const setattr = changes(
  'SETATTR',
  ({ body }) => decodeSetattrIn(body),
  (fileSystem, request, reply, wanted) => {
    if (isOnlyToTakePrivileges(wanted)) assertMayTakePrivileges(fileSystem, request)
    encodeAttrOut(reply, fileSystem.setattr(request.nodeId, wanted))
    return 'reply'
  },
)

const symlink = changes(
  'SYMLINK',
  (request) => ({ name: request.name(), target: request.name(), caller: callerOf(request) }),
  (fileSystem, { nodeId }, reply, { name, target, caller }) =>
    replyEntry(reply, fileSystem.symlink(nodeId, name, Buffer.from(target, 'latin1'), caller)),
)

const mknod = changes(
  'MKNOD',
  (request) => ({ ...decodeMknodIn(request), name: request.name() }),
  (fileSystem, { nodeId }, reply, { name, mode, rdev, caller }) =>
    replyEntry(reply, fileSystem.mknod(nodeId, name, mode, rdev, caller)),
)

const mkdir = changes(
  'MKDIR',
  (request) => ({ ...decodeMkdirIn(request), name: request.name() }),
  (fileSystem, { nodeId }, reply, { name, mode, caller }) =>
    replyEntry(reply, fileSystem.mkdir(nodeId, name, mode, caller)),
)

const tmpfile = changes(
  'TMPFILE',
  (request) => {
    // struct fuse_create_in: flags, mode, umask, open_flags. The name after it has no meaning.
    request.body.skip(4)
    const args = decodeMkdirIn(request)
    request.body.skip(4)
    return args
  },
  (fileSystem, { nodeId }, reply, { mode, caller }) => {
    replyEntry(reply, fileSystem.tmpfile(nodeId, mode, caller))
    // The kernel sends RELEASE for it only as long as it does not know that OPEN gives ENOSYS.
    return replyOpen(reply, abi.FOPEN_KEEP_CACHE)
  },
)

const unlink = changes('UNLINK', onlyName, (fileSystem, { nodeId }, _, name) => {
  fileSystem.unlink(nodeId, name)
  return 'reply'
})

const rmdir = changes('RMDIR', onlyName, (fileSystem, { nodeId }, _, name) => {
  fileSystem.rmdir(nodeId, name)
  return 'reply'
})

function rename(name: string, hasFlags: boolean): Operation {
  return changes(
    name,
    (request) => decodeRenameIn(request, hasFlags),
    (fileSystem, { nodeId }, _, { name, newParent, newName, mode, whiteout }) => {
      fileSystem.rename(nodeId, name, newParent, newName, mode, whiteout)
      return 'reply'
    },
  )
}

const link = changes(
  'LINK',
  (request) => ({ oldNodeId: request.body.offset64(), name: request.name() }),
  (fileSystem, { nodeId }, reply, { oldNodeId, name }) =>
    replyEntry(reply, fileSystem.link(oldNodeId, nodeId, name)),
)

const write = changes(
  'WRITE',
  ({ body }) => decodeWriteIn(body),
  (fileSystem, { nodeId }, reply, { offset, data, killPrivileges }) => {
    reply.u32(fileSystem.write(nodeId, offset, data, killPrivileges))
    reply.u32(0)
    return 'reply'
  },
)

function fsync(name: string): Operation {
  return changes(
    name,
    ({ body }) => ({ dataOnly: decodeFsyncIn(body) }),
    (fileSystem, { nodeId }, _, { dataOnly }) => {
      fileSystem.fsync(nodeId, dataOnly)
      return 'reply'
    },
    never,
  )
}

const syncfs = changes(
  'SYNCFS',
  nothing,
  (fileSystem) => {
    fileSystem.syncfs()
    return 'reply'
  },
  never,
)

const setxattr = changes(
  'SETXATTR',
  (request, { negotiated }) => decodeSetxattrIn(request, hasFlag(negotiated.flags, abi.FUSE_SETXATTR_EXT)),
  (fileSystem, { nodeId }, _, { name, value, mode, killSetgid }) => {
    fileSystem.setxattr(nodeId, name, value, mode)
    if (killSetgid && name === ACCESS_ACL) dropSetgid(fileSystem, nodeId)
    return 'reply'
  },
)

const removexattr = changes('REMOVEXATTR', onlyName, (fileSystem, { nodeId }, _, name) => {
  fileSystem.removexattr(nodeId, name)
  return 'reply'
})

const fallocate = changes(
  'FALLOCATE',
  ({ body }) => decodeFallocateIn(body),
  (fileSystem, { nodeId }, _, { mode, offset, length }) => {
    fileSystem.fallocate(nodeId, mode, offset, length)
    return 'reply'
  },
)

/** @param encode writes the number of bytes copied */
function copyFileRange(name: string, encode: (reply: Reply, copied: number) => void): Operation {
  return changes(
    name,
    ({ body }) => decodeCopyFileRangeIn(body),
    (fileSystem, { nodeId }, reply, { fromOffset, to, toOffset, length }) => {
      const copied = fileSystem.copyFileRange(nodeId, fromOffset, to, toOffset, Math.min(length, MAX_COPY))
      encode(reply, copied)
      return 'reply'
    },
  )
}

/** The rows of a writable mount that replace rows of `OPERATIONS`. */
export const WRITE_OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [abi.FUSE_SETATTR, setattr],
  [abi.FUSE_SYMLINK, symlink],
  [abi.FUSE_MKNOD, mknod],
  [abi.FUSE_MKDIR, mkdir],
  [abi.FUSE_UNLINK, unlink],
  [abi.FUSE_RMDIR, rmdir],
  [abi.FUSE_RENAME, rename('RENAME', false)],
  [abi.FUSE_RENAME2, rename('RENAME2', true)],
  [abi.FUSE_LINK, link],
  [abi.FUSE_WRITE, write],
  [abi.FUSE_TMPFILE, tmpfile],
  // After ENOSYS the kernel makes the file with MKNOD and opens it without a request (fs/fuse/dir.c:fuse_atomic_open).
  [abi.FUSE_CREATE, answersError('CREATE', 'ENOSYS')],
  [abi.FUSE_RELEASE, row('RELEASE', nothing, () => 'reply')],
  [abi.FUSE_FSYNC, fsync('FSYNC')],
  [abi.FUSE_FSYNCDIR, fsync('FSYNCDIR')],
  [abi.FUSE_SYNCFS, syncfs],
  [abi.FUSE_SETXATTR, setxattr],
  [abi.FUSE_REMOVEXATTR, removexattr],
  [abi.FUSE_FALLOCATE, fallocate],
  [
    abi.FUSE_COPY_FILE_RANGE,
    copyFileRange('COPY_FILE_RANGE', (reply, copied) => {
      reply.u32(copied)
      reply.u32(0)
    }),
  ],
  [abi.FUSE_COPY_FILE_RANGE_64, copyFileRange('COPY_FILE_RANGE_64', (reply, copied) => reply.u64(copied))],
])

function opensForWriting(flags: number): boolean {
  return (flags & abi.O_ACCMODE) !== abi.O_RDONLY
}

/** The rows of a writable mount that copies files up when they are opened for writing (`copyup=open`). */
export const OPEN_OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [
    abi.FUSE_OPEN,
    changes(
      'OPEN',
      ({ body }) => ({ flags: body.u32() }),
      (fileSystem, { nodeId }, reply, { flags }) => {
        if (opensForWriting(flags)) fileSystem.open(nodeId)
        return replyOpen(reply, abi.FOPEN_KEEP_CACHE)
      },
      ({ flags }) => opensForWriting(flags),
    ),
  ],
])
