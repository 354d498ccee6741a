import { type ByteReader, MAX_READ } from '../../base/index.ts'
import * as abi from './abi.ts'
import type { Reply } from './encode.ts'

const MAX_PAGES = MAX_READ / 4096
/** Largest WRITE, bytes. */
export const MAX_WRITE = MAX_READ
/** Room for one request: the kernel writes at most its header, `max_write` bytes and a structure. */
export const REQUEST_BUFFER_SIZE = MAX_WRITE + abi.FUSE_MIN_READ_BUFFER
/** The kernel sends no WRITE to a read-only mount, but wants a `max_write` of at least a page. */
const NO_WRITE = 4096
/** Most background requests of the kernel, read-ahead among them: enough to keep every data worker busy. */
const MAX_BACKGROUND = 64

/**
 * Flags of every mount. The dispatcher answers the first OPEN and OPENDIR with ENOSYS (`NO_OPEN*`), so the kernel keeps
 * its caches of pages, directories and symbolic links for good. `EXPORT_SUPPORT`: the dispatcher finds a node by its id
 * after the kernel forgot it.
 */
const COMMON_FLAGS = [
  abi.FUSE_ASYNC_READ,
  abi.FUSE_DO_READDIRPLUS,
  abi.FUSE_NO_OPEN_SUPPORT,
  abi.FUSE_PARALLEL_DIROPS,
  abi.FUSE_MAX_PAGES,
  abi.FUSE_CACHE_SYMLINKS,
  abi.FUSE_NO_OPENDIR_SUPPORT,
  abi.FUSE_EXPORT_SUPPORT,
]

/**
 * - `ASYNC_DIO`: not for writable mounts. The kernel drops cached pages after a synchronous direct write
 *   (mm/filemap.c:generic_file_direct_write), but not after an asynchronous one. Pages that another process reads
 *   during that write would stay in the page cache with the old bytes.
 */
const READ_ONLY_FLAGS = [...COMMON_FLAGS, abi.FUSE_ASYNC_DIO, abi.FUSE_HANDLE_KILLPRIV]

/**
 * Further flags of a writable mount:
 * - `DONT_MASK`: a default ACL overrides the umask, so the file system applies it.
 * - `POSIX_ACL`: the kernel checks permissions by the ACLs that GETXATTR gives, and keeps them while it keeps the
 *   attributes; the file system keeps mode and ACL in step (fs/fuse/acl.c:fuse_set_acl).
 * - `HANDLE_KILLPRIV_V2`: also lets the kernel remember that a file has no `security.capability`, which it would ask
 *   for before every write (fs/fuse/inode.c:process_init_reply, SB_NOSEC).
 * - `EXPLICIT_INVAL_DATA`: all writes come through this mount, so another size in an answer is no reason to drop cached
 *   pages.
 */
const WRITABLE_FLAGS = [
  ...COMMON_FLAGS,
  abi.FUSE_BIG_WRITES,
  abi.FUSE_DONT_MASK,
  abi.FUSE_POSIX_ACL,
  abi.FUSE_EXPLICIT_INVAL_DATA,
  abi.FUSE_HANDLE_KILLPRIV_V2,
  abi.FUSE_SETXATTR_EXT,
]

/** Selects the flags that INIT asks for. `read-only-acls`: files may have ACLs that the kernel has to obey. */
export type MountKind = 'read-only' | 'read-only-acls' | 'write-through' | 'write-back'

const WANTED_FLAGS: Readonly<Record<MountKind, readonly number[]>> = {
  'read-only': READ_ONLY_FLAGS,
  'read-only-acls': [...READ_ONLY_FLAGS, abi.FUSE_POSIX_ACL],
  'write-through': WRITABLE_FLAGS,
  'write-back': [...WRITABLE_FLAGS, abi.FUSE_WRITEBACK_CACHE],
}

/** What INIT agreed on with the kernel. */
export interface Negotiated {
  readonly minor: number
  /** INIT flags in force, bits 0 to 31. */
  readonly flags: number
}

/** The kernel's version cannot be served. */
export interface Refused {
  readonly refused: string
}

/**
 * Negotiates and writes `struct fuse_init_out`.
 * @returns undefined where the kernel has a newer major version: it sends INIT again with our version (fs/fuse/inode.c,
 *   process_init_reply).
 */
export function negotiate(body: ByteReader, reply: Reply, kind: MountKind): Negotiated | Refused | undefined {
  const major = body.u32()
  const kernelMinor = body.u32()
  if (major > abi.FUSE_KERNEL_VERSION) {
    reply.u32(abi.FUSE_KERNEL_VERSION)
    reply.u32(abi.FUSE_KERNEL_MINOR_VERSION)
    reply.zeros(56)
    return undefined
  }
  if (major < abi.FUSE_KERNEL_VERSION || kernelMinor < abi.FUSE_OLDEST_MINOR_VERSION) {
    return {
      refused: `kernel speaks FUSE ${major}.${kernelMinor}, at least 7.${abi.FUSE_OLDEST_MINOR_VERSION} is needed`,
    }
  }
  const maxReadahead = body.u32()
  const offered = body.u32()
  const minor = Math.min(kernelMinor, abi.FUSE_KERNEL_MINOR_VERSION)
  const flags = WANTED_FLAGS[kind].reduce((sum, flag) => sum + (hasFlag(offered, flag) ? flag : 0), 0)
  reply.u32(abi.FUSE_KERNEL_VERSION)
  reply.u32(minor)
  reply.u32(Math.max(maxReadahead, MAX_READ))
  reply.u32(flags)
  reply.u16(MAX_BACKGROUND)
  reply.u16((MAX_BACKGROUND * 3) / 4)
  reply.u32(kind === 'read-only' || kind === 'read-only-acls' ? NO_WRITE : MAX_WRITE)
  reply.u32(1) // time granularity, ns
  reply.u16(hasFlag(flags, abi.FUSE_MAX_PAGES) ? MAX_PAGES : 0)
  reply.zeros(34)
  return { minor, flags }
}

/** Bit operations would make bit 31 negative. */
export function hasFlag(flags: number, flag: number): boolean {
  return Math.floor(flags / flag) % 2 === 1
}
