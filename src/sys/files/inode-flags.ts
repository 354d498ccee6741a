import type { FlagsForm } from '../../base/index.ts'
import { systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'

/**
 * Flags that chattr(1) changes. Descriptors must be open for reading. File systems without such flags give EOPNOTSUPP
 * or ENOTTY.
 */

/** The request decides whether the argument is an address or a number. */
export const ioctl = libcFunction('int ioctl(int fd, unsigned long request, uintptr_t argument)')

// include/uapi/linux/fs.h
const FS_IOC_GETFLAGS = 0x8008_6601
const FS_IOC_SETFLAGS = 0x4008_6602
const FS_IOC_FSGETXATTR = 0x801c_581f
const FS_IOC_FSSETXATTR = 0x401c_5820

/** struct fsxattr: flags, extent size, extents, project, extent size for copies, padding. */
const SIZE_OF_FSXATTR = 28
const PROJECT_AT = 3
const scratch = new Scratch(SIZE_OF_FSXATTR)
const words = scratch.words()

/** @returns a set of FS_*_FL */
export function inodeFlags(fd: number): number {
  words[0] = 0
  if (Number(ioctl(fd, FS_IOC_GETFLAGS, scratch.address)) !== 0) throw systemError(`get flags of fd ${fd}`)
  return words[0] ?? 0
}

/** @throws FsError EPERM for flags that need more rights; EOPNOTSUPP */
export function setInodeFlags(fd: number, flags: number): void {
  words[0] = flags
  if (Number(ioctl(fd, FS_IOC_SETFLAGS, scratch.address)) !== 0) throw systemError(`set flags of fd ${fd}`)
}

const REQUESTS = {
  flags: { get: FS_IOC_GETFLAGS, set: FS_IOC_SETFLAGS, length: 4 },
  fsxattr: { get: FS_IOC_FSGETXATTR, set: FS_IOC_FSSETXATTR, length: SIZE_OF_FSXATTR },
} as const

/** @returns a copy of the structure that the kernel gives. @throws FsError */
export function readFlags(fd: number, form: FlagsForm): Uint8Array {
  const { get, length } = REQUESTS[form]
  if (Number(ioctl(fd, get, scratch.address)) !== 0) throw systemError(`get ${form} of fd ${fd}`)
  return Uint8Array.prototype.slice.call(scratch.bytes, 0, length)
}

/** @param value as `readFlags` gives it. @throws FsError EPERM, EOPNOTSUPP, EINVAL */
export function writeFlags(fd: number, form: FlagsForm, value: Uint8Array): void {
  const { set, length } = REQUESTS[form]
  scratch.bytes.set(value.subarray(0, length))
  if (Number(ioctl(fd, set, scratch.address)) !== 0) throw systemError(`set ${form} of fd ${fd}`)
}

/** The project whose quota counts the file. */
export function projectOf(fd: number): number {
  if (Number(ioctl(fd, FS_IOC_FSGETXATTR, scratch.address)) !== 0)
    throw systemError(`get project of fd ${fd}`)
  return words[PROJECT_AT] ?? 0
}

/** @throws FsError EINVAL outside of the initial user namespace */
export function setProject(fd: number, project: number): void {
  // The ioctl sets all fields: `projectOf` has filled the others with their present values.
  if (projectOf(fd) === project) return
  words[PROJECT_AT] = project
  if (Number(ioctl(fd, FS_IOC_FSSETXATTR, scratch.address)) !== 0)
    throw systemError(`set project of fd ${fd}`)
}
