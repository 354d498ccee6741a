import { ERRNO, FsError, type StatFs, type SyncKind } from '../../base/index.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction, libcFunctionApart } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'
import { systemCall } from '../ffi/system-call.ts'
import { seekExtent } from './descriptor.ts'
import { ioctl } from './inode-flags.ts'

/** Data of files by descriptor. Offsets and lengths are bytes. All functions throw FsError with the kernel's errno. */

const cPread = libcFunction('int64_t pread(int fd, void *buffer, size_t count, int64_t offset)')
const cPwrite = libcFunction('int64_t pwrite(int fd, const void *buffer, size_t count, int64_t offset)')
const ftruncate = libcFunction('int ftruncate(int fd, int64_t length)')
const fallocate = libcFunction('int fallocate(int fd, int mode, int64_t offset, int64_t length)')
const fsync = libcFunction('int fsync(int fd)')
const fdatasync = libcFunction('int fdatasync(int fd)')
const syncfs = libcFunction('int syncfs(int fd)')
const syncfsApart = libcFunctionApart('int syncfs(int fd)')
const syncFileRange = libcFunction(
  'int sync_file_range(int fd, int64_t offset, int64_t length, uint32_t flags)',
)
const posixFadvise = libcFunction('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)')
const fstatfs = libcFunction('int fstatfs(int fd, uintptr_t buffer)')

const { EINTR } = ERRNO

/** @returns bytes read; fewer than `target.length` only at the end of the file */
export function pread(fd: number, offset: number, target: Uint8Array): number {
  let done = 0
  while (done < target.length) {
    const rest = done === 0 ? target : target.subarray(done)
    const count = Number(cPread(fd, rest, rest.length, offset + done))
    if (count === 0) break
    if (count > 0) done += count
    else if (lastErrno() !== EINTR) throw systemError(`read fd ${fd} at ${offset + done}`)
  }
  return done
}

/**
 * @returns bytes written; fewer than given where an error stopped the rest: the next call gets that error
 * @throws FsError ENOSPC, EDQUOT, EFBIG, … where nothing was written
 */
export function pwrite(fd: number, offset: number, data: Uint8Array): number {
  let done = 0
  while (done < data.length) {
    const rest = done === 0 ? data : data.subarray(done)
    const count = Number(cPwrite(fd, rest, rest.length, offset + done))
    if (count > 0) done += count
    else if (count === 0) break
    else if (lastErrno() !== EINTR) {
      if (done > 0) break
      throw systemError(`write fd ${fd} at ${offset}`)
    }
  }
  return done
}

/** @param size bytes. @throws FsError as ftruncate(2), which is called again after EINTR */
export function truncateFd(fd: number, size: number): void {
  while (Number(ftruncate(fd, size)) !== 0) interruptedOr(`truncate fd ${fd} to ${size}`)
}

/** @param mode FALLOC_FL_* of fallocate(2). @throws FsError EOPNOTSUPP where the file system lacks the mode */
export function fallocateFd(fd: number, mode: number, offset: number, length: number): void {
  while (Number(fallocate(fd, mode, offset, length)) !== 0) {
    interruptedOr(`fallocate fd ${fd} mode ${mode} ${offset}+${length}`)
  }
}

/** include/uapi/linux/fs.h */
const FICLONE = 0x4004_9409

/**
 * Makes a file share all data of another one. The kernel first writes dirty pages of `from` to the disk
 * (remap_file_range).
 * @throws FsError EXDEV, EOPNOTSUPP, ENOTTY, EINVAL where they cannot share
 */
export function cloneFile(from: number, to: number): void {
  if (Number(ioctl(to, FICLONE, from)) !== 0) throw systemError(`clone fd ${from} to fd ${to}`)
}

/** The two offsets of copy_file_range(2). */
const offsetScratch = new Scratch(16)
const offsets = offsetScratch.words()

