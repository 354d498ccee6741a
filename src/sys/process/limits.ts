import { libcFunction } from '../ffi/libc.ts'

const RLIMIT_CORE = 4
const RLIMIT_NOFILE = 7
/** RLIMIT_NOFILE to ask for: above it the kernel's descriptor table costs more memory than it is worth. */
const OPEN_FILES = 1 << 20

const setrlimit = libcFunction('int setrlimit(int resource, const uint8_t *limit)')
const getrlimit = libcFunction('int getrlimit(int resource, uint8_t *limit)')

/** Soft limit of open descriptors of this process, at most `OPEN_FILES` (getrlimit(2)). */
export function openFilesLimit(): number {
  const limit = Buffer.alloc(16)
  if (Number(getrlimit(RLIMIT_NOFILE, limit)) !== 0) return 0
  const soft = limit.readBigUInt64LE(0)
  return soft > BigInt(OPEN_FILES) ? OPEN_FILES : Number(soft)
}

/**
 * Raises the soft limit of open files to `OPEN_FILES`. Where the hard limit is lower, this takes CAP_SYS_RESOURCE; without
 * it the soft limit becomes the hard one (setrlimit(2)). A limit that is higher, or none, stays.
 */
export function raiseOpenFiles(): void {
  const limit = Buffer.alloc(16)
  if (Number(getrlimit(RLIMIT_NOFILE, limit)) !== 0) return
  for (const { soft, hard } of higherLimits(limit.readBigUInt64LE(0), limit.readBigUInt64LE(8))) {
    limit.writeBigUInt64LE(soft, 0)
    limit.writeBigUInt64LE(hard, 8)
    if (Number(setrlimit(RLIMIT_NOFILE, limit)) === 0) return
  }
}

/**
 * The limits to try, best first; empty where nothing is to be raised. Numbers as in `struct rlimit`, where the highest is
 * "unlimited" (RLIM_INFINITY).
 */
export function higherLimits(
  soft: bigint,
  hard: bigint,
): readonly { readonly soft: bigint; readonly hard: bigint }[] {
  const wanted = BigInt(OPEN_FILES)
  if (soft >= wanted) return []
  if (hard >= wanted) return [{ soft: wanted, hard }]
  const best = { soft: wanted, hard: wanted }
  return hard > soft ? [best, { soft: hard, hard }] : [best]
}

/**
 * From now on this process leaves no core file, and hands none to a program either (core(5)): a limit of 0 would not keep
 * the kernel from piping it, and one of 1 does both (fs/coredump.c). Processes that it starts inherit the limit, and may
 * raise it.
 * @returns sets the limit back
 */
export function forbidCoreDumps(): () => void {
  const before = Buffer.alloc(16)
  if (Number(getrlimit(RLIMIT_CORE, before)) !== 0) return () => undefined
  const limit = Buffer.from(before)
  const hard = before.readBigUInt64LE(8)
  limit.writeBigUInt64LE(hard < 1n ? hard : 1n, 0)
  setrlimit(RLIMIT_CORE, limit)
  return () => void setrlimit(RLIMIT_CORE, before)
}
