import { ERRNO, type Name, type XattrMode } from '../../base/index.ts'
import { descriptorPathAddress, stringAddress } from '../ffi/c-string.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'

/**
 * Extended attributes (xattr(7)) of the file of a descriptor, or of a path. The descriptor may be opened with O_PATH,
 * and may be one of a symbolic link; a symbolic link at the end of a path is not followed. Names and paths are "binary"
 * strings, one character per byte. Names have their prefix. The calls allocate only what they return.
 */

const setxattr = libcFunction(
  'int setxattr(uintptr_t path, uintptr_t name, const uint8_t *value, size_t size, int flags)',
)
const removexattr = libcFunction('int removexattr(uintptr_t path, uintptr_t name)')
const getxattr = libcFunction(
  'int64_t getxattr(uintptr_t path, uintptr_t name, uintptr_t value, size_t size)',
)
const listxattr = libcFunction('int64_t listxattr(uintptr_t path, uintptr_t list, size_t size)')

const lget = libcFunction('int64_t lgetxattr(uintptr_t path, uintptr_t name, uintptr_t value, size_t size)')
const llist = libcFunction('int64_t llistxattr(uintptr_t path, uintptr_t list, size_t size)')

const FLAGS: Readonly<Record<XattrMode, number>> = { either: 0, create: 1, replace: 2 }

/** XATTR_SIZE_MAX and XATTR_LIST_MAX (include/uapi/linux/limits.h): no value or list is longer. */
const LARGEST = 65_536
const buffer = new Scratch(LARGEST)

const { ENODATA, EOPNOTSUPP } = ERRNO

/** @throws FsError EEXIST, ENODATA as `mode` says; ENOSPC, EDQUOT, E2BIG, EOPNOTSUPP, EPERM */
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

/** @returns undefined where the file lacks the attribute, or the file system has no attributes */
export function getxattrFd(fd: number, name: Name): Uint8Array | undefined {
  const path = descriptorPathAddress(fd)
  const length = Number(getxattr(path, stringAddress(name, 1), buffer.address, LARGEST))
  return length >= 0 ? filledValue(length) : noValue(`getxattr fd ${fd} ${name}`)
}

/** All names, in no order; empty on file systems without attributes. */
export function listxattrFd(fd: number): Name[] {
  const length = Number(listxattr(descriptorPathAddress(fd), buffer.address, LARGEST))
  return length >= 0 ? filledNames(length) : noNames(`listxattr fd ${fd}`)
}

/** As `getxattrFd`. @param path a path from the root, or `/proc/self/fd/N/name` */
export function lgetxattr(path: Name, name: Name): Uint8Array | undefined {
  const length = Number(lget(stringAddress(path), stringAddress(name, 1), buffer.address, LARGEST))
  return length >= 0 ? filledValue(length) : noValue(`getxattr ${path} ${name}`)
}

/** As `listxattrFd`. */
export function llistxattr(path: Name): Name[] {
  const length = Number(llist(stringAddress(path), buffer.address, LARGEST))
  return length >= 0 ? filledNames(length) : noNames(`listxattr ${path}`)
}

function filledValue(length: number): Uint8Array {
  return new Uint8Array(buffer.bytes.subarray(0, length))
}

/** Each name ends with a NUL, also the last one. */
function filledNames(length: number): Name[] {
  return length === 0 ? [] : buffer.bytes.toString('latin1', 0, length - 1).split('\0')
}

function noValue(what: string): undefined {
  const errno = lastErrno()
  if (errno !== ENODATA && errno !== EOPNOTSUPP) throw systemError(what)
}

function noNames(what: string): Name[] {
  if (lastErrno() === EOPNOTSUPP) return []
  throw systemError(what)
}
