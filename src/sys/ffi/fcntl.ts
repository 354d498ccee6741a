import { libcFunction } from './libc.ts'

/** fcntl(2) with a number: -1 where it fails, with the errno. */
export const fcntl = libcFunction('int fcntl(int fd, int command, int argument)')

// include/uapi/asm-generic/fcntl.h
export const F_GETFL = 3
export const F_SETFL = 4
