import type { Name, XattrMode } from '../../base/index.ts'
import { descriptorPathAddress, stringAddress } from '../ffi/c-string.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'

/**
 * Extended attributes of the file of a descriptor, which may be opened with O_PATH and may be a symbolic link. Names
 * are full, with their prefix. Unlike `xattr.ts` these allocate nothing but what they return.
 */

const setxattr = libcFunction(
  'int setxattr(uintptr_t path, uintptr_t name, const uint8_t *value, size_t size, int flags)',
)
const removexattr = libcFunction('int removexattr(uintptr_t path, uintptr_t name)')
const getxattr = libcFunction(
  'int64_t getxattr(uintptr_t path, uintptr_t name, uintptr_t value, size_t size)',
)
const listxattr = libcFunction('int64_t listxattr(uintptr_t path, uintptr_t list, size_t size)')

const FLAGS: Readonly<Record<XattrMode, number>> = { either: 0, create: 1, replace: 2 }

/** XATTR_SIZE_MAX and XATTR_LIST_MAX (include/uapi/linux/limits.h): no value or list is longer. */
const LARGEST = 65_536
const buffer = new Scratch(LARGEST)

const ENODATA = 61
const EOPNOTSUPP = 95

/** @throws FsError EEXIST, ENODATA by the mode; ENOSPC, EDQUOT, E2BIG, EOPNOTSUPP, EPERM */
export function setxattrFd(fd: number, name: Name, value: Uint8Array, mode: XattrMode): void {
  const path = descriptorPathAddress(fd)
  const attribute = stringAddress(name, 1)
  if (Number(setxattr(path, attribute, value, value.length, FLAGS[mode])) === 0) return
  throw systemError(`setxattr fd ${fd} ${name}`)
}

/** @throws FsError ENODATA */
export function removexattrFd(fd: number, name: Name): void {
  const path = descriptorPathAddress(fd)
  if (Number(removexattr(path, stringAddress(name, 1))) === 0) return
  throw systemError(`removexattr fd ${fd} ${name}`)
}

/** @returns undefined where there is no such attribute, or none at all on this file system */
export function getxattrFd(fd: number, name: Name): Uint8Array | undefined {
  const path = descriptorPathAddress(fd)
  const length = Number(getxattr(path, stringAddress(name, 1), buffer.address, LARGEST))
  if (length >= 0) return new Uint8Array(buffer.bytes.subarray(0, length))
  const errno = lastErrno()
  if (errno === ENODATA || errno === EOPNOTSUPP) return undefined
  throw systemError(`getxattr fd ${fd} ${name}`)
}

/** All names, in no order; empty on file systems without attributes. */
export function listxattrFd(fd: number): Name[] {
  const length = Number(listxattr(descriptorPathAddress(fd), buffer.address, LARGEST))
  if (length === 0) return []
  // Names end with a NUL each, the last one too.
  if (length > 0) return buffer.bytes.toString('latin1', 0, length - 1).split('\0')
  if (lastErrno() === EOPNOTSUPP) return []
  throw systemError(`listxattr fd ${fd}`)
}
