import { FsError, type Name, type PathText, systemPath } from '../../base/index.ts'
import { descriptorPath } from '../plain/proc.ts'
import { Scratch } from './scratch.ts'

/** PATH_MAX (include/uapi/linux/limits.h): longest path or link target with its NUL, bytes. */
const PATH_MAX = 4096

/**
 * Memory for the strings of system calls, so that a call allocates nothing: one slot for each string of a call. Each
 * thread has its own copy of this module, and so its own memory.
 */
const memory = new Scratch(2 * PATH_MAX)

/** Index of a string in a call: the second slot is for calls that take two. */
export type Slot = 0 | 1

/**
 * Refuses everything but the name of one component: with `/` or `..` a call would leave its directory.
 * @throws EINVAL
 */
export function assertComponent(name: Name): void {
  if (name === '' || name === '.' || name === '..' || name.includes('/')) {
    throw new FsError('EINVAL', `${JSON.stringify(name)} is no file name`)
  }
}

/** @returns the address of the name as a C string, valid until the slot is used again. @throws EINVAL, ENAMETOOLONG */
export function nameAddress(name: Name, slot: Slot = 0): number {
  assertComponent(name)
  return stringAddress(name, slot)
}

/**
 * As `nameAddress`, for any string of bytes.
 * @throws EINVAL for a NUL, which would end the string early; ENAMETOOLONG
 */
export function stringAddress(text: Name, slot: Slot = 0): number {
  if (text.includes('\0')) throw new FsError('EINVAL', `NUL in ${JSON.stringify(text)}`)
  if (text.length >= PATH_MAX) throw new FsError('ENAMETOOLONG', `string of ${text.length} bytes`)
  const at = slot * PATH_MAX
  memory.bytes.write(text, at, 'latin1')
  memory.bytes[at + text.length] = 0
  return memory.address + at
}

/** A path for a parameter `const char *`: the FFI encodes text as UTF-8, and passes bytes as they are. */
export function cPath(path: PathText): string | Uint8Array {
  const exact = systemPath(path)
  return typeof exact === 'string' ? exact : Buffer.concat([exact, Buffer.alloc(1)])
}

/** As `stringAddress` for bytes, such as the target of a symbolic link. */
export function bytesAddress(bytes: Uint8Array, slot: Slot = 0): number {
  if (bytes.includes(0)) throw new FsError('EINVAL', `NUL at ${bytes.indexOf(0)} of ${bytes.length} bytes`)
  if (bytes.length >= PATH_MAX) throw new FsError('ENAMETOOLONG', `string of ${bytes.length} bytes`)
  const at = slot * PATH_MAX
  memory.bytes.set(bytes, at)
  memory.bytes[at + bytes.length] = 0
  return memory.address + at
}

/**
 * Address of a path that leads to the open file of a descriptor, for calls that do not take O_PATH descriptors. For a
 * descriptor of a symbolic link it leads to the link: the kernel does not follow what the path leads to.
 */
export function descriptorPathAddress(fd: number, slot: Slot = 0): number {
  return stringAddress(descriptorPath(fd), slot)
}
