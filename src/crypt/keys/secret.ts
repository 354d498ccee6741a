import { FsError } from '../../base/index.ts'
import { secretPage } from '../../sys/ffi/memory.ts'

/**
 * A key in memory that all threads of this process share. Plain data: it goes to a thread as it is, and never to another
 * process, a log or a file.
 */
export interface Secret {
  /** Memory that is in no core dump; the first byte is 0 once the key is wiped. */
  readonly memory: SharedArrayBuffer
  /** Where its state byte lies; the key follows. */
  readonly offset: number
  /** Bytes of the key. */
  readonly length: number
}

const PRESENT = 1

/** Where the next secret goes; all of them lie in one page as long as they fit. */
let page: Uint8Array | undefined
let used = 0

/** Copies a key into protected memory. The caller wipes what it gave. @throws FsError EINVAL for more than a page */
export function keepSecret(bytes: Uint8Array): Secret {
  const needed = bytes.length + 1
  if (page === undefined || used + needed > page.length) {
    page = secretPage()
    used = 0
  }
  if (needed > page.length) throw new FsError('EINVAL', `a key of ${bytes.length} bytes`)
  const room = page.subarray(used, used + needed)
  used += needed
  room.set(bytes, 1)
  room[0] = PRESENT
  return { memory: room.buffer as SharedArrayBuffer, offset: room.byteOffset, length: bytes.length }
}

/** The key itself, not a copy. @throws FsError EIO once it is wiped: without it nothing that is read makes sense */
export function secretBytes({ memory, offset, length }: Secret, label: string): Uint8Array {
  if (new Uint8Array(memory)[offset] !== PRESENT)
    throw new FsError('EIO', `${label}: its key was wiped, because the mount has ended`)
  return new Uint8Array(memory, offset + 1, length)
}

/** Overwrites a key for all threads. What they have made of it is theirs to end. */
export function wipeSecret({ memory, offset, length }: Secret): void {
  new Uint8Array(memory, offset, length + 1).fill(0)
}
