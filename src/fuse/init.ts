import type { ByteReader } from '../base/index.ts'
import {
  FUSE_ASYNC_DIO,
  FUSE_ASYNC_READ,
  FUSE_CACHE_SYMLINKS,
  FUSE_DO_READDIRPLUS,
  FUSE_EXPORT_SUPPORT,
  FUSE_HANDLE_KILLPRIV,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_MAX_PAGES,
  FUSE_NO_OPEN_SUPPORT,
  FUSE_NO_OPENDIR_SUPPORT,
  FUSE_OLDEST_MINOR_VERSION,
  FUSE_PARALLEL_DIROPS,
} from './abi.ts'
import type { Reply } from './encode.ts'

/** Largest READ and READDIR, bytes: 256 pages, the most that a kernel allows without a sysctl. */
export const MAX_READ = 1 << 20
const MAX_PAGES = MAX_READ / 4096
/** No write ever comes to a read-only mount; the kernel wants at least a page. */
const MAX_WRITE = 4096
/** Requests that the kernel may have under way for read-ahead: enough to keep every data worker busy. */
const MAX_BACKGROUND = 64

/**
 * What a read-only mount asks for. OPEN and OPENDIR are answered with ENOSYS once (`NO_OPEN*`), so that the
 * kernel keeps page, directory and symlink caches for good.
 */
const WANTED_FLAGS = [
  FUSE_ASYNC_READ,
  FUSE_EXPORT_SUPPORT,
  FUSE_DO_READDIRPLUS,
  FUSE_ASYNC_DIO,
  FUSE_NO_OPEN_SUPPORT,
  FUSE_PARALLEL_DIROPS,
  FUSE_HANDLE_KILLPRIV,
  FUSE_MAX_PAGES,
  FUSE_CACHE_SYMLINKS,
  FUSE_NO_OPENDIR_SUPPORT,
]

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
 * @returns undefined where the kernel is of a newer major version: it will send INIT again in ours
 *   (fs/fuse/inode.c, process_init_reply).
 */
export function negotiate(body: ByteReader, reply: Reply): Negotiated | Refused | undefined {
  const major = body.u32()
  const kernelMinor = body.u32()
  if (major > FUSE_KERNEL_VERSION) {
    reply.u32(FUSE_KERNEL_VERSION)
    reply.u32(FUSE_KERNEL_MINOR_VERSION)
    reply.zeros(56)
    return undefined
  }
  if (major < FUSE_KERNEL_VERSION || kernelMinor < FUSE_OLDEST_MINOR_VERSION) {
    return {
      refused: `kernel speaks FUSE ${major}.${kernelMinor}, at least 7.${FUSE_OLDEST_MINOR_VERSION} is needed`,
    }
  }
  const maxReadahead = body.u32()
  const offered = body.u32()
  const minor = Math.min(kernelMinor, FUSE_KERNEL_MINOR_VERSION)
  const flags = WANTED_FLAGS.reduce((sum, flag) => sum + (hasFlag(offered, flag) ? flag : 0), 0)
  reply.u32(FUSE_KERNEL_VERSION)
  reply.u32(minor)
  reply.u32(Math.max(maxReadahead, MAX_READ))
  reply.u32(flags)
  reply.u16(MAX_BACKGROUND)
  reply.u16((MAX_BACKGROUND * 3) / 4)
  reply.u32(MAX_WRITE)
  reply.u32(1) // time granularity, ns
  reply.u16(hasFlag(flags, FUSE_MAX_PAGES) ? MAX_PAGES : 0)
  reply.zeros(34)
  return { minor, flags }
}

function hasFlag(flags: number, flag: number): boolean {
  return Math.floor(flags / flag) % 2 === 1
}
