import { constants } from 'node:fs'
import { codeOf, ERRNO, type Name } from '../../base/index.ts'
import { bytesAddress, descriptorPathAddress, nameAddress, stringAddress } from '../ffi/c-string.ts'
import { type ForeignFunction, lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'
import { systemCall } from '../ffi/system-call.ts'
import { O_CLOEXEC } from '../plain/open-flags.ts'

/**
 * Names below a descriptor of their directory, which may be opened with O_PATH. A name is one component: no call leaves
 * the directory, and there is no path that another process could redirect. All functions throw FsError with the errno
 * of the kernel, and EINVAL for a string that is no file name.
 */

const openat = libcFunction('int openat(int dir, uintptr_t path, int flags, uint32_t mode)')
const mkdirat = libcFunction('int mkdirat(int dir, uintptr_t path, uint32_t mode)')
const symlinkat = libcFunction('int symlinkat(uintptr_t target, int dir, uintptr_t path)')
const linkat = libcFunction('int linkat(int fromDir, uintptr_t from, int toDir, uintptr_t to, int flags)')
const unlinkat = libcFunction('int unlinkat(int dir, uintptr_t path, int flags)')
const readlinkat = libcFunction('int64_t readlinkat(int dir, uintptr_t path, uintptr_t buffer, size_t size)')
const faccessat = libcFunction('int faccessat(int dir, uintptr_t path, int mode, int flags)')

/** Node's constants lack it. The same on all machines of Node (include/uapi/asm-generic/fcntl.h). */
export const O_PATH = 0o10000000
/** Contains O_DIRECTORY, whose value depends on the machine. */
export const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY
const { O_NOFOLLOW, O_DIRECTORY, O_RDONLY, O_NOATIME } = constants

/** Flags of renameat2(2). */
export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2

const AT_FDCWD = -100
const AT_REMOVEDIR = 0x200
const AT_SYMLINK_FOLLOW = 0x400
const { EINTR } = ERRNO

/** Longest target of a symbolic link on any file system of Linux (PATH_MAX), bytes. */
const TARGET_MAX = 4096
const target = new Scratch(TARGET_MAX)

/**
 * @param flags O_CLOEXEC and O_NOFOLLOW are added
 * @param mode of a file that this call makes
 * @returns a descriptor; the caller closes it
 */
export function openAt(dir: number, name: Name, flags: number, mode = 0): number {
  const path = nameAddress(name)
  const fd = untilDone(openat, dir, path, flags | O_CLOEXEC | O_NOFOLLOW, mode)
  if (fd < 0) throw systemError(`open ${JSON.stringify(name)}`)
  return fd
}

/** An O_PATH descriptor of the parent directory, across mounts; for the root it is the root. */
export function openParent(dir: number): number {
  const fd = untilDone(openat, dir, stringAddress('..'), O_PATH | O_DIRECTORY | O_CLOEXEC, 0)
  if (fd < 0) throw systemError(`open the directory above fd ${dir}`)
  return fd
}

/**
 * Checks that this user may make files in a directory and that its file system is writable.
 * @throws FsError EACCES, EROFS
 */
export function assertWritable(dir: number): void {
  const failed = Number(faccessat(dir, stringAddress('.'), constants.W_OK | constants.X_OK, 0)) !== 0
  if (failed) throw systemError(`write to directory fd ${dir}`)
}

/** Makes a file without a name in the directory (O_TMPFILE), open for reading and writing. @throws EOPNOTSUPP, … */
export function openUnnamed(dir: number, mode: number): number {
  const fd = untilDone(openat, dir, stringAddress('.'), constants.O_RDWR | O_TMPFILE | O_CLOEXEC, mode)
  if (fd < 0) throw systemError(`open unnamed file in fd ${dir}`)
  return fd
}

/** Whether reading may change the access time. */
export type Trace = 'noticed' | 'unnoticed'

/** Another descriptor of the same directory, open for reading: `dir` may be O_PATH. */
export function reopenDirectory(dir: number, trace: Trace = 'noticed'): number {
  const open = (more: number): number => {
    const fd = untilDone(openat, dir, stringAddress('.'), O_RDONLY | O_DIRECTORY | O_CLOEXEC | more, 0)
    if (fd < 0) throw systemError(`reopen directory fd ${dir}`)
    return fd
  }
  return trace === 'noticed' ? open(0) : unnoticed(open)
}

/**
 * Opens a file so that reading it does not change its access time, where the kernel allows it: to the owner, and with
 * CAP_FOWNER (fs/namei.c:may_open).
 * @param open called with the flag to add, and again without it after EPERM
 */
export function unnoticed<T>(open: (flag: number) => T): T {
  try {
    return open(O_NOATIME)
  } catch (error) {
    if (codeOf(error) === 'EPERM') return open(0)
    throw error
  }
}

/**
 * Opens the file of a descriptor again with other flags, for instance an O_PATH one for writing. The file needs no
 * name.
 * @throws FsError ELOOP for a symbolic link
 */
export function reopenFd(fd: number, flags: number): number {
  const opened = untilDone(openat, AT_FDCWD, descriptorPathAddress(fd), flags | O_CLOEXEC, 0)
  if (opened < 0) throw systemError(`reopen fd ${fd}`)
  return opened
}

/** @throws FsError as mkdirat(2) */
export function mkdirAt(dir: number, name: Name, mode: number): void {
  const path = nameAddress(name)
  if (Number(mkdirat(dir, path, mode)) !== 0) throw systemError(`mkdir ${JSON.stringify(name)}`)
}

/** @param rdev as the kernel encodes it in 32 bits (`new_encode_dev`) */
export function mknodAt(dir: number, name: Name, mode: number, rdev: number): void {
  const path = nameAddress(name)
  if (systemCall('mknodat', dir, path, mode, rdev) !== 0) throw systemError(`mknod ${JSON.stringify(name)}`)
}

/** @param to target, any bytes but 0. @throws FsError as symlinkat(2) */
export function symlinkAt(to: Uint8Array, dir: number, name: Name): void {
  const path = nameAddress(name)
  const bytes = bytesAddress(to, 1)
  if (Number(symlinkat(bytes, dir, path)) !== 0) throw systemError(`symlink ${JSON.stringify(name)}`)
}

/** Links the name itself: a symbolic link is not followed. */
export function linkAt(fromDir: number, from: Name, toDir: number, to: Name): void {
  const source = nameAddress(from)
  const path = nameAddress(to, 1)
  if (Number(linkat(fromDir, source, toDir, path, 0)) === 0) return
  throw systemError(`link ${JSON.stringify(from)} to ${JSON.stringify(to)}`)
}

/**
 * Gives the file of a descriptor a name: its first one (O_TMPFILE) or a further one.
 * @throws FsError ENOENT where its last name was removed
 */
export function linkFd(fd: number, dir: number, name: Name): void {
  const source = descriptorPathAddress(fd)
  const path = nameAddress(name, 1)
  // AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH.
  if (Number(linkat(AT_FDCWD, source, dir, path, AT_SYMLINK_FOLLOW)) === 0) return
  throw systemError(`link fd ${fd} to ${JSON.stringify(name)}`)
}

/** @throws FsError as unlinkat(2), EISDIR for a directory */
export function unlinkAt(dir: number, name: Name): void {
  const path = nameAddress(name)
  if (Number(unlinkat(dir, path, 0)) !== 0) throw systemError(`unlink ${JSON.stringify(name)}`)
}

/** @throws FsError as unlinkat(2) with AT_REMOVEDIR */
export function rmdirAt(dir: number, name: Name): void {
  const path = nameAddress(name)
  if (Number(unlinkat(dir, path, AT_REMOVEDIR)) !== 0) throw systemError(`rmdir ${JSON.stringify(name)}`)
}

/** @param flags 0, RENAME_NOREPLACE or RENAME_EXCHANGE */
export function renameAt(fromDir: number, from: Name, toDir: number, to: Name, flags: number): void {
  const source = nameAddress(from)
  const path = nameAddress(to, 1)
  if (systemCall('renameat2', fromDir, source, toDir, path, flags) === 0) return
  throw systemError(`rename ${JSON.stringify(from)} to ${JSON.stringify(to)}`)
}

/** @throws FsError EINVAL where the name is no symbolic link */
export function readlinkAt(dir: number, name: Name): Uint8Array {
  return readTarget(dir, nameAddress(name), name)
}

/**
 * @param fd opened with O_PATH and O_NOFOLLOW
 * @throws FsError EINVAL or ENOENT where it is no symbolic link
 */
export function readlinkFd(fd: number): Uint8Array {
  return readTarget(fd, stringAddress(''), `fd ${fd}`)
}

function readTarget(dir: number, path: number, what: string): Uint8Array {
  const length = Number(readlinkat(dir, path, target.address, TARGET_MAX))
  if (length < 0) throw systemError(`readlink ${JSON.stringify(what)}`)
  return new Uint8Array(target.bytes.subarray(0, length))
}

/** Repeats a call that a signal interrupted: opening may wait, for instance for a network. */
function untilDone(call: ForeignFunction, ...args: readonly number[]): number {
  for (;;) {
    const result = Number(call(...args))
    if (result >= 0 || lastErrno() !== EINTR) return result
  }
}
