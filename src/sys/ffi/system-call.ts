import { libcFunction } from './libc.ts'

/**
 * System calls by number, for those that some C libraries lack: glibc has no symbol `mknodat` before 2.33, musl got
 * `renameat2` and `statx` late. On all Linux machines of Node 20 a variadic function takes its integer arguments as a
 * plain one does, so the prototype is a plain one.
 */
const syscall = libcFunction(
  'int64_t syscall(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)',
)

/** arch/x86/entry/syscalls/syscall_64.tbl */
const X64 = { getdents64: 217, mknodat: 259, renameat2: 316, copy_file_range: 326, statx: 332 } as const

export type SystemCall = keyof typeof X64

/** include/uapi/asm-generic/unistd.h: all machines but x86. */
const GENERIC: Readonly<Record<SystemCall, number>> = {
  getdents64: 61,
  mknodat: 33,
  renameat2: 276,
  copy_file_range: 285,
  statx: 291,
}

const NUMBERS: Readonly<Record<SystemCall, number>> = process.arch === 'x64' ? X64 : GENERIC

/**
 * @returns the result of the kernel; −1 with `lastErrno` set where the call failed. Pointers are passed as addresses.
 */
export function systemCall(call: SystemCall, a: number, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  return Number(syscall(NUMBERS[call], a, b, c, d, e, f))
}
