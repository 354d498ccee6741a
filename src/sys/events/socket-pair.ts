import { systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'
import { AF_UNIX, SOCK_CLOEXEC } from '../ffi/sockets.ts'

const socketpair = libcFunction('int socketpair(int domain, int type, int protocol, uintptr_t pair)')

/** Keeps the bounds of messages, as /dev/fuse does. */
const SOCK_SEQPACKET = 5
/** include/linux/net.h: that of open(2), on the machines of Node. */
const SOCK_NONBLOCK = 0o4000

/**
 * Two ends of a connection over which whole messages go, and which nobody else knows.
 * @returns descriptors that the caller closes. @throws FsError EMFILE, ENFILE, ENOMEM, EPERM
 */
export function openSocketPair(): readonly [number, number] {
  const pair = new Scratch(8)
  const type = SOCK_SEQPACKET + SOCK_CLOEXEC + SOCK_NONBLOCK
  if (Number(socketpair(AF_UNIX, type, 0, pair.address)) < 0) throw systemError('socketpair')
  const [one = -1, other = -1] = pair.words()
  return [one, other]
}
