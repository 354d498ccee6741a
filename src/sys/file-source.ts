import { fstatSync } from 'node:fs'
import { type ByteSource, FsError } from '../base/index.ts'
import { lastErrno, systemError } from './ffi.ts'
import { beginReading } from './file-io.ts'
import { libcFunction } from './libc.ts'
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

/** A part of another source, such as an image at an offset in a file. */
export class WindowSource implements ByteSource {
  readonly size: number
  readonly label: string
  readonly #source: ByteSource
  readonly #start: number

  /** @param length bytes; by default to the end. @throws FsError EINVAL where the window leaves the source */
  constructor(source: ByteSource, start: number, length: number = source.size - start) {
    if (!Number.isSafeInteger(start) || start < 0 || !(length >= 0) || start + length > source.size) {
      throw new FsError('EINVAL', `${source.label}: window ${start}+${length} outside ${source.size} bytes`)
    }
    this.#source = source
    this.#start = start
    this.size = length
    this.label = source.label
  }

  readInto(position: number, target: Uint8Array): void {
    checkRange(this, position, target.length)
    this.#source.readInto(this.#start + position, target)
  }

  isAtHand(position: number, length: number): boolean {
    return this.#source.isAtHand?.(this.#start + position, length) !== false
  }

  willNeed(position: number, length: number): void {
    const inside = Math.min(length, this.size - position)
    if (inside > 0) this.#source.willNeed?.(this.#start + position, inside)
  }
}

function checkRange(source: ByteSource, position: number, length: number): void {
  if (!(position >= 0) || position + length > source.size) {
    throw new FsError('EIO', `${source.label}: read ${position}+${length} outside ${source.size} bytes`)
  }
}
