import { lastErrno } from '../../../src/sys/ffi/ffi.ts'
import { libcFunction } from '../../../src/sys/ffi/libc.ts'

/** Ways to read a file and a directory that Node does not offer, for the child programs of the tests. */
const getdents64 = libcFunction('int64_t getdents64(int fd, uint8_t *buffer, size_t size)')
const lseek = libcFunction('int64_t lseek(int fd, int64_t offset, int whence)')
const mmap = libcFunction(
  'intptr_t mmap(intptr_t at, size_t length, int prot, int flags, int fd, int64_t offset)',
)
const munmap = libcFunction('int munmap(intptr_t at, size_t length)')
const memcpy = libcFunction('intptr_t memcpy(uint8_t *target, intptr_t source, size_t length)')
const posixFadvise = libcFunction('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)')

const PROT_READ = 1
const MAP_SHARED = 1
const POSIX_FADV_DONTNEED = 4
const SEEK_SET = 0
const PAGE = 4096

/** Reads through a shared mapping: the kernel faults the pages in one by one, or by its own read-around. */
export function readMapped(fd: number, position: number, length: number): Buffer {
  const first = Math.floor(position / PAGE) * PAGE
  const span = position - first + length
  const at = Number(mmap(0, span, PROT_READ, MAP_SHARED, fd, first))
  if (at === -1) throw new Error(`mmap of ${span} bytes at ${first}: errno ${lastErrno()}`)
  try {
    const bytes = Buffer.alloc(length)
    memcpy(bytes, at + position - first, length)
    return bytes
  } finally {
    munmap(at, span)
  }
}

/** Takes the pages of a file out of the page cache, so that the next read goes to the file system. */
export function dropPages(fd: number): void {
  const error = Number(posixFadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
  if (error !== 0) throw new Error(`posix_fadvise: errno ${error}`)
}

/** One name as getdents64(2) gives it. `cookie` is `d_off`: where to seek to go on after it. */
export interface RawEntry {
  readonly name: string
  readonly ino: number
  readonly type: number
  readonly cookie: bigint
}

/** One getdents64 call. @param size bytes of the buffer: how many entries come at once. Empty at the end. */
export function readEntries(fd: number, size: number): RawEntry[] {
  const buffer = Buffer.alloc(size)
  const filled = Number(getdents64(fd, buffer, size))
  if (filled < 0) throw new Error(`getdents64: errno ${lastErrno()}`)
  const entries: RawEntry[] = []
  for (let at = 0; at < filled; ) {
    const length = buffer.readUInt16LE(at + 16)
    const end = buffer.indexOf(0, at + 19)
    entries.push({
      ino: Number(buffer.readBigUInt64LE(at)),
      cookie: buffer.readBigInt64LE(at + 8),
      type: buffer[at + 18] ?? 0,
      name: buffer.toString('latin1', at + 19, end),
    })
    at += length
  }
  return entries
}

/** seekdir(3): the next `readEntries` goes on after the entry that gave the cookie; 0 is the start. */
export function seekEntries(fd: number, cookie: bigint): void {
  if (BigInt(lseek(fd, cookie, SEEK_SET) as number | bigint) !== cookie) {
    throw new Error(`lseek of a directory to ${cookie}: errno ${lastErrno()}`)
  }
}
