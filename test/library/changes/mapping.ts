import { openLibrary, systemError } from '../../../src/sys/ffi/ffi.ts'

/** Writing to files through shared memory maps; see `direct-io.ts` for reading. */
const libc = openLibrary(['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1'])
if (libc === undefined) throw new Error('no C library for the tests')

const mmap = libc.bind(
  'intptr_t mmap(uintptr_t at, size_t length, int protection, int flags, int fd, int64_t o)',
)
const munmap = libc.bind('int munmap(uintptr_t at, size_t length)')
const msync = libc.bind('int msync(uintptr_t at, size_t length, int flags)')
const memcpy = libc.bind('uintptr_t memcpy(uintptr_t to, const uint8_t *from, size_t length)')

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
