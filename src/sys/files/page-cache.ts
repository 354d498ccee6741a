import { statfsSync } from 'node:fs'
import { ERRNO } from '../../base/index.ts'
import { addressOf, lastErrno } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { descriptorPath } from '../plain/proc.ts'

const preadv2 = libcFunction(
  'int64_t preadv2(int fd, const uint8_t *vector, int count, int64_t offset, int flags)',
)

/** Makes preadv2(2) return EAGAIN instead of waiting for the disk (Linux 4.14). */
const RWF_NOWAIT = 8
const { EAGAIN } = ERRNO

/** File systems that lie in memory and do not support RWF_NOWAIT (include/uapi/linux/magic.h). */
const IN_MEMORY = new Set([0x0102_1994, 0x8584_58f6])

/** Room for the bytes of one probe. All probes of a thread share it; the bytes are not used. */
const PIECE = 128 << 10
let room: { readonly vector: Buffer; readonly bytes: Uint8Array } | undefined

/**
 * Finds out whether a part of a file can be read without waiting for a disk or a network. A thread that must not wait
 * asks first; where the answer is no, another thread reads. Since Linux 6.12 the question makes the kernel read what is
 * missing: the same question may be answered otherwise a moment later (mm/filemap.c, `filemap_get_pages`; before,
 * `RWF_NOWAIT` implied `IOCB_NOIO`).
 */
export class PageCacheProbe {
  readonly #fd: number
  readonly #liesInMemory: boolean

  /**
   * Asks the file system nothing: a disk that does not answer keeps no thread from starting.
   * @param fd open for reading, or a folder for whose files `isAtHand` will be called; stays the caller's
   * @param inMemory what `liesInMemory` said of it when it was opened
   */
  constructor(fd: number, inMemory = false) {
    this.#fd = fd
    this.#liesInMemory = inMemory
  }

  /**
   * @param position byte position
   * @param length bytes, any number; probed in pieces
   * @param fd another file of the same file system
   */
  isAtHand(position: number, length: number, fd = this.#fd): boolean {
    try {
      for (let done = 0; done < length; done += PIECE) {
        if (!this.#has(fd, position + done, Math.min(PIECE, length - done))) return false
      }
      return true
    } catch {
      // A C library without preadv2 gives no answer. Most data is in the page cache.
      return true
    }
  }

  #has(fd: number, position: number, length: number): boolean {
    const { vector } = roomOfThread()
    vector.writeBigUInt64LE(BigInt(length), 8)
    const count = Number(preadv2(fd, vector, 1, position, RWF_NOWAIT))
    // EAGAIN: the page cache lacks the bytes. Any other error: the file system does not support RWF_NOWAIT.
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

/** Whether the bytes of a file, or of the files of a folder, lie in memory. Waits where the disk does not answer. */
export function liesInMemory(fd: number): boolean {
  try {
    return IN_MEMORY.has(Number(statfsSync(descriptorPath(fd)).type))
  } catch {
    return false
  }
}
