import { statfsSync } from 'node:fs'
import { addressOf, lastErrno } from './ffi.ts'
import { libcFunction } from './libc.ts'
import { descriptorPath } from './proc.ts'

const preadv2 = libcFunction(
  'int64_t preadv2(int fd, const uint8_t *vector, int count, int64_t offset, int flags)',
)

/** Answer EAGAIN instead of waiting for the disk (preadv2(2), Linux 4.14). */
const RWF_NOWAIT = 8
const EAGAIN = 11

/** File systems that lie in memory and do not know RWF_NOWAIT (include/uapi/linux/magic.h). */
const IN_MEMORY = new Set([0x0102_1994, 0x8584_58f6])

/**
 * Tells whether a part of a file can be read without waiting for a disk or a network. A thread that must not wait
 * asks first, and has another one read where the answer is no.
 */
export class PageCacheProbe {
  readonly #bytes: Uint8Array
  readonly #vector = Buffer.alloc(16)
  /** Descriptors of files in memory. Asked for now, because later statfs(2) itself could wait for a dead disk. */
  readonly #inMemory: ReadonlySet<number>

  /**
   * @param limit longest range, bytes: longer ones are never at hand
   * @param fds the files that will be asked about
   */
  constructor(limit: number, fds: readonly number[]) {
    this.#inMemory = new Set(fds.filter(liesInMemory))
    this.#bytes = new Uint8Array(limit)
    this.#vector.writeBigUInt64LE(BigInt(addressOf(this.#bytes)), 0)
  }

  isAtHand(fd: number, position: number, length: number): boolean {
    if (length > this.#bytes.length) return false
    try {
      return this.#ask(fd, position, length)
    } catch {
      // A C library without preadv2: nothing can be known, and most data is at hand.
      return true
    }
  }

  #ask(fd: number, position: number, length: number): boolean {
    this.#vector.writeBigUInt64LE(BigInt(length), 8)
    const count = Number(preadv2(fd, this.#vector, 1, position, RWF_NOWAIT))
    if (count >= 0) return count === length
    return lastErrno() !== EAGAIN && this.#inMemory.has(fd)
  }
}

function liesInMemory(fd: number): boolean {
  try {
    return IN_MEMORY.has(Number(statfsSync(descriptorPath(fd)).type))
  } catch {
    return false
  }
}
