/**
 * Flag of open(2) that has exec close the descriptor; Node's constants lack it. The same on all machines of Node
 * (include/uapi/asm-generic/fcntl.h).
 */
export const O_CLOEXEC = 0o2000000
