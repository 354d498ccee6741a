import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'
import { readAt, writeFrom } from '../files/device-io.ts'

/**
 * A counter of the kernel (eventfd(2)) that wakes a thread which waits in poll(2). Any thread of the process can ring
 * it by its descriptor number.
 */

const eventfd = libcFunction('int eventfd(unsigned int initial, int flags)')

/** include/uapi/linux/eventfd.h: O_CLOEXEC and O_NONBLOCK on the machines of Node. */
const EFD_CLOEXEC = 0o2000000
const EFD_NONBLOCK = 0o4000

const COUNTER_SIZE = 8
const one = new Scratch(COUNTER_SIZE)
one.words()[0] = 1
const counter = new Scratch(COUNTER_SIZE)

/** @returns a descriptor that the caller closes. @throws FsError EMFILE, ENFILE, ENOMEM */
export function openBell(): number {
  const fd = Number(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
  if (fd < 0) throw systemError(`eventfd: errno ${lastErrno()}`)
  return fd
}

/** Makes the descriptor readable. */
export function ringBell(fd: number): void {
  writeFrom(fd, one.address, COUNTER_SIZE)
}

/** Makes the descriptor unreadable until the next ring. */
export function clearBell(fd: number): void {
  readAt(fd, counter.address, COUNTER_SIZE)
}
