import { libcFunction } from './libc.ts'

/** What all users of unix sockets share (include/linux/net.h). The same on all machines of Node. */

export const AF_UNIX = 1
export const SOCK_STREAM = 1
export const SOCK_CLOEXEC = 0o2000000

/** socket(2) and fcntl(2) with a number; both return -1 and leave the errno. */
export const socket = libcFunction('int socket(int domain, int type, int protocol)')
export const fcntl = libcFunction('int fcntl(int fd, int command, int argument)')
