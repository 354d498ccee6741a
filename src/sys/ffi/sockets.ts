import { libcFunction } from './libc.ts'

/** What all users of unix sockets share (include/linux/net.h). The same on all machines of Node. */

export const AF_UNIX = 1
export const SOCK_STREAM = 1
export const SOCK_CLOEXEC = 0o2000000

/** socket(2): -1 where it fails, with the errno. */
export const socket = libcFunction('int socket(int domain, int type, int protocol)')
