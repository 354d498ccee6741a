import { constants } from 'node:fs'
import { ERRNO } from '../../base/index.ts'
import { F_GETFL, F_SETFL, fcntl } from '../ffi/fcntl.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'

const lseek = libcFunction('int64_t lseek(int fd, int64_t offset, int whence)')
const dup2 = libcFunction('int dup2(int from, int to)')
const memfdCreate = libcFunction('int memfd_create(const char *name, unsigned int flags)')

/** include/uapi/linux/fcntl.h */
const F_DUPFD_CLOEXEC = 1030
const { O_NONBLOCK } = constants
/** include/uapi/linux/memfd.h */
const MFD_CLOEXEC = 1

// include/uapi/linux/fs.h
const SEEK_DATA = 3
const SEEK_HOLE = 4

const { ENXIO } = ERRNO

/**
 * Start of the next data or hole of an open file at or after `offset`, bytes; undefined where there is none (lseek(2)).
 * Moves the file position, which no code of this program uses.
 */
export function seekExtent(fd: number, offset: number, whence: 'data' | 'hole'): number | undefined {
  const position = Number(lseek(fd, offset, whence === 'data' ? SEEK_DATA : SEEK_HOLE))
  if (position >= 0) return position
  if (lastErrno() === ENXIO) return undefined
  throw systemError(`lseek fd ${fd} to ${whence} from ${offset}`)
}

/**
 * Makes the number `to` refer to the open file of `from` in one step, and closes what it referred to before (dup2(2)).
 */
export function replaceDescriptor(from: number, to: number): void {
  if (Number(dup2(from, to)) < 0) throw systemError(`dup2 ${from} to ${to}`)
}

/** Another descriptor of the open file of `fd`, closed on exec. */
export function duplicateDescriptor(fd: number): number {
  const copy = Number(fcntl(fd, F_DUPFD_CLOEXEC, 0))
  if (copy < 0) throw systemError(`duplicate descriptor ${fd}`)
  return copy
}

/** Makes reads and writes of the open file return EAGAIN instead of waiting, through all of its descriptors. */
export function setNonBlocking(fd: number): void {
  const flags = Number(fcntl(fd, F_GETFL, 0))
  if (flags < 0 || Number(fcntl(fd, F_SETFL, flags | O_NONBLOCK)) < 0) throw systemError('fcntl')
}

/**
 * An empty file in memory that has no name (memfd_create(2)); it lives as long as a descriptor of it is open.
 * @param name for `/proc`
 * @throws FsError ENOMEM, EMFILE
 */
export function createMemoryFile(name: string): number {
  const fd = Number(memfdCreate(name.slice(0, 200), MFD_CLOEXEC))
  if (fd < 0) throw systemError('make a file in memory')
  return fd
}
