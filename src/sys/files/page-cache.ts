import { statfsSync } from 'node:fs'
import { ERRNO } from '../../base/index.ts'
import { addressOf, lastErrno } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { descriptorPath } from '../plain/proc.ts'

const preadv2 = libcFunction(
  'int64_t preadv2(int fd, const uint8_t *vector, int count, int64_t offset, int flags)',
)

/** Answer EAGAIN instead of waiting for the disk (preadv2(2), Linux 4.14). */
const RWF_NOWAIT = 8
const { EAGAIN } = ERRNO

/** File systems that lie in memory and do not know RWF_NOWAIT (include/uapi/linux/magic.h). */
const IN_MEMORY = new Set([0x0102_1994, 0x8584_58f6])

/** Room for the bytes of one probe, shared by all probes of a thread; the bytes are not used. */
const PIECE = 128 << 10
let room: { readonly vector: Buffer; readonly bytes: Uint8Array } | undefined

/**
 * Tells whether a part of a file can be read without waiting for a disk or a network. A thread that must not wait
 * asks first, and has another thread read where the answer is no.
 */
export class PageCacheProbe {
  readonly #fd: number
  /** Asked for now, because later statfs(2) itself could wait for a dead disk. */
  readonly #liesInMemory: boolean

  /** @param fd open for reading, or a folder whose files will be asked about; stays the caller's */
  constructor(fd: number) {
    this.#fd = fd
    this.#liesInMemory = liesInMemory(fd)
  }

  /**
   * @param position byte position
   * @param length bytes: any number, asked for in pieces
   * @param fd another file of the same file system
   */
  isAtHand(position: number, length: number, fd = this.#fd): boolean {
    try {
      for (let done = 0; done < length; done += PIECE) {
        if (!this.#has(fd, position + done, Math.min(PIECE, length - done))) return false
      }
      return true
    } catch {
      // A C library without preadv2: nothing can be known, and most data is at hand.
      return true
    }
  }

  #has(fd: number, position: number, length: number): boolean {
    const { vector } = roomOfThread()
    vector.writeBigUInt64LE(BigInt(length), 8)
    const count = Number(preadv2(fd, vector, 1, position, RWF_NOWAIT))
    // EAGAIN is the answer of a page cache without the bytes; any other error that of a file system that cannot say.
    return count >= 0 ? count === length : lastErrno() !== EAGAIN && this.#liesInMemory
  }
}

function roomOfThread(): NonNullable<typeof room> {
  if (room === undefined) {
    const bytes = new Uint8Array(PIECE)
    const vector = Buffer.alloc(16)
    vector.writeBigUInt64LE(BigInt(addressOf(bytes)), 0)
    room = { vector, bytes }
  }
  return room
}

function liesInMemory(fd: number): boolean {
  try {
    return IN_MEMORY.has(Number(statfsSync(descriptorPath(fd)).type))
  } catch {
    return false
  }
}
