import {
  type ExtentSink,
  FsError,
  patiently,
  type Stat,
  type Steps,
  type Transfer,
  type Whence,
} from '../../../src/base/index.ts'
import { copyRange, pwrite, truncateFd } from '../../../src/sys/files/file-io.ts'

/** The content of a regular file. Offsets and lengths are bytes. */
export interface DataSource {
  /** Fills the target from `offset`. @returns bytes read, 0 at the end of the file. @throws FsError EIO */
  read(offset: number, target: Uint8Array): number
  /** Gives the extents of the bytes, for workers that read them. Absent: only `read` gives the bytes. */
  describe?(offset: number, length: number, sink: ExtentSink): void
  /** Start of the next data or hole at or after `offset`; undefined where there is none. Absent: all is data. */
  seek?(offset: number, whence: Whence): number | undefined
  /** True where `read` would not wait for a disk. Absent: not known. */
  isAtHand?(offset: number, length: number): boolean
  /** A host file with exactly this content; the copy shares its blocks where the file system can. */
  readonly fd?: number
}

/** Bytes of one step: a multiple of every block size of squashfs, which is at most 1 MiB. */
const CHUNK = 1024 * 1024
/** Bytes. Copying less takes a shorter time than waking another thread. */
const WORTH_HANDING_OVER = 64 << 10
/** Bytes that the kernel copies in one step. It takes some ms where it cannot share blocks. */
const KERNEL_CHUNK = 8 * CHUNK
let chunk: Uint8Array | undefined

/**
 * Copies data; holes of the source stay holes.
 * @param transfer other threads; they may still be at work when the steps end
 * @throws FsError EIO where the source is shorter than its `stat`; ENOSPC, EDQUOT, EFBIG
 */
export function* copyData(
  source: { readonly stat: Stat; readonly data?: DataSource },
  to: number,
  transfer?: Transfer,
): Steps {
  const { size } = source.stat
  const { data } = source
  if (size === 0) return
  const seek = function* (offset: number, whence: Whence): Generator<'more' | 'waiting', number> {
    return (yield* withHelp(transfer, () => data?.seek?.(offset, whence))) ?? size
  }
  if (data === undefined) throw new FsError('EIO', `copy-up: no data for a file of ${size} bytes`)
  let end = 0
  for (;;) {
    const start = data.seek === undefined ? end : yield* seek(end, 'data')
    if (start >= size) break
    if (start < end) throw new FsError('EIO', `copy-up: data at ${start}, sought from ${end}`)
    end = Math.min(data.seek === undefined ? size : yield* seek(start, 'hole'), size)
    if (end <= start) throw new FsError('EIO', `copy-up: hole at ${end}, sought from data at ${start}`)
    const shared = data.fd === undefined ? start : yield* copyInKernel(data.fd, to, start, end)
    yield* copyPieces(data, to, shared, end, transfer)
  }
  // After a hole at the end, the last piece of data does not give the copy its full length.
  if (end < size) truncateFd(to, size)
}

/**
 * @returns where it stopped: before `end` where the kernel cannot go on, and the caller has to copy the rest by reading
 */
function* copyInKernel(from: number, to: number, start: number, end: number): Generator<'more', number> {
  let at = start
  while (at < end) {
    try {
      const count = copyRange(from, at, to, at, Math.min(end - at, KERNEL_CHUNK))
      if (count === 0) break
      at += count
    } catch (error) {
      // If it is more than a limit of copy_file_range(2), the write that follows fails with it as well.
      if (error instanceof FsError) break
      throw error
    }
    yield 'more'
  }
  return at
}

function* copyPieces(data: DataSource, to: number, start: number, end: number, transfer?: Transfer): Steps {
  let length: number
  for (let at = start; at < end; at += length) {
    // Up to the next multiple of CHUNK, so that no block of the source is decoded twice.
    length = Math.min(CHUNK - (at % CHUNK), end - at)
    if (yield* handOver(data, at, length, transfer)) continue
    yield* withHelp(transfer, () => copyByHand(data, to, at, at + length))
    yield 'more'
  }
}

/** @returns false where the caller has to copy this piece */
function* handOver(
  data: DataSource,
  at: number,
  length: number,
  transfer: Transfer | undefined,
): Generator<'more' | 'waiting', boolean> {
  if (transfer === undefined || data.describe === undefined) return false
  const isShort = length < WORTH_HANDING_OVER
  if (isShort && (yield* patiently(() => data.isAtHand?.(at, length))) !== false) return false
  for (;;) {
    const outcome = yield* patiently(() =>
      transfer.write((sink) => data.describe?.(at, length, sink), at, length),
    )
    if (transfer.error !== undefined) throw transfer.error
    if (outcome !== 'busy') return outcome === 'taken'
    yield 'waiting'
  }
}

/**
 * Makes a call that may read layers. With other threads, a postponed read is waited for within this work; without them
 * it postpones the request, and the whole copy begins again.
 */
function* withHelp<T>(transfer: Transfer | undefined, call: () => T): Generator<'more' | 'waiting', T> {
  return transfer === undefined ? call() : yield* patiently(call)
}

function copyByHand(data: DataSource, to: number, start: number, end: number): void {
  chunk ??= new Uint8Array(CHUNK)
  for (let at = start; at < end; ) {
    const count = data.read(at, chunk.subarray(0, end - at))
    if (count <= 0) throw new FsError('EIO', `copy-up: file ends at ${at}, expected data up to ${end}`)
    for (let done = 0; done < count; ) done += pwrite(to, at + done, chunk.subarray(done, count))
    at += count
  }
}
