import { fstatSync } from 'node:fs'
import { type ByteSource, checkRange, FsError } from '../../base/index.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { beginReading } from './file-io.ts'
import { PageCacheProbe } from './page-cache.ts'

const EINTR = 4

// Costs about half of fs.readSync.
const pread = libcFunction('int64_t pread(int fd, void *buffer, size_t count, int64_t offset)')

/** Bytes of an open file. The descriptor belongs to the caller, who closes it when no reader is left. */
export class FileSource implements ByteSource {
  readonly size: number
  readonly label: string
  readonly fd: number
  readonly #pageCache: PageCacheProbe

  /** @param size bytes; by default the size of the file now */
  constructor(fd: number, label: string, size: number = fstatSync(fd).size) {
    this.fd = fd
    this.label = label
    this.size = size
    this.#pageCache = new PageCacheProbe(fd)
  }

  isAtHand(position: number, length: number): boolean {
    return this.#pageCache.isAtHand(position, length)
  }

  willNeed(position: number, length: number): void {
    beginReading(this.fd, position, length)
  }

  readInto(position: number, target: Uint8Array): void {
    checkRange(this, position, target.length)
    let done = 0
    while (done < target.length) {
      const rest = done === 0 ? target : target.subarray(done)
      const count = Number(pread(this.fd, rest, rest.length, position + done))
      if (count < 0) {
        if (lastErrno() === EINTR) continue
        const cause = systemError(`${this.label}: read at ${position + done}`)
        throw new FsError('EIO', cause.message, { cause })
      }
      if (count === 0) {
        throw new FsError(
          'EIO',
          `${this.label}: file ends at ${position + done}, expected ${target.length - done} more bytes`,
        )
      }
      done += count
    }
  }
}
