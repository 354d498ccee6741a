import { FsError } from '../../base/index.ts'
import * as abi from './abi.ts'
import { decodeInterruptIn, decodeLseekIn, decodeReadIn, type ReadIn, type Request } from './decode.ts'
import { DirentPacker } from './dirent.ts'
import { encodeAttrOut, encodeEntry, encodeStatFs, encodeStatx, type Reply } from './encode.ts'
import { hasFlag } from './init.ts'
import { ioctl } from './ioctl.ts'
import {
  answersError,
  nothing,
  type Operation,
  type OperationContext,
  type Outcome,
  onlyName,
  row,
} from './operation.ts'
import { getxattr, listxattr } from './xattr.ts'

const readIn = ({ body }: Request): ReadIn => decodeReadIn(body)

const readDirectory =
  (plus: boolean) =>
  (
    { fileSystem }: OperationContext,
    { nodeId }: Request,
    reply: Reply,
    { offset, size }: ReadIn,
  ): Outcome => {
    fileSystem.readdir(nodeId, offset, new DirentPacker(reply, size, plus))
    return 'reply'
  }

const lookup = row('LOOKUP', onlyName, ({ fileSystem }, { nodeId }, reply, name) => {
  const entry = fileSystem.lookup(nodeId, name)
  encodeEntry(reply, entry)
  return 'reply'
})

const forget = row(
  'FORGET',
  ({ body }) => body.offset64(),
  ({ fileSystem }, { nodeId }, _, nlookup) => {
    fileSystem.forget(nodeId, nlookup)
    return 'no-reply'
  },
)

const batchForget = row(
  'BATCH_FORGET',
  ({ body }) => {
    const count = body.u32()
    body.skip(4)
    return { count }
  },
  ({ fileSystem }, { body }, _, { count }) => {
    // `decode` leaves the nodes to this loop: there may be thousands.
    for (let i = 0; i < count; i++) fileSystem.forget(body.offset64(), body.offset64())
    return 'no-reply'
  },
)

const getattr = row('GETATTR', nothing, ({ fileSystem }, { nodeId }, reply) => {
  encodeAttrOut(reply, fileSystem.getattr(nodeId))
  return 'reply'
})

const statx = row('STATX', nothing, ({ fileSystem }, { nodeId }, reply) => {
  // It asks for nothing else than the birth time, which programs want that run in Node or Rust: once for each file. After
  // ENOSYS the kernel answers such calls itself (fs/fuse/dir.c:fuse_update_get_attr).
  if (fileSystem.hasBirthTimes !== true) throw new FsError('ENOSYS', 'no birth times')
  encodeStatx(reply, fileSystem.getattr(nodeId))
  return 'reply'
})

const readlink = row('READLINK', nothing, ({ fileSystem }, { nodeId }, reply) => {
  reply.data(fileSystem.readlink(nodeId))
  return 'reply'
})

const read = row('READ', readIn, ({ dataPath }, { token, nodeId }, reply, { offset, size }) =>
  dataPath.read({ token, nodeId, offset, size }, reply),
)

const statfs = row('STATFS', nothing, ({ fileSystem }, _, reply) => {
  encodeStatFs(reply, fileSystem.statfs())
  return 'reply'
})

const lseek = row(
  'LSEEK',
  ({ body }) => decodeLseekIn(body),
  ({ fileSystem, negotiated }, { nodeId }, reply, { offset, whence }) => {
    // With the write-back cache the kernel does not send dirty pages before LSEEK (fs/fuse/file.c:fuse_file_llseek), so
    // dirty data would look like a hole. After ENOSYS the kernel answers by itself: the whole file is data.
    if (hasFlag(negotiated.flags, abi.FUSE_WRITEBACK_CACHE)) throw new FsError('ENOSYS', 'lseek: write-back')
    reply.u64(fileSystem.seek(nodeId, offset, whence))
    return 'reply'
  },
)

/** What an opcode is called in the kernel, without `FUSE_`; `OTHER` for those that are not known here. */
export function operationName(opcode: number): string {
  if (opcode === abi.FUSE_INIT) return 'INIT'
  return OPERATIONS.get(opcode)?.name ?? 'OTHER'
}

/** The rows of a read-only mount. In a writable mount `WRITE_OPERATIONS` replaces some of them. */
export const OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [abi.FUSE_LOOKUP, lookup],
  [abi.FUSE_FORGET, forget],
  [abi.FUSE_BATCH_FORGET, batchForget],
  [abi.FUSE_GETATTR, getattr],
  [abi.FUSE_STATX, statx],
  [abi.FUSE_READLINK, readlink],
  [abi.FUSE_READ, read],
  [abi.FUSE_READDIR, row('READDIR', readIn, readDirectory(false))],
  [abi.FUSE_READDIRPLUS, row('READDIRPLUS', readIn, readDirectory(true))],
  [abi.FUSE_STATFS, statfs],
  [abi.FUSE_GETXATTR, getxattr],
  [abi.FUSE_LISTXATTR, listxattr],
  [abi.FUSE_LSEEK, lseek],
  [abi.FUSE_IOCTL, ioctl],
  // `Protocol` looks for the interrupted request among the postponed ones. The answer to any other request is on its
  // way, and may be the normal one (fuse.rst, "Interrupting").
  [abi.FUSE_INTERRUPT, row('INTERRUPT', decodeInterruptIn, () => 'no-reply')],
  [abi.FUSE_DESTROY, row('DESTROY', nothing, () => 'reply')],
  // After ENOSYS the kernel opens files without a request and keeps its caches (FUSE_NO_OPEN_SUPPORT).
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
