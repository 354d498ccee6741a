import { lastErrno } from '../../../src/sys/ffi/ffi.ts'
import { libcFunction } from '../../../src/sys/ffi/libc.ts'

/** Handles of files, as file servers keep them (open_by_handle_at(2)). */
const nameToHandle = libcFunction(
  'int name_to_handle_at(int dir, uint8_t *path, uint8_t *handle, uint8_t *mountId, int flags)',
)
const openByHandle = libcFunction('int open_by_handle_at(int mount, uint8_t *handle, int flags)')

const AT_FDCWD = -100
const AT_EMPTY_PATH = 0x1000
/** include/linux/exportfs.h MAX_HANDLE_SZ, behind `handle_bytes` and `handle_type`. */
const MOST_BYTES = 128
const HEADER = 8

/** `struct file_handle`. For FUSE it has a node id of 64 bits in two words, the high one first, and a generation. */
export type FileHandle = Buffer

/** @param file a descriptor, or a path; a symbolic link at its end is not followed */
export function handleOf(file: string | number): FileHandle {
  const handle = Buffer.alloc(HEADER + MOST_BYTES)
  handle.writeUInt32LE(MOST_BYTES, 0)
  const [dir, path, flags] = typeof file === 'number' ? [file, '', AT_EMPTY_PATH] : [AT_FDCWD, file, 0]
  const result = nameToHandle(dir, Buffer.from(`${path}\0`), handle, Buffer.alloc(4), flags)
  if (result !== 0) throw new Error(`name_to_handle_at ${file}: errno ${lastErrno()}`)
  return handle
}

/**
 * Needs CAP_DAC_READ_SEARCH.
 * @param mountFd of any directory of the mount
 * @param flags as open(2)
 * @returns a descriptor, or the number of the error, negative
 */
export function openHandle(mountFd: number, handle: FileHandle, flags: number): number {
  const fd = Number(openByHandle(mountFd, handle, flags))
  return fd < 0 ? -lastErrno() : fd
}

/** The same handle for another node id. */
export function withNodeId(handle: FileHandle, nodeId: bigint): FileHandle {
  const forged = Buffer.from(handle)
  forged.writeUInt32LE(Number(nodeId >> 32n), HEADER)
  forged.writeUInt32LE(Number(nodeId & 0xffff_ffffn), HEADER + 4)
  return forged
}

/** Of a FUSE mount. */
export function nodeIdOf(handle: FileHandle): bigint {
  return (BigInt(handle.readUInt32LE(HEADER)) << 32n) | BigInt(handle.readUInt32LE(HEADER + 4))
}
