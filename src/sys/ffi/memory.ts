import { readFileSync } from 'node:fs'
import { procPath } from '../plain/proc.ts'
import { addressOf } from './ffi.ts'
import { libcFunction } from './libc.ts'

const madvise = libcFunction('int madvise(uintptr_t address, size_t length, int advice)')
const mlock = libcFunction('int mlock(uintptr_t address, size_t length)')
const mmap = libcFunction(
  'int64_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
)
const munmap = libcFunction('int munmap(uintptr_t address, size_t length)')
const mallocTrim = libcFunction('int malloc_trim(size_t pad)')

/** include/uapi/asm-generic/mman-common.h: the pages are zero when they are touched next. */
const MADV_DONTNEED = 4
/** The pages are in no core dump (madvise(2)). */
const MADV_DONTDUMP = 16
/** include/uapi/asm-generic/mman-common.h and mman.h, the same on the machines of Node. */
const PROT_NONE = 0
const MAP_PRIVATE = 0x02
const MAP_ANONYMOUS = 0x20
const MAP_NORESERVE = 0x4000
/** Pages of all machines of Node are powers of two up to this. */
const PAGE_MAX = 65_536

/** Gives the memory of whole pages among `bytes` back to the system. What they hold is lost. */
export function giveBackPages(bytes: Uint8Array): void {
  const start = addressOf(bytes)
  const first = Math.ceil(start / PAGE_MAX) * PAGE_MAX
  const end = Math.floor((start + bytes.length) / PAGE_MAX) * PAGE_MAX
  if (end > first) madvise(first, end - first, MADV_DONTNEED)
}

/**
 * Memory of a page, and of as much before and behind it as alignment needs, for what must reach no disk: it is in no core
 * dump, and, as far as this user may lock memory, never swapped out.
 * @returns the page; the rest of its buffer is not used
 */
export function secretPage(): Uint8Array {
  const buffer = new Uint8Array(new SharedArrayBuffer(2 * PAGE_MAX))
  const start = addressOf(buffer)
  const skip = Math.ceil(start / PAGE_MAX) * PAGE_MAX - start
  const page = buffer.subarray(skip, skip + PAGE_MAX)
  madvise(start + skip, PAGE_MAX, MADV_DONTDUMP)
  // Only what is touched takes memory, and only that is worth locking: keys lie at the start.
  mlock(start + skip, SECRET_BYTES)
  return page.subarray(0, SECRET_BYTES)
}

/** Bytes of `secretPage`, for some tens of keys. */
const SECRET_BYTES = 4096

/**
 * Whether so many bytes of address space are left (RLIMIT_AS, `ulimit -v`). V8 ends the process where it finds none, so
 * it has to be asked before.
 */
export function hasAddressSpace(bytes: number): boolean {
  const address = Number(mmap(0, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))
  if (address <= 0) return false
  munmap(address, bytes)
  return true
}

/** Lets the C library give back what it holds for later. musl has no such function, and holds little. */
export function trimHeap(): void {
  try {
    mallocTrim(0)
  } catch {
    // musl.
  }
}

/**
 * Resident memory of this process, bytes; 0 where it cannot be read. `process.memoryUsage` reads `/proc` by an absolute
 * path, which `procPath` avoids.
 */
export function residentBytes(): number {
  try {
    const kibibytes = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(procPath('self/status'), 'latin1'))?.[1]
    return Number(kibibytes ?? 0) * 1024
  } catch {
    return 0
  }
}
