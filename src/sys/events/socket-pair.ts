import { systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'
import { AF_UNIX, SOCK_CLOEXEC } from '../ffi/sockets.ts'

const socketpair = libcFunction('int socketpair(int domain, int type, int protocol, uintptr_t pair)')

/** Keeps the bounds of messages, as /dev/fuse does. */
export const SOCK_SEQPACKET = 5
/** include/linux/net.h: that of open(2), on the machines of Node. */
export const SOCK_NONBLOCK = 0o4000

/**
 * Two ends of a connection which nobody else knows; exec closes them.
 * @param type as for socket(2)
 * @returns descriptors that the caller closes. @throws FsError EMFILE, ENFILE, ENOMEM, EPERM
 */
export function openSocketPair(type: number): readonly [number, number] {
  const pair = new Scratch(8)
  if (Number(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair.address)) < 0) throw systemError('socketpair')
  const [one = -1, other = -1] = pair.words()
  return [one, other]
}
