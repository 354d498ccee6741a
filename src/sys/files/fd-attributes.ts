import type { NewTime } from '../../base/index.ts'
import { descriptorPathAddress, stringAddress } from '../ffi/c-string.ts'
import { systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'

/**
 * Owner, mode and times of the file of a descriptor. They work on descriptors opened with O_PATH, of symbolic links
 * too, and throw FsError with the kernel's errno.
 */

const fchownat = libcFunction('int fchownat(int dir, uintptr_t path, uint32_t uid, uint32_t gid, int flags)')
const chmod = libcFunction('int chmod(uintptr_t path, uint32_t mode)')
const utimensat = libcFunction('int utimensat(int dir, uintptr_t path, uintptr_t times, int flags)')
const futimens = libcFunction('int futimens(int fd, uintptr_t times)')

const AT_FDCWD = -100
const AT_EMPTY_PATH = 0x1000
/** `(uid_t) -1`: leave it. */
const UNCHANGED = 0xffff_ffff
/** Nanoseconds with a meaning (include/linux/stat.h). */
const UTIME_NOW = 0x3fff_ffff
const UTIME_OMIT = 0x3fff_fffe

/** Takes setuid, setgid and file capabilities away from what is no directory, as the kernel does with chown(2). */
export function chownFd(fd: number, uid: number | undefined, gid: number | undefined): void {
  const path = stringAddress('')
  if (Number(fchownat(fd, path, uid ?? UNCHANGED, gid ?? UNCHANGED, AT_EMPTY_PATH)) === 0) return
  throw systemError(`chown fd ${fd}`)
}

/** @param mode permission bits, 0 to 07777. @throws FsError EOPNOTSUPP for a symbolic link, which has none */
export function chmodFd(fd: number, mode: number): void {
  if (Number(chmod(descriptorPathAddress(fd), mode)) !== 0) throw systemError(`chmod fd ${fd}`)
}

/** Two of struct timespec: seconds and nanoseconds, 8 bytes each. */
const scratch = new Scratch(32)
const times = scratch.words()

/** What is undefined stays. The time of change becomes now in any case. */
export function setTimesFd(fd: number, atime: NewTime | undefined, mtime: NewTime | undefined): void {
  encodeTime(0, atime)
  encodeTime(4, mtime)
  // By path: the flag AT_EMPTY_PATH is younger here (Linux 5.8) than it is for chown.
  if (Number(utimensat(AT_FDCWD, descriptorPathAddress(fd), scratch.address, 0)) === 0) return
  throw systemError(`set times of fd ${fd}`)
}

/** Of a descriptor that was not opened with O_PATH: 1.4 µs, where `setTimesFd`, which needs a path, takes 4.4. */
export function setModificationTimeFd(fd: number, mtime: NewTime): void {
  encodeTime(0, undefined)
  encodeTime(4, mtime)
  if (Number(futimens(fd, scratch.address)) === 0) return
  throw systemError(`set mtime of fd ${fd}`)
}

function encodeTime(at: number, time: NewTime | undefined): void {
  const exact = time === undefined || time === 'now' ? undefined : time
  const seconds = exact?.seconds ?? 0
  times[at] = seconds
  times[at + 1] = Math.floor(seconds / 2 ** 32)
  times[at + 2] = exact?.nanoseconds ?? (time === 'now' ? UTIME_NOW : UTIME_OMIT)
  times[at + 3] = 0
}