/**
 * Copies within the kernel, which shares blocks where the file system can.
 * @returns bytes copied, perhaps fewer than asked for; 0 at the end of `from`
 * @throws FsError EXDEV, EOPNOTSUPP, EINVAL where the kernel cannot: the caller then copies by read and write
 */
export function copyRange(
  from: number,
  fromOffset: number,
  to: number,
  toOffset: number,
  length: number,
): number {
  for (;;) {
    offsets[0] = fromOffset
    offsets[1] = fromOffset / 2 ** 32
    offsets[2] = toOffset
    offsets[3] = toOffset / 2 ** 32
    const count = systemCall(
      'copy_file_range',
      from,
      offsetScratch.address,
      to,
      offsetScratch.address + 8,
      length,
      0,
    )
    if (count >= 0) return count
    interruptedOr(`copy ${length} bytes of fd ${from} at ${fromOffset} to fd ${to}`)
  }
}

/**
 * Start of the next data or hole at or after `offset`; undefined past the end and after the last data. Moves the file
 * position, which no code of this program uses.
 */
export function seekFd(fd: number, offset: number, whence: 'data' | 'hole'): number | undefined {
  return seekExtent(fd, offset, whence)
}

const SYNC: Readonly<Record<SyncKind, typeof fsync>> = { all: fsync, data: fdatasync, 'file system': syncfs }

/**
 * @param fd of a file or directory, open for reading or writing; O_PATH gives EBADF.
 * @throws FsError EIO, ENOSPC, EDQUOT
 */
export function syncFd(fd: number, kind: SyncKind): void {
  while (Number(SYNC[kind](fd)) !== 0) interruptedOr(`sync fd ${fd} (${kind})`)
}

/**
 * Writes everything in the file system of a file to the disk, in a thread of Node's pool: the calling one goes on where the
 * disk does not answer.
 * @throws FsError EIO
 */
export async function syncFileSystemApart(fd: number): Promise<void> {
  if ((await syncfsApart(fd)) !== 0) throw new FsError('EIO', `sync fd ${fd} (file system)`)
}

/** include/uapi/linux/fadvise.h */
const POSIX_FADV_WILLNEED = 3

/** Starts reading into the page cache and does not wait. It is only a hint, so errors are ignored. */
export function beginReading(fd: number, offset: number, length: number): void {
  posixFadvise(fd, offset, length, POSIX_FADV_WILLNEED)
}

/** include/uapi/linux/fs.h */
const SYNC_FILE_RANGE_WRITE = 2

/** Starts writeback of dirty data and does not wait. It is only a hint, so errors are ignored. */
export function beginWriteOut(fd: number, offset: number, length: number): void {
  syncFileRange(fd, offset, length, SYNC_FILE_RANGE_WRITE)
}

/** struct statfs of 64-bit machines (include/uapi/asm-generic/statfs.h): words of 8 bytes, 15 of them. */
const statfsScratch = new Scratch(128)
const statfsRecord = statfsScratch.words()

/** @param fd may be O_PATH */
export function statfsFd(fd: number): StatFs {
  while (Number(fstatfs(fd, statfsScratch.address)) !== 0) interruptedOr(`statfs fd ${fd}`)
  const blockSize = word(1)
  // Some file systems count blocks in fragments (fs/statfs.c:vfs_statfs).
  return {
    blockSize: word(9) || blockSize,
    blocks: word(2),
    blocksFree: word(3),
    blocksAvailable: word(4),
    files: word(5),
    filesFree: word(6),
    nameMax: word(8),
  }
}

function word(index: number): number {
  const at = index * 2
  const value = (statfsRecord[at + 1] ?? 0) * 2 ** 32 + (statfsRecord[at] ?? 0)
  return Math.min(value, Number.MAX_SAFE_INTEGER)
}

/** Returns after EINTR, so that the caller tries again. @throws FsError after any other errno */
function interruptedOr(what: string): void {
  if (lastErrno() !== EINTR) throw systemError(what)
}
