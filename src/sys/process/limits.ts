import { libcFunction } from '../ffi/libc.ts'

const RLIMIT_NOFILE = 7
/** Descriptors that a process may have at most without more memory for its table than it is worth. */
const OPEN_FILES = 1 << 20

const setrlimit = libcFunction('int setrlimit(int resource, const uint8_t *limit)')
const getrlimit = libcFunction('int getrlimit(int resource, uint8_t *limit)')

/** Descriptors that this process may have (getrlimit(2)). */
export function openFilesLimit(): number {
  const limit = Buffer.alloc(16)
  if (Number(getrlimit(RLIMIT_NOFILE, limit)) !== 0) return 0
  const soft = limit.readBigUInt64LE(0)
  return soft > BigInt(OPEN_FILES) ? OPEN_FILES : Number(soft)
}

/** Lets this process open as many files as it may (getrlimit(2)); more than it was given where it has that right. */
export function raiseOpenFiles(): void {
  const limit = Buffer.alloc(16)
  if (Number(getrlimit(RLIMIT_NOFILE, limit)) !== 0) return
  const hard = limit.readBigUInt64LE(8)
  for (const wanted of [BigInt(OPEN_FILES), hard]) {
    const highest = wanted > hard ? wanted : hard
    limit.writeBigUInt64LE(wanted < highest ? wanted : highest, 0)
    limit.writeBigUInt64LE(highest, 8)
    if (Number(setrlimit(RLIMIT_NOFILE, limit)) === 0) return
  }
}
