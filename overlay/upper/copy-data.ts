import { FsError, type Stat, type Whence } from '../../src/base/index.ts'
import { copyRange, pwrite, truncateFd } from '../../src/sys/file-io.ts'

/** The content of a regular file. Offsets and lengths are bytes. */
export interface DataSource {
  /** Fills the target from `offset`. @returns bytes read, 0 at the end of the file. @throws FsError EIO */
  read(offset: number, target: Uint8Array): number
  /** Start of the next data or hole at or after `offset`; undefined where there is none. Absent: all is data. */
  seek?(offset: number, whence: Whence): number | undefined
  /** A host file with just this content: its blocks are shared where the file system can. */
  readonly fd?: number
}

/** As much is read at once; a multiple of every block size of squashfs, 1 MiB at most. */
const CHUNK = 1024 * 1024
let chunk: Uint8Array | undefined

/** Copies data, and leaves holes where the source has some. @throws FsError EIO where the source is shorter than told */
export function copyData(source: { readonly stat: Stat; readonly data?: DataSource }, to: number): void {
  const { size } = source.stat
  const { data } = source
  if (size === 0) return
  if (data === undefined) throw new FsError('EIO', `copy-up: no data for a file of ${size} bytes`)
  let end = 0
  for (;;) {
    const start = data.seek === undefined ? end : (data.seek(end, 'data') ?? size)
    if (start >= size) break
    if (start < end) throw new FsError('EIO', `copy-up: data at ${start}, sought from ${end}`)
    end = Math.min(data.seek === undefined ? size : (data.seek(start, 'hole') ?? size), size)
    if (end <= start) throw new FsError('EIO', `copy-up: hole at ${end}, sought from data at ${start}`)
    const shared = data.fd === undefined ? 0 : copyInKernel(data.fd, to, start, end)
    copyByHand(data, to, start + shared, end)
  }
  // A hole at the end has no data that would make the file as long.
  if (end < size) truncateFd(to, size)
}

/** @returns bytes copied, fewer than asked for where the kernel cannot go on: the rest is for other means */
function copyInKernel(from: number, to: number, start: number, end: number): number {
  let at = start
  try {
    while (at < end) {
      const count = copyRange(from, at, to, at, end - at)
      if (count === 0) break
      at += count
    }
  } catch (error) {
    // Whatever it is, writing says it again if it is not just the way of copying.
    if (!(error instanceof FsError)) throw error
  }
  return at - start
}

function copyByHand(data: DataSource, to: number, start: number, end: number): void {
  chunk ??= new Uint8Array(CHUNK)
  for (let at = start; at < end; ) {
    // Up to the next multiple, so that no block of the source is decoded twice.
    const length = Math.min(CHUNK - (at % CHUNK), end - at)
    const count = data.read(at, chunk.subarray(0, length))
    if (count <= 0) throw new FsError('EIO', `copy-up: file ends at ${at}, expected data up to ${end}`)
    for (let done = 0; done < count; ) done += pwrite(to, at + done, chunk.subarray(done, count))
    at += count
  }
}
