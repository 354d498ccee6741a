import { ERRNO } from '../../base/index.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { Scratch } from '../ffi/scratch.ts'
import { ioctl } from './inode-flags.ts'

/** include/uapi/linux/fsverity.h */
const FS_IOC_ENABLE_VERITY = 0x4080_6685
/** `struct fsverity_enable_arg`: version 1, sha256 (1), blocks of 4 KiB, no salt and no signature. */
const SIZE_OF_ARGUMENT = 128
const ARGUMENT = [1, 1, 4096]
/** What file systems and kernels without fs-verity say. */
const WITHOUT: readonly number[] = [ERRNO.EOPNOTSUPP, ERRNO.ENOTTY, ERRNO.EINVAL]

const scratch = new Scratch(SIZE_OF_ARGUMENT)
const words = scratch.words()

/**
 * Makes the kernel verify a file from now on, which nobody can change any more (ioctl FS_IOC_ENABLE_VERITY).
 * @param fd open for reading, and nobody has the file open for writing
 * @returns false where its file system cannot do it. @throws FsError EACCES, EPERM, EROFS, ETXTBSY, ENOSPC
 */
export function enableVerity(fd: number): boolean {
  words.fill(0)
  ARGUMENT.forEach((value, at) => {
    words[at] = value
  })
  if (Number(ioctl(fd, FS_IOC_ENABLE_VERITY, scratch.address)) === 0) return true
  const errno = lastErrno()
  if (errno === ERRNO.EEXIST) return true
  if (WITHOUT.includes(errno)) return false
  throw systemError(`enable fs-verity of fd ${fd}`)
}
