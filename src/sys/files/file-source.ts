import { fstatSync } from 'node:fs'
import { type ByteSource, checkRange, FsError, messageOf } from '../../base/index.ts'
import { beginReading, pread } from './file-io.ts'
import { PageCacheProbe } from './page-cache.ts'

/** The bytes of an open file. The descriptor stays the caller's, who closes it after `close`. */
export class FileSource implements ByteSource {
  readonly size: number
  readonly label: string
  readonly fd: number
  readonly #pageCache: PageCacheProbe
  #closed = false

  /**
   * @param size bytes; by default the current size of the file
   * @param inMemory as for `PageCacheProbe`
   */
  constructor(fd: number, label: string, size: number = fstatSync(fd).size, inMemory = false) {
    this.fd = fd
    this.label = label
    this.size = size
    this.#pageCache = new PageCacheProbe(fd, inMemory)
  }

  isAtHand(position: number, length: number): boolean {
    return this.#closed || this.#pageCache.isAtHand(position, length)
  }

  willNeed(position: number, length: number): void {
    if (!this.#closed) beginReading(this.fd, position, length)
  }

  close(): void {
    this.#closed = true
  }

  readInto(position: number, target: Uint8Array): void {
    if (this.#closed) throw new FsError('EIO', `${this.label}: read after it was closed`)
    checkRange(this, position, target.length)
    const count = this.#read(position, target)
    if (count === target.length) return
    throw new FsError(
      'EIO',
      `${this.label}: file ends at ${position + count}, expected ${target.length - count} more bytes`,
    )
  }

  #read(position: number, target: Uint8Array): number {
    try {
      // Costs about half as much as fs.readSync.
      return pread(this.fd, position, target)
    } catch (error) {
      throw new FsError('EIO', `${this.label}: ${messageOf(error)}`, { cause: error })
    }
  }
}
