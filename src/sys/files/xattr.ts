import { FsError, type Name } from '../../base/index.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'

/**
 * Reading extended attributes (xattr(7)). Paths and names are "binary" strings, one character per byte, values
 * are bytes. Paths are those of Node (`/a/b`) or `/proc/self/fd/N/name` for names below a descriptor.
 */

const lget = libcFunction(
  'int64_t lgetxattr(const uint8_t *path, const uint8_t *name, uint8_t *value, size_t size)',
)
const llist = libcFunction('int64_t llistxattr(const uint8_t *path, uint8_t *list, size_t size)')

/** XATTR_SIZE_MAX and XATTR_LIST_MAX (include/uapi/linux/limits.h): no value or list is longer. */
const LARGEST = 65_536
const FIRST_GUESS = 512

const ENODATA = 61
const ERANGE = 34
const EOPNOTSUPP = 95

/** Not following a symbolic link at the end of the path. @returns undefined where there is no such attribute */
export function lgetxattr(path: Name, name: Name): Uint8Array | undefined {
  const file = cString(path)
  const attribute = cString(name)
  return value(`getxattr ${path} ${name}`, (buffer) => lget(file, attribute, buffer, buffer.length))
}

/** All names, with their prefixes, in no order. Empty on file systems without attributes. */
export function llistxattr(path: Name): Name[] {
  const file = cString(path)
  return names(`listxattr ${path}`, (buffer) => llist(file, buffer, buffer.length))
}

/** @throws FsError EINVAL where a NUL would cut the string short */
function cString(text: Name): Uint8Array {
  if (text.includes('\0')) throw new FsError('EINVAL', `NUL in ${JSON.stringify(text)}`)
  return Buffer.from(`${text}\0`, 'latin1')
}

type Fill = (buffer: Uint8Array) => unknown

function value(what: string, fill: Fill): Uint8Array | undefined {
  const filled = fillGrowing(fill)
  if (filled !== undefined) return filled
  const errno = lastErrno()
  if (errno === ENODATA || errno === EOPNOTSUPP) return undefined
  throw systemError(what)
}

function names(what: string, fill: Fill): Name[] {
  const filled = fillGrowing(fill)
  if (filled === undefined) {
    if (lastErrno() === EOPNOTSUPP) return []
    throw systemError(what)
  }
  // Names end with a NUL each, the last one too.
  return filled.length === 0 ? [] : filled.toString('latin1', 0, filled.length - 1).split('\0')
}

/** Grows the buffer while the kernel says ERANGE; undefined on any other error, with the errno left for the caller. */
function fillGrowing(fill: Fill): Buffer | undefined {
  for (let size = FIRST_GUESS; ; size = Math.min(size * 8, LARGEST)) {
    const buffer = Buffer.alloc(size)
    const length = Number(fill(buffer))
    if (length >= 0) return buffer.subarray(0, length)
    if (lastErrno() !== ERANGE || size === LARGEST) return undefined
  }
}
