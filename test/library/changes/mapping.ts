import { systemError } from '../../../src/sys/ffi/ffi.ts'
import { libcFunction } from '../../../src/sys/ffi/libc.ts'

/** Writing to files through shared memory maps; see `direct-io.ts` for reading. */
const mmap = libcFunction(
  'intptr_t mmap(uintptr_t at, size_t length, int protection, int flags, int fd, int64_t o)',
)
const munmap = libcFunction('int munmap(uintptr_t at, size_t length)')
const msync = libcFunction('int msync(uintptr_t at, size_t length, int flags)')
const memcpy = libcFunction('uintptr_t memcpy(uintptr_t to, const uint8_t *from, size_t length)')

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
const MS_SYNC = 4
/** Maps begin at a multiple of it on all machines, those with pages of 16 and 64 KiB too. */
const ALIGNMENT = 65_536

/**
 * Changes bytes of an open file by a store into its pages. All of them must lie within the file: beyond its last
 * page a store is a SIGBUS.
 * @param sync write them to the file system before the map goes
 */
export function writeMapped(fd: number, offset: number, data: Uint8Array, sync = false): void {
  const before = offset % ALIGNMENT
  const length = before + data.length
  const start = Number(mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset - before))
  if (start === -1) throw systemError(`mmap of ${length} bytes at ${offset - before}`)
  try {
    memcpy(start + before, data, data.length)
    if (sync && Number(msync(start, length, MS_SYNC)) !== 0) throw systemError('msync')
  } finally {
    munmap(start, length)
  }
}
